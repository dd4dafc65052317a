//! Where a broadcast and its stream stand, and which way they may go.
//!
//! A broadcast is the state machine; a stream's status is a projection of its running broadcast
//! and of its key's time (DESIGN.md section 3, "Status"):
//! `active → live ⇄ reconnecting → active`, and `expired` when the key's time is over.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A stream's status, as the seeds name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamStatus {
    /// Its key opens it; nothing is on the air.
    Active,
    /// It can be watched.
    Live,
    /// The publisher is away; viewers wait for its return within the grace.
    Reconnecting,
    /// Its key's time is over; rotating the key revives it.
    Expired,
}

/// Where a broadcast stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A publisher was admitted, nothing can be played yet.
    Starting,
    /// It can be played.
    Live,
    /// It was live, its publisher is away.
    Interrupted,
    /// It is over, for good.
    Ended,
}

/// What moves a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The master playlist can be played.
    WentLive,
    /// The publisher left.
    Interrupted,
    /// The grace is over, somebody ended it, or nobody was heard.
    Ended,
}

/// What the world is told of a [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// `live.started`: once in a broadcast's life.
    Started,
    /// `live.ended`: once, and only after `live.started`.
    Ended,
}

/// Where a signal leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The phase from now on.
    pub phase: Phase,
    /// What to announce, if anything.
    pub announce: Option<Announcement>,
}

/// A status, a phase or a visibility in the database that this build does not know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown value {0:?}")]
pub struct UnknownValue(pub String);

impl Phase {
    /// Where `signal` leads from here. A broadcast that never was live begins and ends in
    /// silence: consumers have nothing to record.
    pub const fn on(self, signal: Signal) -> Step {
        let (phase, announce) = match (self, signal) {
            (Self::Starting, Signal::WentLive) => (Self::Live, Some(Announcement::Started)),
            (Self::Starting, Signal::Interrupted) => (Self::Starting, None),
            (Self::Live | Self::Interrupted, Signal::WentLive) => (Self::Live, None),
            (Self::Live | Self::Interrupted, Signal::Interrupted) => (Self::Interrupted, None),
            (Self::Live | Self::Interrupted, Signal::Ended) => {
                (Self::Ended, Some(Announcement::Ended))
            }
            (Self::Starting, Signal::Ended) | (Self::Ended, _) => (Self::Ended, None),
        };
        Step { phase, announce }
    }

    /// Whether it may still be written.
    pub const fn is_running(self) -> bool {
        !matches!(self, Self::Ended)
    }

    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
        }
    }
}

impl StreamStatus {
    /// The status of a stream whose newest broadcast stands at `broadcast` (`None`: it never had
    /// one). While a broadcast runs the key does not expire: its publisher may return.
    pub const fn of(broadcast: Option<Phase>, key_expired: bool) -> Self {
        match broadcast {
            Some(Phase::Live) => Self::Live,
            Some(Phase::Interrupted) => Self::Reconnecting,
            Some(Phase::Ended) | None if key_expired => Self::Expired,
            Some(Phase::Starting | Phase::Ended) | None => Self::Active,
        }
    }

    /// Whether a stream of this status may be given `next`.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Active | Self::Live | Self::Reconnecting, Self::Active | Self::Live)
            | (Self::Live | Self::Reconnecting, Self::Reconnecting)
            | (_, Self::Expired)
            | (Self::Expired, Self::Active) => true,
            (Self::Active | Self::Expired, Self::Reconnecting) | (Self::Expired, Self::Live) => {
                false
            }
        }
    }

    /// The name in the database and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for StreamStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StreamStatus {
    type Err = UnknownValue;
    fn from_str(name: &str) -> Result<Self, UnknownValue> {
        [Self::Active, Self::Live, Self::Reconnecting, Self::Expired]
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or_else(|| UnknownValue(name.to_owned()))
    }
}

impl TryFrom<String> for StreamStatus {
    type Error = UnknownValue;
    fn try_from(name: String) -> Result<Self, UnknownValue> {
        name.parse()
    }
}

impl TryFrom<String> for Phase {
    type Error = UnknownValue;
    fn try_from(name: String) -> Result<Self, UnknownValue> {
        [Self::Starting, Self::Live, Self::Interrupted, Self::Ended]
            .into_iter()
            .find(|phase| phase.name() == name)
            .ok_or(UnknownValue(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PHASES: [Phase; 4] = [
        Phase::Starting,
        Phase::Live,
        Phase::Interrupted,
        Phase::Ended,
    ];
    const SIGNALS: [Signal; 3] = [Signal::WentLive, Signal::Interrupted, Signal::Ended];
    const STATUSES: [StreamStatus; 4] = [
        StreamStatus::Active,
        StreamStatus::Live,
        StreamStatus::Reconnecting,
        StreamStatus::Expired,
    ];

    #[test]
    fn every_phase_answers_every_signal_as_the_table_says() {
        use Announcement as A;
        use Phase as P;
        let table = [
            // went live, interrupted, ended
            (
                P::Starting,
                [
                    (P::Live, Some(A::Started)),
                    (P::Starting, None),
                    (P::Ended, None),
                ],
            ),
            (
                P::Live,
                [
                    (P::Live, None),
                    (P::Interrupted, None),
                    (P::Ended, Some(A::Ended)),
                ],
            ),
            (
                P::Interrupted,
                [
                    (P::Live, None),
                    (P::Interrupted, None),
                    (P::Ended, Some(A::Ended)),
                ],
            ),
            (
                P::Ended,
                [(P::Ended, None), (P::Ended, None), (P::Ended, None)],
            ),
        ];
        for (from, row) in table {
            for (signal, (phase, announce)) in SIGNALS.into_iter().zip(row) {
                assert_eq!(
                    from.on(signal),
                    Step { phase, announce },
                    "{from:?} on {signal:?}"
                );
            }
        }
    }

    #[test]
    fn a_status_is_what_the_broadcast_and_the_key_say() {
        for expired in [false, true] {
            let idle = if expired {
                StreamStatus::Expired
            } else {
                StreamStatus::Active
            };
            assert_eq!(StreamStatus::of(None, expired), idle);
            assert_eq!(StreamStatus::of(Some(Phase::Ended), expired), idle);
            assert_eq!(
                StreamStatus::of(Some(Phase::Starting), expired),
                StreamStatus::Active
            );
            assert_eq!(
                StreamStatus::of(Some(Phase::Live), expired),
                StreamStatus::Live
            );
            assert_eq!(
                StreamStatus::of(Some(Phase::Interrupted), expired),
                StreamStatus::Reconnecting
            );
        }
    }

    #[test]
    fn only_the_designs_edges_are_legal() {
        use StreamStatus as S;
        let legal = [
            (S::Active, S::Live),
            (S::Live, S::Reconnecting),
            (S::Reconnecting, S::Live),
            (S::Live, S::Active),
            (S::Reconnecting, S::Active),
            (S::Active, S::Expired),
            (S::Live, S::Expired),
            (S::Reconnecting, S::Expired),
            (S::Expired, S::Active),
        ];
        for from in STATUSES {
            for to in STATUSES {
                let expected = from == to || legal.contains(&(from, to));
                assert_eq!(from.may_become(to), expected, "{from} → {to}");
            }
        }
    }

    #[test]
    fn names_read_back_as_what_they_name() {
        for status in STATUSES {
            assert_eq!(status.name().parse(), Ok(status));
        }
        for phase in PHASES {
            assert_eq!(Phase::try_from(phase.name().to_owned()), Ok(phase));
        }
        assert!("paused".parse::<StreamStatus>().is_err());
    }

    /// What can happen to a stream, in any order.
    #[derive(Clone, Copy, Debug)]
    enum Happening {
        Admitted,
        Signal(Signal),
        KeyTimePasses,
        KeyRotated,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            Just(Happening::Admitted),
            prop::sample::select(&SIGNALS[..]).prop_map(Happening::Signal),
            Just(Happening::KeyTimePasses),
            Just(Happening::KeyRotated),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_status_moves_along_legal_edges_and_announcements_pair(
            story in prop::collection::vec(happening(), 0..60),
        ) {
            let mut broadcast: Option<Phase> = None;
            let mut key_expired = false;
            let mut status = StreamStatus::Active;
            let mut on_air = false;
            for event in story {
                match event {
                    Happening::Admitted => {
                        if !broadcast.is_some_and(Phase::is_running) && !key_expired {
                            broadcast = Some(Phase::Starting);
                        }
                    }
                    Happening::Signal(signal) => {
                        if let Some(phase) = broadcast {
                            let step = phase.on(signal);
                            match step.announce {
                                Some(Announcement::Started) => {
                                    prop_assert!(!on_air);
                                    on_air = true;
                                }
                                Some(Announcement::Ended) => {
                                    prop_assert!(on_air);
                                    on_air = false;
                                }
                                None => {}
                            }
                            broadcast = Some(step.phase);
                        }
                    }
                    Happening::KeyTimePasses => key_expired = true,
                    Happening::KeyRotated => {
                        // Rotating ends the broadcast first.
                        if let Some(phase) = broadcast {
                            if phase.on(Signal::Ended).announce.is_some() {
                                on_air = false;
                            }
                            broadcast = Some(Phase::Ended);
                        }
                        key_expired = false;
                    }
                }
                let next = StreamStatus::of(broadcast, key_expired);
                prop_assert!(status.may_become(next), "{} → {} by {:?}", status, next, event);
                prop_assert_eq!(
                    on_air,
                    matches!(next, StreamStatus::Live | StreamStatus::Reconnecting)
                );
                status = next;
            }
        }
    }
}
