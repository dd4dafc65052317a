//! What the inspector does with sound, and with sound that comes without a picture.

use marquee_hls::ts::{PACKET, Packet};

use super::meters::SoundChange;
use super::phase::Phase;
use super::{SECOND, State, Withheld};
use crate::source::event::{NewHeadReason, SourceEvent};

/// Video that is listed is waited for so long while audio comes.
const VIDEO_PATIENCE: i64 = 2 * SECOND;
/// Video that does not come for so long while audio goes on has stopped.
const VIDEO_STOPPED: i64 = 3 * SECOND;

impl State {
    pub(super) fn audio(&mut self, packet: &Packet<'_>, events: &mut Vec<SourceEvent>) {
        self.rate.add(PACKET);
        if let Some(start) = &packet.start {
            let video = self.last_frame.map(|frame| frame.decoded);
            let change = self.sound.heard(start.pts, video);
            if change.is_some() && self.phase.is_flowing() {
                events.push(SourceEvent::AudioStarted);
            }
            if change == Some(SoundChange::ReturnedLate) {
                self.asked.get_or_insert(NewHeadReason::SoundReturned);
                if self.withheld == Withheld::Nothing {
                    self.withheld = Withheld::Sound;
                }
            }
            self.without_video(packet, events);
        }
        if self.withheld != Withheld::Sound {
            self.route(packet);
        }
        self.tick(events);
    }

    /// What audio has to do where no video comes.
    fn without_video(&mut self, packet: &Packet<'_>, events: &mut Vec<SourceEvent>) {
        let Some(now) = self.sound.time() else {
            return;
        };
        let seen_at = self.video_seen_at.get_or_insert(now);
        *seen_at += self.sound.leap();
        let away_for = now - *seen_at;
        if self.last_frame.is_none() {
            self.rate.at(now);
        }
        if self.phase.with_video() && away_for > VIDEO_STOPPED && !self.video_stopped {
            self.video_stopped = true;
            self.end_unit(packet, events);
            events.push(SourceEvent::VideoStopped);
        }
        let listed = packet.tables.video().is_some();
        let alone = !listed || away_for > VIDEO_PATIENCE;
        let due = match self.phase {
            Phase::Seeking => true,
            _ => self.asked.is_some() && (self.video_stopped || !self.phase.with_video()),
        };
        if alone && due {
            self.begin(false, events);
            self.media.extend_from_slice(packet.tables.packets());
        }
    }
}
