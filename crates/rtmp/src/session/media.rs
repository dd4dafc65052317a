//! What becomes of a publication's messages, and which of them are done without: a good live does not
//! end for what stands beside it.

use super::{Session, SessionError, State};
use crate::amf0::{self, Value};
use crate::chunk::{Message, kind};
use crate::flv::MediaError;
use crate::remux::Tracks;

/// Messages of one kind that may be done without in a row. Tracks beside the first are some messages
/// for each of its own; of damaged ones this is three seconds of pictures.
pub(super) const MOST_DROPPED_IN_A_ROW: u32 = 100;

/// How far a publication has come. What compares as greater came further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Headway {
    /// Audio and video messages that were of use.
    used: u64,
    /// Bytes of messages that are not whole yet: a large frame takes its time on a narrow line.
    unfinished: usize,
}

/// Messages that were done without.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) count: u64,
    /// Why the latest was.
    pub(crate) last: Option<SessionError>,
    video_in_a_row: u32,
    audio_in_a_row: u32,
}

impl Dropped {
    pub(super) fn add(&mut self, why: impl Into<SessionError>) {
        self.count += 1;
        self.last = Some(why.into());
    }
}

impl Session {
    pub(crate) fn headway(&self) -> Headway {
        Headway {
            used: self.used,
            unfinished: self.chunks.unfinished(),
        }
    }

    pub(crate) fn dropped(&self) -> &Dropped {
        &self.dropped
    }

    /// Metadata that cannot be read is done without.
    pub(super) fn data(&mut self, payload: &[u8]) {
        let Ok(values) = amf0::read_all(payload) else {
            return;
        };
        let is_metadata = values
            .iter()
            .take(2)
            .any(|value| value.as_str() == Some("onMetaData"));
        let Some(fields) = values.last().filter(|_| is_metadata) else {
            return;
        };
        let has = |name| match fields.get(name) {
            Some(Value::Number(id)) => *id != 0.0,
            Some(Value::String(id)) => !id.is_empty(),
            _ => false,
        };
        self.remuxer.announce(Tracks {
            video: has("videocodecid"),
            audio: has("audiocodecid"),
        });
    }

    pub(super) fn media(&mut self, message: &Message) -> Result<(), SessionError> {
        match self.state {
            State::New | State::Connected { .. } => {
                return Err(SessionError::Order("media came before publish"));
            }
            // What an encoder had under way when it stopped.
            State::Ended => return Ok(()),
            State::Asked | State::Publishing => {}
        }
        let Message {
            timestamp, payload, ..
        } = message;
        let usable = self.remuxer.usable();
        let dropped = &mut self.dropped;
        let (taken, usable, in_a_row) = if message.kind == kind::VIDEO {
            let taken = self.remuxer.video(*timestamp, payload, &mut self.media);
            (taken, usable.video, &mut dropped.video_in_a_row)
        } else {
            let taken = self.remuxer.audio(*timestamp, payload, &mut self.media);
            (taken, usable.audio, &mut dropped.audio_in_a_row)
        };
        match taken {
            Ok(was_used) => {
                if was_used {
                    *in_a_row = 0;
                }
                self.used += u64::from(was_used);
                Ok(())
            }
            // A good live does not end for what stands beside it.
            Err(error)
                if (usable || matches!(error, MediaError::ExtraTrack(_)))
                    && *in_a_row < MOST_DROPPED_IN_A_ROW =>
            {
                *in_a_row += 1;
                dropped.add(error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
