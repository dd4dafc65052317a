//! `/openapi.json` and `/docs`: the routes' own documentation, and a page to read it.

use axum::Router;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        InfoBuilder,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::contract::{FieldError, Problem};

/// What every service's document has: the problem body, and the ways to be somebody. Handlers
/// refer to them as `body = Problem` and `security(("bearer" = []))`.
#[derive(OpenApi)]
#[openapi(components(schemas(Problem, FieldError)), modifiers(&Schemes))]
struct Common;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in [
            (
                "bearer",
                SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
            ),
            (
                "cookie",
                SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("access_token"))),
            ),
            (
                "internal",
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Internal-API-Key"))),
            ),
        ] {
            components.add_security_scheme(name, scheme);
        }
    }
}

/// The document routes are added to.
pub(super) fn base(service: &'static str) -> OpenApiRouter<()> {
    let mut document = Common::openapi();
    document.info = InfoBuilder::new()
        .title(format!("Marquee {service}"))
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    OpenApiRouter::with_openapi(document)
}

const DOCUMENT: &str = "/openapi.json";

/// The page, and the document unless a route of the service's own answers for it.
pub(super) fn pages(document: Option<utoipa::openapi::OpenApi>) -> Router {
    let page = SwaggerUi::new("/docs");
    match document {
        Some(document) => page.url(DOCUMENT, document),
        None => page.config(Config::from(DOCUMENT)),
    }
    .into()
}
