//! The checked-in document of the routes is what the service serves.

use crate::world::World;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[tokio::test]
async fn the_checked_in_openapi_document_is_the_services_own() {
    let world = World::start().await;
    let served = world.get("/openapi.json", None).await.expect(200);
    let served = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(SNAPSHOT, &served).unwrap();
    }
    let checked_in = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        served == checked_in,
        "the routes have changed: look at the difference after `BLESS=1 cargo test -p \
         marquee-stream --test it openapi`"
    );
}
