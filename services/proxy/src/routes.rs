//! The URL table beside `/stream`, which the workers pass on themselves.

mod operator;
pub mod table;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

/// Every route.
pub fn routes(state: AppState) -> OpenApiRouter<()> {
    OpenApiRouter::new()
        .routes(routes!(table::list)) //                                   GET    /api/proxy/routes
        .routes(routes!(table::find, table::set, table::delete)) //        …      /api/proxy/routes/{stream_id}
        .with_state(state)
}
