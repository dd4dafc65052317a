//! One OpenAPI document of the whole API, merged from what the services say of themselves.
//!
//! Only paths that the gateway routes are in it: `/internal` is not a client's to know. A service
//! that is away keeps its last known part.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, response::IntoResponse};
use bytes::Bytes;
use futures::future::join_all;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use marquee_common::contract::PROBLEM_JSON;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::{
    route_table::{ROUTES, ServiceName},
    upstream::{UpstreamUrl, Upstreams},
};

/// What the gateway itself may answer in place of a service: status, for requests with a body only,
/// and why.
const OWN_ANSWERS: [(&str, bool, &str); 7] = [
    ("400", false, "`bad_request`: not one clear HTTP request"),
    ("408", true, "`request_timeout`: the body took too long"),
    ("413", true, "`body_too_large`"),
    (
        "429",
        false,
        "`rate_limited`: `Retry-After` says for how long",
    ),
    (
        "502",
        false,
        "`bad_gateway`: the service is away, or broke off",
    ),
    (
        "503",
        false,
        "`unavailable`: not run here, or not at the moment",
    ),
    (
        "504",
        false,
        "`gateway_timeout`: the service did not answer in time",
    ),
];
const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// How long a merged document is good.
const FRESH: Duration = Duration::from_secs(10);

/// The merged document, fetched when it is asked for and kept for a moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MergedDocument(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    upstreams: Upstreams,
    client: reqwest::Client,
    // Held while fetching, so that many askers cause one fetch.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parts: HashMap<ServiceName, Value>,
    merged: Option<(Instant, Arc<Document>)>,
}

/// The document as it is sent. It is of some size and the same for all, so it is written once.
#[derive(Debug)]
pub struct Document {
    json: Bytes,
    etag: HeaderValue,
}

impl Document {
    fn new(document: &Value) -> Self {
        let json = document.to_string();
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&json)[..16]));
        Self {
            json: json.into(),
            // Hexadecimal digits in quotes are a header's value.
            etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// The document, or word that the client has it already (RFC 9110 section 13.1.2).
    pub fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let headers = [
            (ETAG, self.etag.clone()),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        let known = asked
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || self.etag == tag);
        if known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let json = HeaderValue::from_static("application/json");
        (headers, [(CONTENT_TYPE, json)], self.json.clone()).into_response()
    }
}

impl MergedDocument {
    /// Merges the documents of these services; `client` has the deadline.
    pub fn new(upstreams: Upstreams, client: reqwest::Client) -> Self {
        Self(Arc::new(Inner {
            upstreams,
            client,
            state: Mutex::default(),
        }))
    }

    /// The document, at most ten seconds old.
    pub async fn get(&self) -> Arc<Document> {
        let mut state = self.0.state.lock().await;
        if let Some((made, document)) = &state.merged
            && made.elapsed() < FRESH
        {
            return Arc::clone(document);
        }
        let fetches = self
            .0
            .upstreams
            .iter()
            .map(|(service, url)| async move { (service, self.fetch(service, url).await) });
        for (service, part) in join_all(fetches).await {
            if let Some(part) = part {
                state.parts.insert(service, part);
            }
        }
        let parts = ServiceName::ALL
            .into_iter()
            .filter_map(|service| Some((service, state.parts.get(&service)?)));
        let document = Arc::new(Document::new(&merge(parts)));
        state.merged = Some((Instant::now(), Arc::clone(&document)));
        document
    }

    async fn fetch(&self, service: ServiceName, url: &UpstreamUrl) -> Option<Value> {
        let fetch = async {
            let answer = self
                .0
                .client
                .get(format!("{url}/openapi.json"))
                .send()
                .await?;
            answer.error_for_status()?.json().await
        };
        fetch
            .await
            .inspect_err(|error: &reqwest::Error| {
                tracing::warn!(upstream = %service, %error, "its OpenAPI document is not to be had");
            })
            .ok()
    }
}

/// Merges the routed paths of several documents.
pub fn merge<'a>(parts: impl IntoIterator<Item = (ServiceName, &'a Value)>) -> Value {
    let mut paths = Map::new();
    let mut components = Map::new();
    for (service, part) in parts {
        let mut part = part.clone();
        qualify_clashing_schemas(service, &mut part, &components);
        for (path, item) in take_object(&mut part, "paths") {
            if is_routed(service, &path) {
                paths.insert(path, with_own_answers(item));
            }
        }
        for (kind, entries) in take_object(&mut part, "components") {
            if let (Value::Object(entries), Value::Object(kept)) =
                (entries, components.entry(kind).or_insert_with(|| json!({})))
            {
                kept.extend(entries);
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Marquee",
            "description": "Live and recorded video: accounts, streams, recordings, videos, playback. \
                            Every error is a problem (RFC 9457) with a `code`. Requests are limited by \
                            address, logins by account, new stream keys by user: 429 `rate_limited` \
                            with `Retry-After`.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": components,
    })
}

/// Adds what the gateway may answer to each method of a path, where its service says nothing of that
/// status.
fn with_own_answers(mut item: Value) -> Value {
    for method in METHODS {
        let Some(Value::Object(operation)) = item.get_mut(method) else {
            continue;
        };
        let has_body = operation.contains_key("requestBody");
        let answers = operation.entry("responses").or_insert_with(|| json!({}));
        let Value::Object(answers) = answers else {
            continue;
        };
        for (status, with_body, why) in OWN_ANSWERS {
            if has_body || !with_body {
                answers.entry(status).or_insert_with(|| {
                    json!({
                        "description": why,
                        "content": {PROBLEM_JSON: {"schema": {"$ref": reference_to("Problem")}}},
                    })
                });
            }
        }
    }
    item
}

fn take_object(document: &mut Value, field: &str) -> Map<String, Value> {
    match document.get_mut(field).map(Value::take) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

fn is_routed(service: ServiceName, path: &str) -> bool {
    ROUTES
        .iter()
        .any(|route| route.service == service && route.covers(path))
}

/// Two services may call different things by one name; the later one's is then called after it.
/// That changes the schemas that refer to it, which may now differ from their namesakes too.
fn qualify_clashing_schemas(service: ServiceName, part: &mut Value, kept: &Map<String, Value>) {
    let Some(Value::Object(kept)) = kept.get("schemas") else {
        return;
    };
    loop {
        let Some(schemas) = part
            .pointer_mut("/components/schemas")
            .and_then(Value::as_object_mut)
        else {
            return;
        };
        let clashing: Vec<String> = schemas
            .iter()
            .filter(|(name, schema)| kept.get(*name).is_some_and(|other| other != *schema))
            .map(|(name, _)| name.clone())
            .collect();
        if clashing.is_empty() {
            return;
        }
        let mut renamed = HashMap::new();
        for name in clashing {
            let qualified = format!("{service}.{name}");
            if let Some(schema) = schemas.remove(&name) {
                schemas.insert(qualified.clone(), schema);
            }
            renamed.insert(reference_to(&name), reference_to(&qualified));
        }
        rename_references(part, &renamed);
    }
}

fn reference_to(schema: &str) -> String {
    format!("#/components/schemas/{schema}")
}

fn rename_references(value: &mut Value, renamed: &HashMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (field, value) in object {
                match value {
                    Value::String(reference) if field == "$ref" => {
                        if let Some(new) = renamed.get(reference) {
                            reference.clone_from(new);
                        }
                    }
                    _ => rename_references(value, renamed),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                rename_references(value, renamed);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::merge;
    use crate::route_table::ServiceName;

    #[test]
    fn only_routed_paths_are_shown() {
        let auth = json!({"paths": {
            "/api/auth/login": {"post": {}},
            "/internal/users/{id}": {"get": {}},
            "/api/streams": {"get": {}},
            "/health": {"get": {}},
        }});
        let document = merge([(ServiceName::Auth, &auth)]);
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["/api/auth/login"]);
    }

    #[test]
    fn what_the_gateway_itself_may_answer_stands_at_every_method() {
        let auth = json!({"paths": {"/api/auth/me": {
            "summary": "not a method",
            "get": {"responses": {"200": {}, "503": {"description": "its own"}}},
            "patch": {"requestBody": {}, "responses": {"200": {}}},
        }}});
        let document = merge([(ServiceName::Auth, &auth)]);
        let path = &document["paths"]["/api/auth/me"];
        let statuses = |method: &str| -> Vec<_> {
            let responses = path[method]["responses"].as_object().unwrap();
            responses.keys().cloned().collect()
        };
        assert_eq!(statuses("get"), ["200", "400", "429", "502", "503", "504"]);
        assert_eq!(
            statuses("patch"),
            ["200", "400", "408", "413", "429", "502", "503", "504"]
        );
        assert_eq!(path["get"]["responses"]["503"]["description"], "its own");
    }

    #[test]
    fn equal_schemas_are_one_and_different_ones_of_a_name_stay_apart() {
        let part = |path: &str, user: &str| {
            json!({
                "paths": {path: {"get": {"schema": {"$ref": "#/components/schemas/User"}}}},
                "components": {"schemas": {
                    "User": {"title": user},
                    "Problem": {"type": "object"},
                    "List": {"items": {"$ref": "#/components/schemas/User"}},
                }},
            })
        };
        let auth = part("/api/auth/me", "account");
        let stream = part("/api/streams", "owner");
        let document = merge([(ServiceName::Auth, &auth), (ServiceName::Stream, &stream)]);
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["User"]["title"], "account");
        assert_eq!(schemas["stream.User"]["title"], "owner");
        assert_eq!(schemas["Problem"]["type"], "object");
        assert!(schemas.get("stream.Problem").is_none());
        assert_eq!(
            schemas["List"]["items"]["$ref"],
            "#/components/schemas/User"
        );
        assert_eq!(
            schemas["stream.List"]["items"]["$ref"],
            "#/components/schemas/stream.User"
        );
        let reference = |path: &str| document["paths"][path]["get"]["schema"]["$ref"].clone();
        assert_eq!(reference("/api/auth/me"), "#/components/schemas/User");
        assert_eq!(
            reference("/api/streams"),
            "#/components/schemas/stream.User"
        );
    }
}
