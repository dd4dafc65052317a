//! `/`: the web page, whose addresses are its own.

use reqwest::StatusCode;

use crate::fixture::Fixture;

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
