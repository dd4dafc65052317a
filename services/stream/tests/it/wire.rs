//! Webhook events as a transcoder sends them.

use marquee_common::contract::{EventId, ingest::Authorized};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An event with an id of its own.
pub fn event(held: &Authorized, seq: u64, kind: Value) -> Value {
    let mut event = json!({
        "event_id": EventId::new(),
        "broadcast_id": held.broadcast_id,
        "epoch": held.epoch,
        "seq": seq,
        "at": OffsetDateTime::now_utc().format(&Rfc3339).unwrap(),
    });
    if let (Some(event), Value::Object(mut kind)) = (event.as_object_mut(), kind) {
        event.append(&mut kind);
    }
    event
}

pub fn live() -> Value {
    live_with(&["720p", "480p", "360p"])
}

pub fn live_with(qualities: &[&str]) -> Value {
    json!({"type": "live", "data": {
        "available_qualities": qualities, "audio": true,
        "width": 1280, "height": 720, "fps": 30.0, "codec": "h264",
    }})
}

pub fn interrupted() -> Value {
    json!({"type": "interrupted", "data": {"reason": "publisher_left"}})
}

pub fn ended() -> Value {
    json!({"type": "ended", "data": {"reason": "grace_over"}})
}

pub fn health(bitrate_bps: u64) -> Value {
    json!({"type": "health", "data": {
        "bitrate_bps": bitrate_bps, "fps": 30.0, "rtt_ms": 12.5, "packets_lost": 1,
        "packets_dropped": 0, "encode_speed": 1.0, "storage_behind_s": 0.4,
        "keyframe_interval_ms": 2000,
    }})
}
