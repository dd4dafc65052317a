//! What hostile clients send to every route.

use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use crate::fixture::{Auth, SignedIn, answer};

/// Every route with a JSON body, and whether all of the body is optional.
fn routes_with_bodies(user: &SignedIn) -> Vec<(Method, String, bool)> {
    let own = |path: &str| format!("/api/auth{path}");
    vec![
        (Method::POST, own("/register"), false),
        (Method::POST, own("/login"), false),
        (Method::POST, own("/refresh"), true),
        (Method::PATCH, own("/me"), true),
        (Method::DELETE, own("/me"), false),
        (Method::PUT, own("/me/password"), false),
        (Method::PATCH, own(&format!("/users/{}", user.id)), true),
        (
            Method::PUT,
            own(&format!("/users/{}/subscription", user.id)),
            false,
        ),
    ]
}

#[tokio::test]
async fn every_route_refuses_what_is_no_json_of_its_shape() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    for (method, path, optional) in routes_with_bodies(&admin) {
        let send = |content_type: &'static str, body: Vec<u8>| {
            auth.request(method.clone(), &path)
                .bearer_auth(&admin.access_token)
                .header(CONTENT_TYPE, content_type)
                .body(body)
        };
        let json = "application/json";
        for broken in [&b"{"[..], b"\xff\xfe", b"nonsense", b"{} {}"] {
            let refused = answer(send(json, broken.to_vec())).await;
            // What is behind a body of the wrong shape is not looked at.
            assert!(
                refused.status == StatusCode::BAD_REQUEST
                    || refused.status == StatusCode::UNPROCESSABLE_ENTITY,
                "{method} {path} {broken:?}: {}",
                refused.body
            );
        }
        for wrong in ["\"x\"", "1"] {
            let refused = answer(send(json, wrong.into())).await;
            refused.is_problem(422, "validation_failed");
        }
        let plain = answer(send("text/plain", b"{}".to_vec())).await;
        plain.is_problem(415, "unsupported_media_type");
        let deep = "[".repeat(100_000);
        let refused = answer(send(json, deep.into())).await;
        assert!(refused.status.is_client_error(), "{method} {path}");
        if !optional {
            let empty = answer(send(json, b"{}".to_vec())).await;
            empty.is_problem(422, "validation_failed");
        }
    }
}

#[tokio::test]
async fn half_a_character_is_no_json() {
    let auth = Auth::start().await;
    let login = auth
        .request(Method::POST, "/api/auth/login")
        .header(CONTENT_TYPE, "application/json")
        .body(r#"{"login": "\ud800", "password": "x"}"#);
    answer(login).await.is_problem(400, "bad_json");
}

#[tokio::test]
async fn ten_megabytes_are_refused_everywhere() {
    let auth = Auth::start().await;
    let admin = auth.admin().await;
    for (method, path, _) in routes_with_bodies(&admin) {
        let large = auth
            .request(method, &path)
            .bearer_auth(&admin.access_token)
            .header(CONTENT_TYPE, "application/json")
            .body(vec![b' '; 10 << 20]);
        answer(large).await.is_problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn a_body_is_optional_where_all_its_fields_are() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let nothing = auth
        .request(Method::PATCH, "/api/auth/me")
        .bearer_auth(&ann.access_token);
    assert_eq!(answer(nothing).await.status, StatusCode::OK);
}

#[tokio::test]
async fn strange_characters_are_an_answer_and_never_a_failure() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    for text in [
        "\u{0}",
        "\u{202e}",
        "\u{feff}",
        "ａｎｎ",
        "İ",
        "' OR 1=1 --",
        "💥",
        "\u{7f}",
    ] {
        let login = auth.login(text, text).await;
        login.is_problem(401, "invalid_credentials");
        let body = json!({"username": text, "email": text, "password": text});
        let refused = auth.post("/api/auth/register", body).await;
        refused.is_problem(422, "validation_failed");
        let body = json!({"display_name": text, "bio": text});
        let patched = auth.write(Method::PATCH, "/api/auth/me", &ann, body).await;
        assert!(
            patched.status == StatusCode::OK || patched.status == StatusCode::UNPROCESSABLE_ENTITY,
            "{text:?}: {}",
            patched.body
        );
    }
}

#[tokio::test]
async fn every_route_of_users_wants_a_token() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let user = format!("/api/auth/users/{}", ann.id);
    for (method, path) in [
        (Method::POST, "/api/auth/logout"),
        (Method::GET, "/api/auth/me"),
        (Method::PATCH, "/api/auth/me"),
        (Method::DELETE, "/api/auth/me"),
        (Method::PUT, "/api/auth/me/password"),
        (Method::GET, "/api/auth/me/sessions"),
        (Method::DELETE, &format!("/api/auth/me/sessions/{}", ann.id)),
        (Method::GET, "/api/auth/me/subscription"),
        (Method::GET, "/api/auth/users"),
        (Method::PATCH, &user),
        (Method::PUT, &format!("{user}/subscription")),
        (Method::DELETE, &format!("{user}/subscription")),
    ] {
        for token in [None, Some(&ann.refresh_token)] {
            let request = auth.request(method.clone(), path).json(&json!({}));
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            answer(request).await.is_problem(401, "unauthenticated");
        }
    }
}
