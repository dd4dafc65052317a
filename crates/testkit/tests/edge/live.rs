//! `/live-streams`: the public bucket behind a cache that a player can live with.

use std::time::Duration;

use marquee_testkit::eventually;
use reqwest::{Method, Response, StatusCode, header};

use crate::fixture::{Fixture, LIVE, unique};

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-VERSION:6\n";

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_playlist_has_its_type_is_not_kept_by_clients_and_is_open_to_every_page() {
    let edge = Fixture::start().await;
    let id = unique();
    edge.put(LIVE, &format!("{id}/720p/playlist.m3u8"), PLAYLIST)
        .await;

    let url = edge.url(&format!("/live-streams/{id}/720p/playlist.m3u8"));
    let answer = edge
        .http
        .get(url)
        .header(header::ORIGIN, "https://elsewhere.example")
        .send()
        .await
        .unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        header(&answer, "content-type"),
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(header(&answer, "cache-control"), "no-cache");
    assert_eq!(header(&answer, "access-control-allow-origin"), "*");
    assert_eq!(answer.headers().get_all("content-type").iter().count(), 1);
    assert!(!answer.headers().contains_key("x-amz-request-id"));
    assert_eq!(answer.text().await.unwrap(), PLAYLIST);
}

#[tokio::test]
async fn a_playlist_is_compressed_for_those_who_ask() {
    let edge = Fixture::start().await;
    let key = format!("{}/360p/playlist.m3u8", unique());
    edge.put(LIVE, &key, PLAYLIST.repeat(200)).await;

    let answer = edge
        .http
        .get(edge.url(&format!("/live-streams/{key}")))
        .header(header::ACCEPT_ENCODING, "gzip")
        .send()
        .await
        .unwrap();

    assert_eq!(header(&answer, "content-encoding"), "gzip");
    assert_eq!(
        header(&answer, "content-type"),
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(header(&answer, "vary"), "Accept-Encoding");
    assert!(answer.bytes().await.unwrap().len() < PLAYLIST.len() * 20);
}

#[tokio::test]
async fn a_playlist_is_cached_a_second_whatever_its_query_and_then_is_the_new_one() {
    let edge = Fixture::start().await;
    let key = format!("{}/playlist.m3u8", unique());
    edge.put(LIVE, &key, "old").await;
    let get = async |query: &str| {
        let url = edge.url(&format!("/live-streams/{key}{query}"));
        let answer = edge.http.get(url).send().await.unwrap();
        let cache = header(&answer, "x-cache").to_owned();
        (cache, answer.text().await.unwrap())
    };

    // A slow machine may take more than the second; then the first try tells nothing.
    eventually(
        "a hit under another query",
        Duration::from_secs(20),
        async || {
            let _ = get("").await;
            let (cache, body) = get("?nocache=123").await;
            assert_eq!(body, "old");
            (cache == "HIT").then_some(())
        },
    )
    .await;

    edge.put(LIVE, &key, "new").await;
    let within = Duration::from_secs(5);
    let cache = eventually("the new playlist", within, async || {
        let (cache, body) = get("").await;
        (body == "new").then_some(cache)
    })
    .await;
    assert_eq!(cache, "EXPIRED");
}

#[tokio::test]
async fn a_segment_has_its_type_whatever_the_store_says_and_may_be_kept_for_ever() {
    let edge = Fixture::start().await;
    let key = format!("{}/720p/b-1-1-0-2000.ts", unique());
    edge.put(LIVE, &key, vec![0x47; 1880]).await;
    let url = edge.url(&format!("/live-streams/{key}"));

    let first = edge.http.get(&url).send().await.unwrap();
    assert_eq!(header(&first, "content-type"), "video/mp2t");
    assert_eq!(
        header(&first, "cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(first.bytes().await.unwrap().len(), 1880);

    let part = edge
        .http
        .get(&url)
        .header(header::RANGE, "bytes=188-375")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&part, "x-cache"), "HIT");
    assert_eq!(header(&part, "content-type"), "video/mp2t");
    assert_eq!(part.bytes().await.unwrap().len(), 188);
}

#[tokio::test]
async fn what_is_missing_is_asked_for_again_at_once() {
    let edge = Fixture::start().await;
    for name in ["playlist.m3u8", "b-1-1-0-2000.ts", "thumbnail.jpg"] {
        let key = format!("{}/{name}", unique());
        let url = edge.url(&format!("/live-streams/{key}"));

        let missing = edge.http.get(&url).send().await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND, "{name}");
        assert_eq!(header(&missing, "cache-control"), "no-store", "{name}");
        assert_eq!(header(&missing, "access-control-allow-origin"), "*");
        assert_ne!(header(&missing, "content-type"), "video/mp2t", "{name}");

        edge.put(LIVE, &key, "there").await;
        let found = edge.http.get(&url).send().await.unwrap();
        assert_eq!(found.status(), StatusCode::OK, "{name}");
        assert_eq!(found.text().await.unwrap(), "there");
    }
}

#[tokio::test]
async fn a_thumbnail_is_a_jpeg_and_kept_for_seconds_only() {
    let edge = Fixture::start().await;
    let key = format!("{}/thumbnail.jpg", unique());
    let url = edge.url(&format!("/live-streams/{key}"));
    edge.put(LIVE, &key, "picture").await;
    let found = edge.http.get(&url).send().await.unwrap();
    assert_eq!(found.status(), StatusCode::OK);
    assert_eq!(header(&found, "content-type"), "image/jpeg");
    assert_eq!(header(&found, "cache-control"), "public, max-age=5");
}

#[tokio::test]
async fn media_can_be_read_from_any_page_but_not_written() {
    let edge = Fixture::start().await;
    let url = edge.url(&format!("/live-streams/{}/1.ts", unique()));

    let preflight = edge
        .http
        .request(Method::OPTIONS, &url)
        .header(header::ORIGIN, "https://elsewhere.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "range")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&preflight, "access-control-allow-origin"), "*");
    assert!(header(&preflight, "access-control-allow-headers").contains("Range"));
    assert!(header(&preflight, "access-control-allow-methods").contains("GET"));

    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let answer = edge.http.request(method, &url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn the_bucket_cannot_be_listed() {
    let edge = Fixture::start().await;
    for path in [
        "/live-streams/",
        "/live-streams/?list-type=2",
        "/storage/live-segments/?list-type=2",
        "/storage/live-segments?list-type=2",
    ] {
        let status = edge.http.get(edge.url(path)).send().await.unwrap().status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
}
