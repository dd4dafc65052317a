//! The problems that many routes answer, for the documentation of each.

use std::collections::BTreeMap;

use marquee_common::contract::PROBLEM_JSON;
use utoipa::{
    IntoResponses,
    openapi::{Content, Ref, RefOr, Response, ResponseBuilder},
};

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal: $description:literal,)+ })+) => {
        $(
            $(#[$doc])*
            pub enum $name {}

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    [$(($status.to_owned(), problem($description))),+].into()
                }
            }
        )+
    };
}

problems! {
    /// Of every route that touches the database.
    Unavailable {
        "503": "`unavailable`: the service cannot answer now",
    }
    /// Of every route that takes a JSON body.
    BadBody {
        "400": "`bad_json`, `bad_body`: not JSON, or not whole",
        "413": "`body_too_large`",
        "415": "`unsupported_media_type`: the body is not declared as JSON",
        "422": "`validation_failed`: fields are missing or at fault; `errors` names them",
    }
    /// Of every list.
    BadQuery {
        "422": "`validation_failed`: a parameter is at fault; `errors` names it",
    }
    /// Of every read by a user.
    NotSignedIn {
        "401": "`unauthenticated`: no valid access token",
    }
    /// Of every write by a user.
    MayNotWrite {
        "401": "`unauthenticated`: no valid access token",
        "403": "`csrf_failed`: by cookie, and from a page that is not listed",
    }
    /// Of every write by a user that asks for the password.
    MayNotWriteWithPassword {
        "401": "`unauthenticated`: no valid access token",
        "403": "`wrong_password`, or `csrf_failed`: by cookie, and from a page that is not listed",
        "429": "`locked`: the password was wrong too often; `Retry-After` tells when to try again",
    }
    /// Of every read by an admin.
    NotAdmin {
        "401": "`unauthenticated`: no valid access token",
        "403": "`forbidden`: not an admin",
    }
    /// Of every write by an admin.
    AdminMayNotWrite {
        "401": "`unauthenticated`: no valid access token",
        "403": "`forbidden`: not an admin; `csrf_failed`: by cookie, and from a page that is not listed",
    }
    /// Of every route of other services.
    NotInternal {
        "401": "`unauthenticated`: no or wrong `X-Internal-API-Key`",
    }
    /// Of every route about one thing.
    NotFound {
        "404": "`not_found`",
    }
}

fn problem(description: &str) -> RefOr<Response> {
    ResponseBuilder::new()
        .description(description)
        .content(
            PROBLEM_JSON,
            Content::new(Some(Ref::from_schema_name("Problem"))),
        )
        .build()
        .into()
}
