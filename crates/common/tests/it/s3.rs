//! Buckets as services make them.

use marquee_common::s3::{self, BucketAccess, ensure_bucket};
use reqwest::StatusCode;

use crate::setup::{s3_config, unique};

async fn put(bucket: &str, key: &str) {
    s3::client(&s3_config())
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(b"media".to_vec().into())
        .send()
        .await
        .unwrap();
}

/// What somebody without credentials gets.
async fn anonymous(path: &str) -> StatusCode {
    let endpoint = s3_config().s3_endpoint_url;
    let url = endpoint.join(path).unwrap();
    reqwest::Client::new()
        .get(url)
        .send()
        .await
        .unwrap()
        .status()
}

#[tokio::test]
async fn objects_of_a_public_bucket_can_be_read_by_name_and_not_listed() {
    let client = s3::client(&s3_config());
    let bucket = unique("live");
    ensure_bucket(&client, bucket, BucketAccess::PublicRead)
        .await
        .unwrap();
    put(bucket, "a/master.m3u8").await;

    assert_eq!(
        anonymous(&format!("{bucket}/a/master.m3u8")).await,
        StatusCode::OK
    );
    for list in [
        bucket.to_owned(),
        format!("{bucket}?list-type=2"),
        format!("{bucket}/?prefix=a"),
    ] {
        assert_eq!(anonymous(&list).await, StatusCode::FORBIDDEN, "{list}");
    }
    let put = reqwest::Client::new()
        .put(
            s3_config()
                .s3_endpoint_url
                .join(&format!("{bucket}/x"))
                .unwrap(),
        )
        .body("mine now")
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn objects_of_a_private_bucket_need_a_signature() {
    let client = s3::client(&s3_config());
    let bucket = unique("vod");
    ensure_bucket(&client, bucket, BucketAccess::Private)
        .await
        .unwrap();
    put(bucket, "movie.mp4").await;
    assert_eq!(
        anonymous(&format!("{bucket}/movie.mp4")).await,
        StatusCode::FORBIDDEN
    );
    s3::ping(&client, bucket).await.unwrap();
}

#[tokio::test]
async fn instances_that_start_together_make_a_bucket_once() {
    let client = s3::client(&s3_config());
    let bucket = unique("live");
    let starts = (0..4).map(|_| ensure_bucket(&client, bucket, BucketAccess::PublicRead));
    for started in futures::future::join_all(starts).await {
        started.unwrap();
    }
    put(bucket, "x").await;
    assert_eq!(anonymous(&format!("{bucket}/x")).await, StatusCode::OK);
}

#[tokio::test]
async fn a_bucket_that_is_made_private_is_no_longer_public() {
    let client = s3::client(&s3_config());
    let bucket = unique("live");
    ensure_bucket(&client, bucket, BucketAccess::PublicRead)
        .await
        .unwrap();
    put(bucket, "x").await;
    ensure_bucket(&client, bucket, BucketAccess::Private)
        .await
        .unwrap();
    assert_eq!(
        anonymous(&format!("{bucket}/x")).await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn an_operators_policy_is_left_alone() {
    let client = s3::client(&s3_config());
    let bucket = unique("live");
    ensure_bucket(&client, bucket, BucketAccess::Private)
        .await
        .unwrap();
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"Operator","Effect":"Allow",
        "Principal":{{"AWS":["*"]}},"Action":["s3:GetObject"],
        "Resource":["arn:aws:s3:::{bucket}/open/*"]}}]}}"#
    );
    client
        .put_bucket_policy()
        .bucket(bucket)
        .policy(policy)
        .send()
        .await
        .unwrap();
    put(bucket, "open/x").await;
    put(bucket, "closed/x").await;
    for access in [BucketAccess::PublicRead, BucketAccess::Private] {
        ensure_bucket(&client, bucket, access).await.unwrap();
        assert_eq!(anonymous(&format!("{bucket}/open/x")).await, StatusCode::OK);
        assert_eq!(
            anonymous(&format!("{bucket}/closed/x")).await,
            StatusCode::FORBIDDEN
        );
    }
}

#[tokio::test]
async fn wrong_credentials_are_an_error_that_says_what_was_tried() {
    let mut config = s3_config();
    config.s3_secret_key = Some(crate::setup::secret('x'));
    let client = s3::client(&config);
    let error = ensure_bucket(&client, unique("live"), BucketAccess::Private)
        .await
        .unwrap_err();
    let text = marquee_common::error_chain(&error);
    assert!(text.contains("bucket live-"), "{text}");
}
