//! Cursor pages: every list of the API answers `{items, next_cursor}`.

use serde::{Deserialize, Serialize};

/// One page of a list. `next_cursor` is opaque, and absent on the last page.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// Pass it back as `?cursor=` for the next page; `null` when there is none.
    pub next_cursor: Option<String>,
}

/// `?limit=&cursor=` of a list.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
pub struct PageQuery {
    /// Rows wanted, 1 to 100 (default 50).
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// The wanted number of rows, brought into 1..=100.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(50).clamp(1, 100)
    }
}
