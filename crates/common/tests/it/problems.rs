//! Every error is a problem (RFC 9457) with a stable code and the request's id.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
    response::Response,
    routing::{get as on_get, post},
};
use marquee_common::{
    contract::{PROBLEM_JSON, StreamId},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query},
};
use serde::Deserialize;
use serde_json::Value;

use crate::setup::{app, call, get, json, text};

#[derive(Debug, Default, Deserialize)]
struct NewStream {
    #[expect(dead_code, reason = "only its shape matters")]
    title: String,
    #[expect(dead_code, reason = "only its shape matters")]
    #[serde(default)]
    tags: Vec<Tag>,
    #[expect(dead_code, reason = "only its shape matters")]
    #[serde(default)]
    kind: Option<Kind>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Public,
    Unlisted,
}

#[derive(Debug, Deserialize)]
struct Tag {
    #[expect(dead_code, reason = "only its shape matters")]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    title: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Filter {
    #[expect(dead_code, reason = "only its shape matters")]
    limit: Option<u32>,
}

fn routes() -> Router {
    Router::new()
        .route("/streams", post(async |_: Json<NewStream>| "made"))
        .route(
            "/options",
            post(async |OptionalJson(options): OptionalJson<Options>| {
                options.title.unwrap_or_else(|| "untitled".to_owned())
            }),
        )
        .route(
            "/streams/{id}",
            on_get(async |Path(id): Path<StreamId>| id.to_string()),
        )
        .route("/search", on_get(async |_: Query<Filter>| "found"))
        .route(
            "/broken",
            on_get(async || {
                let cause = std::io::Error::other("disk 7 is on fire");
                Err::<(), _>(ApiError::internal(cause))
            }),
        )
        .route("/panic", on_get(panics))
}

async fn panics() -> &'static str {
    panic!("secret detail")
}

fn post_json(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

/// The problem in `response`, checked for what every problem has.
async fn problem(response: Response, status: StatusCode, code: &str) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let problem = json(response).await;
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["request_id"], id);
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    problem
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400_bad_json() {
    let app = app(routes());
    for body in ["{\"title\": ", "title=x", "", "{\"title\":\"x\"} trailing"] {
        let response = call(&app, post_json("/streams", body)).await;
        problem(response, StatusCode::BAD_REQUEST, "bad_json").await;
    }
}

#[tokio::test]
async fn a_body_of_another_shape_is_422_and_names_the_field() {
    let app = app(routes());
    for (body, field) in [
        (r#"{"title": 7}"#, "title"),
        ("{}", "title"),
        (
            r#"{"title": "x", "tags": [{"name": "a"}, {"name": 2}]}"#,
            "tags[1].name",
        ),
        (r#"{"title": "x", "tags": [{}]}"#, "tags[0].name"),
        (r#"{"title": "x", "tags": [], "kind": 1}"#, "kind"),
        // serde would take it for the fields in their order.
        (r#"["x", []]"#, ""),
        ("7", ""),
        ("null", ""),
    ] {
        let response = call(&app, post_json("/streams", body)).await;
        let problem = problem(
            response,
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
        )
        .await;
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_say_it_is_json_is_415() {
    let app = app(routes());
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let mut request = Request::post("/streams");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(Body::from(r#"{"title":"x"}"#)).unwrap();
        let response = call(&app, request).await;
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        problem(response, status, "unsupported_media_type").await;
    }
    let request = Request::post("/streams")
        .header(header::CONTENT_TYPE, "Application/JSON; charset=utf-8")
        .body(Body::from(r#"{"title":"x"}"#))
        .unwrap();
    assert_eq!(call(&app, request).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_larger_than_the_limit_is_413() {
    let app = app(routes());
    let body = format!(r#"{{"title":"{}"}}"#, "x".repeat(1024 * 1024));
    let response = call(&app, post_json("/streams", body)).await;
    problem(response, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large").await;
}

#[tokio::test]
async fn where_everything_is_optional_neither_body_nor_content_type_is_needed() {
    let app = app(routes());
    let bare = |body: &'static str| Request::post("/options").body(Body::from(body)).unwrap();
    assert_eq!(text(call(&app, bare("")).await).await, "untitled");
    assert_eq!(text(call(&app, bare(r#"{"title":"x"}"#)).await).await, "x");
    assert_eq!(
        text(call(&app, post_json("/options", "")).await).await,
        "untitled"
    );

    let response = call(&app, bare("nonsense")).await;
    problem(response, StatusCode::BAD_REQUEST, "bad_json").await;
}

#[tokio::test]
async fn an_id_that_is_none_is_404_like_one_that_does_not_exist() {
    let app = app(routes());
    let response = call(&app, get("/streams/17")).await;
    problem(response, StatusCode::NOT_FOUND, "not_found").await;
}

#[tokio::test]
async fn a_bad_query_is_422_and_names_the_parameter() {
    let app = app(routes());
    let response = call(&app, get("/search?limit=many")).await;
    let problem = problem(
        response,
        StatusCode::UNPROCESSABLE_ENTITY,
        "validation_failed",
    )
    .await;
    assert_eq!(problem["errors"][0]["field"], "limit");
}

#[tokio::test]
async fn an_unknown_route_is_404() {
    let app = app(routes());
    for path in ["/nowhere", "/streams/a/b", "/"] {
        let response = call(&app, get(path)).await;
        problem(response, StatusCode::NOT_FOUND, "not_found").await;
    }
}

#[tokio::test]
async fn a_method_that_a_route_lacks_is_405_with_those_it_has() {
    let app = app(routes());
    for (path, allowed) in [("/streams", "POST"), ("/health", "GET,HEAD")] {
        let request = Request::delete(path).body(Body::empty()).unwrap();
        let response = call(&app, request).await;
        assert_eq!(response.headers()[header::ALLOW], allowed);
        problem(
            response,
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
        )
        .await;
    }
}

#[tokio::test]
async fn the_cause_of_a_500_does_not_reach_the_client() {
    let app = app(routes());
    for path in ["/broken", "/panic"] {
        let response = call(&app, get(path)).await;
        let problem = problem(response, StatusCode::INTERNAL_SERVER_ERROR, "internal").await;
        assert!(!problem.to_string().contains("fire"));
        assert!(!problem.to_string().contains("secret"));
    }
}
