//! `/`: the web page, whose addresses are its own.

use reqwest::{StatusCode, header};

use crate::fixture::{Fixture, GZIP_OF_THE_ASSET};

#[tokio::test]
async fn every_address_of_the_page_is_the_page_and_is_asked_for_again() {
    let edge = Fixture::start().await;
    for path in ["/", "/live/0193a4b2", "/studio", "/videos/1", "/apiary"] {
        let answer = edge.http.get(edge.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-cache");
        assert_eq!(answer.headers()["content-type"], "text/html");
        assert!(answer.text().await.unwrap().contains("Marquee"));
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_and_a_missing_one_is_not_the_page() {
    let edge = Fixture::start().await;
    let found = edge
        .http
        .get(edge.url("/assets/app-1a2b.js"))
        .send()
        .await
        .unwrap();
    assert!(
        found.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    let gone = edge
        .http
        .get(edge.url("/assets/app-0000.js"))
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_asset_is_sent_as_it_was_compressed_when_it_was_built() {
    let edge = Fixture::start().await;
    for (accepts, body) in [
        ("gzip", GZIP_OF_THE_ASSET),
        ("identity", b"export {}".as_slice()),
    ] {
        let answer = edge
            .http
            .get(edge.url("/assets/app-1a2b.js"))
            // Said by hand, so that the client leaves the body as it came.
            .header(header::ACCEPT_ENCODING, accepts)
            .send()
            .await
            .unwrap();
        let encoding = answer.headers().get(header::CONTENT_ENCODING).cloned();
        assert_eq!(encoding.is_some_and(|it| it == "gzip"), accepts == "gzip");
        assert!(
            answer.headers()["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        assert_eq!(answer.bytes().await.unwrap().as_ref(), body);
    }
}
