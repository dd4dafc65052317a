//! A viewer's session id: made here, signed, so that a count cannot be raised by made-up ids.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use marquee_common::contract::StreamId;
use sha2::Sha256;
use uuid::Uuid;

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

    /// A new session of a viewer of `stream`, and its signed text.
    pub fn issue(&self, stream: StreamId) -> (Uuid, String) {
        let id = Uuid::now_v7();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_holds_for_its_stream_and_secret_only() {
        let sessions = ViewerSessions::new("a secret that is long enough to be one");
        let (stream, other) = (StreamId::new(), StreamId::new());
        let (id, session) = sessions.issue(stream);
        assert_eq!(sessions.check(stream, &session), Some(id));
        assert!(sessions.check(other, &session).is_none());
        assert!(
            ViewerSessions::new("another")
                .check(stream, &session)
                .is_none()
        );
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
