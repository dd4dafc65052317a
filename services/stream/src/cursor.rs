//! Cursors of lists: where a page ended, opaque to the client.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;
use uuid::Uuid;

/// Where a page of the public list ended, in the order of that list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublicPosition {
    /// Whether the last one was running.
    pub running: bool,
    /// Its place in time; as Unix microseconds in the text (what Postgres keeps).
    #[serde(rename = "listed_at_us", with = "microseconds")]
    pub listed_at: OffsetDateTime,
    /// Its id.
    pub id: Uuid,
}

/// A time as Unix microseconds.
mod microseconds {
    use std::ops::Range;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _, ser};
    use time::OffsetDateTime;

    /// The years 2000 to 9999: what Postgres and the `time` crate both hold.
    pub const PLAUSIBLE: Range<i128> = 946_684_800_000_000..253_402_300_800_000_000;

    pub fn serialize<S: Serializer>(at: &OffsetDateTime, to: S) -> Result<S::Ok, S::Error> {
        let us = i64::try_from(at.unix_timestamp_nanos() / 1_000).map_err(ser::Error::custom)?;
        to.serialize_i64(us)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OffsetDateTime, D::Error> {
        let us = i128::from(i64::deserialize(from)?);
        if !PLAUSIBLE.contains(&us) {
            return Err(D::Error::custom("no time of a stream"));
        }
        OffsetDateTime::from_unix_timestamp_nanos(us * 1_000).map_err(D::Error::custom)
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
    use super::{microseconds::PLAUSIBLE, *};

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let position = PublicPosition {
            running: true,
            listed_at: OffsetDateTime::from_unix_timestamp_nanos(1_753_000_000_000_005_000)
                .unwrap(),
            id: Uuid::now_v7(),
        };
        assert_eq!(decode(&encode(&position)), Ok(position));
        for text in ["", "%", "e30", &encode(&"x")] {
            assert_eq!(decode::<PublicPosition>(text), Err(BadCursor), "{text}");
        }
        let forged = |listed_at_us: i128| {
            let id = Uuid::now_v7();
            let json = serde_json::json!({
                "running": true, "listed_at_us": i64::try_from(listed_at_us).unwrap(), "id": id,
            });
            decode::<PublicPosition>(&encode(&json))
        };
        for plausible in [PLAUSIBLE.start, PLAUSIBLE.end - 1] {
            assert!(forged(plausible).is_ok(), "{plausible}");
        }
        for us in [
            i64::MIN.into(),
            PLAUSIBLE.start - 1,
            PLAUSIBLE.end,
            i64::MAX.into(),
        ] {
            assert_eq!(forged(us), Err(BadCursor), "{us}");
        }
    }
}
