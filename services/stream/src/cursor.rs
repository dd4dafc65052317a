//! Cursors of lists: where a page ended, opaque to the client.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// Where a page of the public list ended, in the order of that list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublicPosition {
    /// Whether the last one was running.
    pub running: bool,
    /// Its place in time, as Unix microseconds (what Postgres keeps).
    #[serde(deserialize_with = "plausible_time")]
    pub listed_at_us: i64,
    /// Its id.
    pub id: Uuid,
}

/// The years 2000 to 9999, as Unix microseconds: what Postgres and the `time` crate both hold.
const PLAUSIBLE: Range<i64> = 946_684_800_000_000..253_402_300_800_000_000;

fn plausible_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let us = i64::deserialize(deserializer)?;
    if PLAUSIBLE.contains(&us) {
        Ok(us)
    } else {
        Err(serde::de::Error::custom("no time of a stream"))
    }
}

/// Not a cursor this service has given out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a cursor of this list")]
pub struct BadCursor;

/// The text of a position.
pub fn encode<T: Serialize>(position: &T) -> String {
    // A position is numbers and ids only: its JSON cannot fail.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// The position in a text.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, BadCursor> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
    serde_json::from_slice(&json).map_err(|_| BadCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let position = PublicPosition {
            running: true,
            listed_at_us: 1_753_000_000_000_005,
            id: Uuid::now_v7(),
        };
        assert_eq!(decode(&encode(&position)), Ok(position));
        for text in ["", "%", "e30", &encode(&"x")] {
            assert_eq!(decode::<PublicPosition>(text), Err(BadCursor), "{text}");
        }
        for listed_at_us in [i64::MIN, PLAUSIBLE.start - 1, PLAUSIBLE.end, i64::MAX] {
            let forged = encode(&PublicPosition {
                listed_at_us,
                ..position
            });
            assert_eq!(decode::<PublicPosition>(&forged), Err(BadCursor));
        }
    }
}
