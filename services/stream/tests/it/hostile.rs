//! Whatever comes from outside is answered by a problem that says what to change, never by a 5xx.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use marquee_common::{
    auth::AuthContext,
    config::{AuthConfig, Secret},
    contract::{Role, StreamId},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, INTERNAL_API_KEY, Someone, World, answer, claims, event, live};

/// Routes with a JSON body; `{id}` is a stream of the caller's.
const WITH_BODY: [(&str, &str); 6] = [
    ("POST", "/api/streams"),
    ("PATCH", "/api/streams/{id}"),
    ("POST", "/api/streams/{id}/viewers"),
    ("POST", "/internal/ingest/authorize"),
    ("POST", "/internal/ingest/renew"),
    ("POST", "/internal/streams/{id}/events"),
];

/// Routes of users.
const OF_USERS: [(&str, &str); 9] = [
    ("POST", "/api/streams/generate-key"),
    ("POST", "/api/streams"),
    ("GET", "/api/streams"),
    ("PATCH", "/api/streams/{id}"),
    ("DELETE", "/api/streams/{id}"),
    ("POST", "/api/streams/{id}/rotate-key"),
    ("POST", "/api/streams/{id}/stop"),
    ("GET", "/api/streams/{id}/health"),
    ("GET", "/api/streams/{id}/broadcasts"),
];

/// Routes for everyone that a bearer token changes.
const OPEN_TO_ALL: [&str; 2] = ["/api/streams/{id}", "/api/streams/{id}/events"];

struct Request<'a> {
    world: &'a World,
    by: &'a Someone,
    method: Method,
    path: String,
}

impl Request<'_> {
    async fn send(&self, content_type: Option<&str>, body: Vec<u8>) -> Answer {
        let url = format!("{}{}", self.world.url, self.path);
        let mut request = self
            .world
            .http
            .request(self.method.clone(), url)
            .bearer_auth(&self.by.token)
            .header("x-internal-api-key", INTERNAL_API_KEY)
            .body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        answer(request).await
    }
}

fn requests<'a>(world: &'a World, by: &'a Someone, id: StreamId) -> Vec<Request<'a>> {
    WITH_BODY
        .iter()
        .map(|(method, path)| Request {
            world,
            by,
            method: method.parse().unwrap(),
            path: path.replace("{id}", &id.to_string()),
        })
        .collect()
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_by_every_route_that_takes_one() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let json = Some("application/json");
    for request in requests(&world, &ada, stream.id) {
        for broken in [
            &b"{"[..],
            b"{\"title\": }",
            b"\xff\xfe",
            b"nonsense",
            "{\"\\u0000".as_bytes(),
        ] {
            let answer = request.send(json, broken.to_vec()).await;
            assert!(
                answer.status == 400 && answer.body["code"] == "bad_json",
                "{} {}: {} for {:?}",
                request.method,
                request.path,
                answer.text,
                String::from_utf8_lossy(broken)
            );
        }
        for wrong in [
            "[]",
            "7",
            "\"text\"",
            "null",
            "{\"title\": 7, \"session_id\": {}}",
        ] {
            let answer = request.send(json, wrong.into()).await;
            assert!(
                answer.status == 422 && answer.body["errors"].is_array(),
                "{} {}: {} for {wrong}",
                request.method,
                request.path,
                answer.text
            );
        }
        let other = request.send(Some("text/plain"), b"{}".to_vec()).await;
        other.is_problem(415, "unsupported_media_type");
        let large = format!("{{\"title\": \"{}\"}}", "x".repeat(10 << 20));
        request
            .send(json, large.into())
            .await
            .is_problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn tokens_that_are_none_are_refused_by_every_route_that_looks_at_them() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let mut tokens: Vec<(&str, String)> = Vec::new();

    let good = claims(ada.id, "ada", Role::User);
    let mut expired = good.clone();
    expired.exp = expired.iat - 1;
    tokens.push(("expired", world.signed_in(&expired).token));
    let mut elsewhere = good.clone();
    elsewhere.aud = "another".to_owned();
    tokens.push(("of another audience", world.signed_in(&elsewhere).token));
    let revoked = claims(ada.id, "ada", Role::User);
    world.revoke(&revoked).await;
    tokens.push(("revoked", world.signed_in(&revoked).token));
    let secret = |text: &str| text.parse::<Secret>().unwrap();
    let forger = AuthContext::new(
        &AuthConfig {
            jwt_secret_key: secret("a signing key that somebody else has made"),
            internal_api_key: secret("an internal key that somebody else has made"),
            cors_allowed_origins: Vec::new(),
        },
        None,
    );
    tokens.push(("of another key", forger.issue(&good)));

    let signed = world.signed_in(&good).token;
    let [header, payload, signature] = signed.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let unsigned = json!({"alg": "none", "typ": "JWT", "kid": header["kid"]});
    let unsigned = URL_SAFE_NO_PAD.encode(unsigned.to_string());
    tokens.push(("alg none", format!("{unsigned}.{payload}.")));
    tokens.push((
        "alg none with a signature",
        format!("{unsigned}.{payload}.{signature}"),
    ));
    let admin = claims(ada.id, "ada", Role::Admin);
    let admin = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&admin).unwrap());
    let (head, _) = signed.split_once('.').unwrap();
    tokens.push(("changed", format!("{head}.{admin}.{signature}")));
    tokens.push(("cut off", format!("{head}.{payload}")));
    // What a refresh token looks like: opaque.
    tokens.push(("a refresh token", URL_SAFE_NO_PAD.encode([7; 32])));
    tokens.push(("nothing", String::new()));

    let path = |path: &str| path.replace("{id}", &stream.id.to_string());
    let open = OPEN_TO_ALL.map(|path| ("GET", path));
    for (method, route) in OF_USERS.iter().chain(&open) {
        for (what, token) in &tokens {
            let by = Someone {
                id: ada.id,
                token: token.clone(),
            };
            // No token at all is nobody, whom the open routes answer.
            let nobody = what == &"nothing" && open.iter().any(|(_, path)| path == route);
            if nobody {
                continue;
            }
            let method: Method = method.parse().unwrap();
            let answer = world.call(method, &path(route), Some(&by), None).await;
            assert_eq!(answer.status, 401, "{route} by a token that is {what}");
            answer.is_problem(401, "unauthenticated");
        }
    }
    assert_eq!(world.status(stream.id).await, "active");
}

#[tokio::test]
async fn ids_and_queries_of_any_kind_are_answered() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    world.stream_of(&ada).await;
    for id in [
        "0",
        "-1",
        "%00",
        "%ff",
        "..%2f..",
        "null",
        "%F0%9F%92%A9",
        "'%20OR%201=1",
        "%0d%0aX:%20y",
        &"9".repeat(4_000),
        "00000000-0000-0000-0000-000000000000",
    ] {
        for (method, route) in OF_USERS.iter().chain(&WITH_BODY[2..3]) {
            if !route.contains("{id}") {
                continue;
            }
            let method: Method = method.parse().unwrap();
            let body = (method == Method::PATCH).then(|| json!({}));
            let path = route.replace("{id}", id);
            let answer = world.call(method, &path, Some(&ada), body).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.text);
            assert_eq!(answer.body["code"], "not_found");
        }
    }
    for query in [
        "q=%00",
        "q=%ff",
        "q=%F0%9F%92%A9",
        "q=%25%5F%5C",
        "q=%E2%80%AE",
        "q=a%0Ab",
        "category=%00",
        "tag=%00",
        "tag=%7B%7D%22%2C",
        "live=perhaps",
        "live=",
        "limit=-1",
        "limit=0",
        "limit=99999999999999999999",
        "limit=x",
        "cursor=",
        "cursor=%00",
        "cursor=e30",
        "cursor=AAAA",
        "q=a&q=b",
        "unknown=1",
        "&&==&",
        "%00=%00",
    ] {
        for list in ["/api/streams/public", "/api/streams"] {
            let answer = world.get(&format!("{list}?{query}"), Some(&ada)).await;
            assert!(
                matches!(answer.status.as_u16(), 200 | 422),
                "{list}?{query}: {}",
                answer.text
            );
        }
    }
    let long = "q".repeat(101);
    world
        .get(&format!("/api/streams/public?q={long}"), None)
        .await
        .is_problem(422, "validation_failed");
}

#[tokio::test]
async fn text_in_any_script_is_kept_as_it_is_and_controls_are_refused() {
    let world = World::with(&["--max-active-streams-per-user", "0"]).await;
    let ada = world.user("ada").await;
    for text in [
        "Шахи ♟️",
        "שלום עולם",
        "日本語の放送",
        "👩‍💻 coding",
        "a'; DROP TABLE streams; --",
    ] {
        let body = json!({"title": text, "description": text, "category": text, "tags": [text]});
        let stream = world.create(&ada, body).await;
        let shown = world.show(stream.id).await;
        assert_eq!(shown["title"], text);
        assert_eq!(shown["description"], text);
        assert_eq!(shown["tags"][0], text.to_lowercase());
        // A search finds it in its own script.
        let found = world
            .call_with_query("/api/streams/public", &[("q", text), ("tag", text)])
            .await
            .expect(200);
        assert_eq!(found["items"][0]["id"], stream.id.to_string(), "{text}");
    }
    for control in ['\0', '\u{1}', '\u{7f}', '\u{85}', '\u{202e}', '\u{2028}'] {
        for field in ["title", "description", "category"] {
            let body = json!({field: format!("a{control}b")});
            let refused = world
                .call(Method::POST, "/api/streams", Some(&ada), Some(body))
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(refused.errors[0].field, field, "{control:?}");
        }
    }
}

#[tokio::test]
async fn what_a_transcoder_says_is_not_believed_blindly() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let stream = world.stream_of(&ada).await;
    let held = world.admit(&stream.key, "http://t1.invalid:8086").await;
    // Postgres keeps no NUL: ffmpeg's last words may have one and are kept without.
    let mut odd = live();
    odd["data"]["codec"] = json!("h\u{0}264");
    world.event(&held, 1, odd).await;
    let words = json!({"type": "interrupted", "data": {"reason": "a\u{0}b", "log": ["\u{0}"]}});
    world.event(&held, 2, words).await;
    assert_eq!(world.status(stream.id).await, "reconnecting");
    let last = json!({"type": "ended", "data": {"reason": "\u{0}".repeat(10_000)}});
    world.event(&held, 3, last).await;
    assert_eq!(world.status(stream.id).await, "active");

    let path = format!("/internal/streams/{}/events", stream.id);
    for (field, value) in [
        ("seq", json!(u64::MAX)),
        ("epoch", json!(-1)),
        ("at", json!("yesterday")),
        ("at", json!("-9999-01-01T00:00:00Z")),
        ("event_id", json!("7")),
        ("type", json!("sunny")),
    ] {
        let mut told = event(&held, 9, live());
        told[field] = value;
        world
            .internal(&path, &told)
            .await
            .is_problem(422, "validation_failed");
    }
    for at in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"] {
        let mut told = event(&held, 10, live());
        told["at"] = json!(at);
        world.internal(&path, &told).await.expect(200);
    }
    for url in [
        "http://t1\u{0}:1",
        "http://t1.invalid/\u{0}",
        "http://t1.invalid/\n",
        "file:///etc",
    ] {
        let renewal = json!({"transcoder_url": url, "broadcasts": []});
        world
            .internal("/internal/ingest/renew", &renewal)
            .await
            .is_problem(422, "validation_failed");
        world
            .authorize(&stream.key, url)
            .await
            .is_problem(422, "validation_failed");
    }
    let same = json!({
        "broadcast_id": held.broadcast_id, "epoch": held.epoch, "next_msn": 1_u64 << 53,
        "discontinuity_seq": 1_u64 << 53,
    });
    let renewal =
        json!({"transcoder_url": "http://t1.invalid:8086", "broadcasts": vec![same.clone(); 900]});
    world
        .internal("/internal/ingest/renew", &renewal)
        .await
        .expect(200);
    // Numbers that no player counts to, and no database, would leave the stream unusable.
    for field in ["next_msn", "discontinuity_seq"] {
        for number in [(1_u64 << 53) + 1, u64::MAX] {
            let mut held = same.clone();
            held[field] = json!(number);
            let renewal = json!({"transcoder_url": "http://t1.invalid:8086", "broadcasts": [held]});
            world
                .internal("/internal/ingest/renew", &renewal)
                .await
                .is_problem(422, "validation_failed");
        }
    }
    world
        .authorize(&stream.key, "http://t1.invalid:8086")
        .await
        .expect(200);
}

#[tokio::test]
async fn nobody_else_changes_or_looks_into_a_stream() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    for (visibility, status, code) in [("public", 403, "forbidden"), ("unlisted", 404, "not_found")]
    {
        let owner = if visibility == "public" { &ada } else { &bob };
        let stranger = if visibility == "public" { &bob } else { &ada };
        let stream = world.create(owner, json!({"visibility": visibility})).await;
        for (method, route) in OF_USERS.iter().filter(|(_, route)| route.contains("{id}")) {
            let method: Method = method.parse().unwrap();
            let body = (method == Method::PATCH).then(|| json!({"title": "mine"}));
            let path = route.replace("{id}", &stream.id.to_string());
            world
                .call(method, &path, Some(stranger), body)
                .await
                .is_problem(status, code);
        }
        let shown = world
            .get(&format!("/api/streams/{}", stream.id), Some(stranger))
            .await;
        assert!(!shown.text.contains(&stream.key));
    }
}
