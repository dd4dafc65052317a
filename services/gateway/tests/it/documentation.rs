//! One document of the whole API.

use axum::{
    Json, Router,
    http::{Method, StatusCode},
    routing::get,
};
use serde_json::{Value, json};

use crate::fixture::{Gateway, answer, nobody, serve};

async fn service(document: Value) -> String {
    let answer = async move || Json(document);
    serve(Router::new().route("/openapi.json", get(answer))).await
}

fn document(path: &str, internal: &str) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {"title": "A service", "version": "1"},
        "paths": {
            path: {"get": {"responses": {"200": {"description": "Yes"}}}},
            internal: {"get": {}},
        },
        "components": {"schemas": {"Problem": {"type": "object"}}},
    })
}

#[tokio::test]
async fn the_documents_of_all_services_are_one_without_internal_routes() {
    let auth = service(document("/api/auth/me", "/internal/users/{id}")).await;
    let stream = service(document("/api/streams", "/internal/ingest/authorize")).await;
    let gateway = Gateway::start(&[
        &format!("--auth-service-url={auth}"),
        &format!("--stream-service-url={stream}"),
    ])
    .await;
    let answer = gateway.get("/openapi.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    // What the gateway may answer in a service's place is told too.
    let answers = &answer.body["paths"]["/api/auth/me"]["get"]["responses"];
    assert!(answers["429"].is_object() && answers["504"].is_object());
    // nginx passes /api only.
    assert_eq!(gateway.get("/api/openapi.json").await.body, answer.body);
    assert_eq!(answer.body["openapi"], "3.1.0");
    let paths: Vec<_> = answer.body["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/api/auth/me", "/api/streams"]);
    assert_eq!(
        answer.body["components"]["schemas"]["Problem"]["type"],
        "object"
    );
}

#[tokio::test]
async fn who_has_the_document_is_told_so() {
    let auth = service(document("/api/auth/me", "/internal/x")).await;
    let gateway = Gateway::before(&auth).await;
    let first = gateway.get("/api/openapi.json").await;
    assert_eq!(first.headers["content-type"], "application/json");
    let etag = first.headers["etag"].to_str().unwrap();
    let again = |tags: String| {
        let request = gateway.request(Method::GET, "/api/openapi.json");
        answer(request.header("if-none-match", tags))
    };
    let known = again(format!("\"other\", W/{etag}")).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    assert_eq!(known.headers["etag"], etag);
    assert_eq!(again("\"other\"".to_owned()).await.body, first.body);
}

#[tokio::test]
async fn a_service_that_is_away_does_not_keep_the_others_out() {
    let auth = service(document("/api/auth/me", "/internal/x")).await;
    let gateway = Gateway::start(&[
        &format!("--auth-service-url={auth}"),
        &format!("--stream-service-url={}", nobody()),
    ])
    .await;
    let answer = gateway.get("/openapi.json").await;
    assert!(answer.body["paths"]["/api/auth/me"].is_object());
}

#[tokio::test]
async fn there_is_a_page_to_read_it() {
    let gateway = Gateway::before(&nobody()).await;
    let page = gateway
        .client
        .get(format!("{}/docs/", gateway.url))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    // It shows the document of all services, not one of the gateway's own.
    let settings = format!("{}/docs/swagger-initializer.js", gateway.url);
    let settings = gateway.client.get(settings).send().await.unwrap();
    let settings = settings.text().await.unwrap();
    assert!(settings.contains("\"/openapi.json\""), "{settings}");
}
