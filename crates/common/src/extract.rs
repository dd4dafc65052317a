//! axum's extractors with our problems for rejections, under axum's names so that a handler
//! reads as usual and utoipa recognises them.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{BytesRejection, FailedToBufferBody, PathRejection},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{contract::FieldError, error::ApiError};

/// A JSON body: 400 `bad_json` when it is no JSON, 415 `unsupported_media_type` when it does not
/// say that it is, 413 `body_too_large`, 422 `validation_failed` with the field when it has
/// another shape, or is no object. As a response it is axum's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(pub T);

/// A JSON body in which everything is optional: no body is `T::default()`, and Content-Type may
/// be left out. Otherwise as [`Json`].
#[derive(Clone, Copy, Debug, Default)]
pub struct OptionalJson<T>(pub T);

/// Path parameters: what does not parse names nothing that exists, hence 404 `not_found`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<T>(pub T);

/// Query parameters: 422 `validation_failed` with the parameter at fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if content_type(request.headers()) != ContentType::Json {
            return Err(unsupported_media_type());
        }
        let body = body(request, state).await?;
        parse_json(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T, S> FromRequest<S> for OptionalJson<T>
where
    T: DeserializeOwned + Default,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = content_type(request.headers());
        let body = body(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if content_type == ContentType::Other {
            return Err(unsupported_media_type());
        }
        parse_json(&body).map(Self)
    }
}

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(params)) => Ok(Self(params)),
            Err(PathRejection::FailedToDeserializePathParams(_)) => Err(ApiError::not_found()),
            Err(rejection) => Err(ApiError::internal(rejection)),
        }
    }
}

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
            .map(Self)
            .map_err(|error| wrong_shape(error.path(), error.inner()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ContentType {
    Absent,
    Json,
    Other,
}

/// `application/json` and every `application/…+json`, whatever the parameters.
fn content_type(headers: &HeaderMap) -> ContentType {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return ContentType::Absent;
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.strip_prefix("application/") {
        Some(subtype) if subtype == "json" || subtype.ends_with("+json") => ContentType::Json,
        _ => ContentType::Other,
    }
}

fn unsupported_media_type() -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "Send the body as JSON with `Content-Type: application/json`.",
    )
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    "The body is larger than this route accepts.",
                )
            }
            // The client stopped sending half-way; it will hardly read this.
            _ => ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_body",
                "The body could not be read to its end.",
            ),
        })
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // Asked first, because serde takes a number in an enum's place for broken JSON.
    let value: Value = serde_json::from_slice(body).map_err(|error| bad_json(&error))?;
    // A struct would take an array for its fields in order, which no document of ours says.
    if !value.is_object() {
        let message = "must be an object".to_owned();
        let field = String::new();
        return Err(ApiError::validation(vec![FieldError { field, message }]));
    }
    // From the text again, which still tells of a field that is there twice.
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| wrong_shape(error.path(), error.inner()))
}

fn bad_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "bad_json",
        format!("The body is not JSON: {error}."),
    )
}

fn wrong_shape(path: &serde_path_to_error::Path, error: &dyn std::fmt::Display) -> ApiError {
    let message = error.to_string();
    // serde tells of a missing field at its parent's path; the client wants the field's own.
    let missing = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next());
    let parent = match path.to_string() {
        root if root == "." => String::new(),
        inner => inner,
    };
    let field = match missing {
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) => format!("{parent}.{name}"),
        None => parent,
    };
    ApiError::validation(vec![FieldError { field, message }])
}
