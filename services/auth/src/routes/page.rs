//! Pages of lists that are in the order of their ids: a cursor is the last id of its page.

use std::str::FromStr;

use marquee_common::contract::{FieldError, Page};

use crate::error::AuthError;

/// Where the page before ended.
pub fn position<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, AuthError> {
    cursor.map(T::from_str).transpose().map_err(|_| {
        AuthError::Invalid(vec![FieldError {
            field: "cursor".to_owned(),
            message: "must be the `next_cursor` of a page of this list".to_owned(),
        }])
    })
}

/// Rows to fetch for a page: one more tells whether there is another page.
pub fn fetched(limit: u32) -> u32 {
    limit.saturating_add(1)
}

/// The page of the rows fetched.
pub fn cut<T, I: ToString>(mut rows: Vec<T>, limit: u32, id: impl Fn(&T) -> I) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    Page {
        next_cursor: last.map(|row| id(row).to_string()),
        items: rows,
    }
}

/// A page of other items.
pub fn map<T, U>(page: Page<T>, item: impl FnMut(T) -> U) -> Page<U> {
    Page {
        items: page.items.into_iter().map(item).collect(),
        next_cursor: page.next_cursor,
    }
}
