//! `/storage`: S3's presigned URLs under the platform's own name.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use reqwest::{Method, StatusCode, header};

use crate::fixture::{Fixture, s3_client, unique};

/// As the services do it: signed for the public host, then `/storage` is put in front of the path.
fn public(edge: &Fixture, signed: &str) -> String {
    signed.replacen(&edge.base, &format!("{}/storage", edge.base), 1)
}

fn an_hour() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_hours(1)).unwrap()
}

#[tokio::test]
async fn presigned_urls_work_under_storage_whatever_the_name_of_the_object() {
    let edge = Fixture::start().await;
    let bucket = format!("private-{}", unique());
    edge.s3
        .create_bucket()
        .bucket(&bucket)
        .send()
        .await
        .unwrap();
    let signer = s3_client(&edge.base);

    for key in ["a/plain.mp4", "odd/ä b+c%2Fd&e=f.mp4", "deep/er/è.bin"] {
        let put = signer.put_object().bucket(&bucket).key(key);
        let put = put.presigned(an_hour()).await.unwrap();
        let stored = edge
            .http
            .put(public(&edge, put.uri()))
            .body("content")
            .send()
            .await
            .unwrap();
        assert_eq!(stored.status(), StatusCode::OK, "{key}");

        let get = signer.get_object().bucket(&bucket).key(key);
        let get = public(&edge, get.presigned(an_hour()).await.unwrap().uri());
        let read = edge
            .http
            .get(&get)
            // What a browser on the same origin adds.
            .header(header::COOKIE, "access_token=abc")
            .header(header::AUTHORIZATION, "Bearer abc")
            .header(header::RANGE, "bytes=0-2")
            .send()
            .await
            .unwrap();
        assert_eq!(read.status(), StatusCode::PARTIAL_CONTENT, "{key}");
        assert_eq!(read.text().await.unwrap(), "con");

        // Nothing of it stays in a cache.
        edge.put(&bucket, key, "changed").await;
        let again = edge.http.get(&get).send().await.unwrap();
        assert_eq!(again.headers()["access-control-allow-origin"], "*");
        assert_eq!(again.text().await.unwrap(), "changed", "{key}");
    }
}

#[tokio::test]
async fn nothing_private_is_read_without_a_signature() {
    let edge = Fixture::start().await;
    let bucket = format!("private-{}", unique());
    edge.s3
        .create_bucket()
        .bucket(&bucket)
        .send()
        .await
        .unwrap();
    edge.put(&bucket, "movie.mp4", "content").await;

    let url = edge.url(&format!("/storage/{bucket}/movie.mp4"));
    let refused = edge.http.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);

    let get = s3_client(&edge.base)
        .get_object()
        .bucket(&bucket)
        .key("movie.mp4");
    let signed = public(&edge, get.presigned(an_hour()).await.unwrap().uri());
    let other = signed.replace("movie.mp4", "other.mp4");
    let refused = edge.http.get(other).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn only_objects_are_reached() {
    let edge = Fixture::start().await;
    for path in [
        "/storage/",
        "/storage/minio/health/live",
        "/storage/minio/admin/v3/info",
        "/storage/bucket",
    ] {
        let status = edge.http.get(edge.url(path)).send().await.unwrap().status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let preflight = edge
        .http
        .request(Method::OPTIONS, edge.url("/storage/vod/a.mp4"))
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert!(
        preflight.headers()["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("PUT")
    );
}
