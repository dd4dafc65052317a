//! The checked-in document of the routes is what the proxy serves.

use crate::fixture::Proxy;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[tokio::test]
async fn the_checked_in_openapi_document_is_the_proxys_own() {
    let proxy = Proxy::start().await;
    let served = proxy.get("/openapi.json").await.body;
    let served = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(SNAPSHOT, &served).unwrap();
    }
    let checked_in = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        served == checked_in,
        "the routes have changed: look at the difference after `BLESS=1 cargo test -p \
         marquee-proxy --test it openapi`"
    );
}
