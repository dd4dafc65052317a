//! A viewer's session id: made here, signed, so that a count cannot be raised by made-up ids.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use marquee_common::contract::StreamId;
use sha2::Sha256;
use uuid::{NoContext, Timestamp, Uuid};

/// A session counts once it is as old as this: half of the time between two heartbeats. Whoever
/// wants to raise a count has to stay.
const COUNTS_FROM: Duration = Duration::from_secs(5);

/// Bytes of the signature that are kept: 128 bits.
const MAC_LEN: usize = 16;

/// Signs and checks viewer sessions.
#[derive(Clone)]
pub struct ViewerSessions {
    mac: Hmac<Sha256>,
}

impl ViewerSessions {
    /// Sessions under a secret that all instances share.
    pub fn new(secret: &str) -> Self {
        // A label keeps these signatures apart from whatever else the secret signs. HMAC takes
        // keys of any length, so the fallback is never used.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
        mac.update(b"marquee viewer session\0");
        Self { mac }
    }

    /// A new session of a viewer of `stream` that begins `now`, and its signed text.
    pub fn issue(&self, stream: StreamId, now: SystemTime) -> (Uuid, String) {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp =
            Timestamp::from_unix(NoContext, since_epoch.as_secs(), since_epoch.subsec_nanos());
        let id = Uuid::new_v7(timestamp);
        let signature = URL_SAFE_NO_PAD.encode(self.sign(stream, id));
        (id, format!("{}.{signature}", id.simple()))
    }

    /// The session in `text`, if it was issued for `stream`.
    pub fn check(&self, stream: StreamId, text: &str) -> Option<Uuid> {
        let (id, signature) = text.split_once('.')?;
        let id = Uuid::try_parse(id).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mac = self.begin(stream, id);
        (signature.len() == MAC_LEN && mac.verify_truncated_left(&signature).is_ok()).then_some(id)
    }

    fn begin(&self, stream: StreamId, id: Uuid) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(stream.0.as_bytes());
        mac.update(id.as_bytes());
        mac
    }

    fn sign(&self, stream: StreamId, id: Uuid) -> [u8; MAC_LEN] {
        let full = self.begin(stream, id).finalize().into_bytes();
        let mut kept = [0; MAC_LEN];
        kept.copy_from_slice(&full[..MAC_LEN]);
        kept
    }
}

/// Whether a session that was issued is old enough to be counted. Its id tells when it began.
pub fn counts(session: Uuid, now: SystemTime) -> bool {
    let Some(began) = session.get_timestamp() else {
        return false;
    };
    let (seconds, nanos) = began.to_unix();
    let began = UNIX_EPOCH + Duration::new(seconds, nanos);
    now.duration_since(began)
        .is_ok_and(|age| age >= COUNTS_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_holds_for_its_stream_and_secret_only() {
        let sessions = ViewerSessions::new("a secret that is long enough to be one");
        let (stream, other) = (StreamId::new(), StreamId::new());
        let (id, session) = sessions.issue(stream, SystemTime::now());
        assert_eq!(sessions.check(stream, &session), Some(id));
        assert!(sessions.check(other, &session).is_none());
        assert!(
            ViewerSessions::new("another")
                .check(stream, &session)
                .is_none()
        );
    }

    #[test]
    fn a_session_counts_when_its_viewer_has_stayed() {
        let sessions = ViewerSessions::new("a secret that is long enough to be one");
        let began = SystemTime::now();
        let (id, _) = sessions.issue(StreamId::new(), began);
        assert!(!counts(id, began));
        assert!(!counts(id, began + Duration::from_millis(4_900)));
        assert!(counts(id, began + Duration::from_millis(5_001)));
        // Another instance's clock may lag.
        assert!(!counts(id, began - Duration::from_mins(1)));
        assert!(!counts(Uuid::new_v4(), began));
    }

    #[test]
    fn made_up_sessions_are_refused() {
        let sessions = ViewerSessions::new("a secret that is long enough to be one");
        let stream = StreamId::new();
        let id = Uuid::now_v7();
        for text in [
            "",
            ".",
            "x.y",
            &format!("{id}."),
            &format!("{id}.AAAAAAAAAAAAAAAAAAAAAA"),
        ] {
            assert!(sessions.check(stream, text).is_none(), "{text}");
        }
    }
}
