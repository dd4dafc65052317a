//! The checked-in OpenAPI document is what the service says of itself.

use reqwest::Method;

use crate::fixture::{Auth, answer};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

/// `BLESS=1 cargo test -p marquee-auth openapi` writes the document anew.
#[tokio::test]
async fn the_checked_in_document_is_the_served_one() {
    let auth = Auth::start().await;
    let served = answer(auth.request(Method::GET, "/openapi.json"))
        .await
        .body;
    let served = serde_json::to_string_pretty(&served).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(SNAPSHOT, &served).unwrap();
    }
    let checked_in = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        served == checked_in,
        "services/auth/openapi.json is out of date: see the diff after BLESS=1",
    );
}
