//! May this publisher write to the stream, and as what?
//!
//! A pure decision over the stream's row, taken while that row is locked: the store reads, asks
//! here, and writes the verdict in the same transaction.

use std::time::Duration;

use time::OffsetDateTime;

/// Within this long more than [`TAKEOVERS_ALLOWED`] takeovers are a fight.
pub const TAKEOVER_WINDOW: Duration = Duration::from_secs(30);
/// Takeovers within [`TAKEOVER_WINDOW`] that are let through.
pub const TAKEOVERS_ALLOWED: usize = 3;
/// How long the newest of the fighters is refused.
pub const CONTENTION_HOLD: Duration = Duration::from_secs(30);
/// A transcoder renews every 2 s: three missed in a row and its publisher counts as gone.
pub const TRANSCODER_SILENT_AFTER: Duration = Duration::from_secs(6);

/// The stream a publisher knocks at, at the moment `now`.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    /// The database's clock, the one all instances share.
    pub now: OffsetDateTime,
    /// When the key's time is over.
    pub key_expires_at: OffsetDateTime,
    /// Until when the key is refused after `stop`.
    pub held_until: Option<OffsetDateTime>,
    /// Until when takeovers are refused after too many of them.
    pub contended_until: Option<OffsetDateTime>,
    /// When the stream was taken over lately.
    pub takeovers: &'a [OffsetDateTime],
    /// The broadcast that runs, if one does.
    pub running: Option<Running>,
}

/// The running broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// When its transcoder was last heard.
    pub heard_at: OffsetDateTime,
    /// Whether its publisher is known to be away.
    pub publisher_away: bool,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A new broadcast begins.
    Start,
    /// The publisher is back to the running broadcast.
    Return,
    /// A newer publisher takes the running broadcast from the one that holds it.
    TakeOver {
        /// The stream's recent takeovers, this one included.
        takeovers: Vec<OffsetDateTime>,
    },
    /// Nobody is admitted.
    Refuse(Refusal),
}

/// Why a publisher is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key's time is over, and no broadcast runs to return to.
    KeyExpired,
    /// The owner stopped the stream a moment ago.
    Held {
        /// How long still.
        retry_after: Duration,
    },
    /// Too many publishers take the stream from each other.
    Contended {
        /// How long still.
        retry_after: Duration,
        /// This knock began the hold: it is to be remembered until then.
        begins: Option<OffsetDateTime>,
    },
}

impl Knock<'_> {
    /// The decision on this knock.
    ///
    /// A running broadcast is open to whoever has the key, expired meanwhile or not: after the
    /// grace it runs no longer. Only a publisher that takes it from another one counts for the
    /// damping; one that comes back to its own place never waits.
    pub fn verdict(&self) -> Verdict {
        let Some(running) = self.running else {
            return self.verdict_on_start();
        };
        if running.publisher_away || self.now - running.heard_at > TRANSCODER_SILENT_AFTER {
            return Verdict::Return;
        }
        if let Some(retry_after) = self.left(self.contended_until) {
            let refusal = Refusal::Contended {
                retry_after,
                begins: None,
            };
            return Verdict::Refuse(refusal);
        }
        let mut takeovers: Vec<_> = self
            .takeovers
            .iter()
            .copied()
            .filter(|at| self.now - *at < TAKEOVER_WINDOW)
            .collect();
        if takeovers.len() >= TAKEOVERS_ALLOWED {
            return Verdict::Refuse(Refusal::Contended {
                retry_after: CONTENTION_HOLD,
                begins: Some(self.now + CONTENTION_HOLD),
            });
        }
        takeovers.push(self.now);
        Verdict::TakeOver { takeovers }
    }

    fn verdict_on_start(&self) -> Verdict {
        if self.key_expires_at <= self.now {
            Verdict::Refuse(Refusal::KeyExpired)
        } else if let Some(retry_after) = self.left(self.held_until) {
            Verdict::Refuse(Refusal::Held { retry_after })
        } else {
            Verdict::Start
        }
    }

    /// What is left until `until`, if it has not passed.
    fn left(&self, until: Option<OffsetDateTime>) -> Option<Duration> {
        let left = Duration::try_from(until? - self.now).ok()?;
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    fn knock() -> Knock<'static> {
        Knock {
            now: NOW,
            key_expires_at: NOW + Duration::from_hours(1),
            held_until: None,
            contended_until: None,
            takeovers: &[],
            running: None,
        }
    }

    fn ago(seconds: u64) -> OffsetDateTime {
        NOW - Duration::from_secs(seconds)
    }

    fn ahead(seconds: u64) -> OffsetDateTime {
        NOW + Duration::from_secs(seconds)
    }

    const HELD: Running = Running {
        heard_at: NOW,
        publisher_away: false,
    };
    const AWAY: Running = Running {
        heard_at: NOW,
        publisher_away: true,
    };

    #[test]
    fn a_good_key_starts_a_broadcast() {
        assert_eq!(knock().verdict(), Verdict::Start);
    }

    #[test]
    fn an_expired_key_starts_nothing_but_still_returns() {
        let expired = Knock {
            key_expires_at: NOW,
            ..knock()
        };
        assert_eq!(expired.verdict(), Verdict::Refuse(Refusal::KeyExpired));
        let back = Knock {
            running: Some(AWAY),
            ..expired
        };
        assert_eq!(back.verdict(), Verdict::Return);
    }

    #[test]
    fn a_stopped_stream_is_refused_until_the_hold_is_over() {
        let held = Knock {
            held_until: Some(ahead(60)),
            ..knock()
        };
        let refusal = Refusal::Held {
            retry_after: Duration::from_mins(1),
        };
        assert_eq!(held.verdict(), Verdict::Refuse(refusal));
        let later = Knock {
            held_until: Some(NOW),
            ..knock()
        };
        assert_eq!(later.verdict(), Verdict::Start);
    }

    #[test]
    fn a_publisher_that_is_back_never_counts_as_a_takeover() {
        let recent = [ago(1), ago(2), ago(3), ago(4)];
        for running in [
            AWAY,
            Running {
                heard_at: ago(7),
                publisher_away: false,
            },
        ] {
            let knock = Knock {
                running: Some(running),
                takeovers: &recent,
                contended_until: Some(ahead(9)),
                ..knock()
            };
            assert_eq!(knock.verdict(), Verdict::Return);
        }
    }

    #[test]
    fn the_fourth_takeover_in_30_s_is_refused_for_30_s() {
        let recent = [ago(29), ago(20), ago(10)];
        let fourth = Knock {
            running: Some(HELD),
            takeovers: &recent,
            ..knock()
        };
        let began = ahead(30);
        assert_eq!(
            fourth.verdict(),
            Verdict::Refuse(Refusal::Contended {
                retry_after: Duration::from_secs(30),
                begins: Some(began)
            })
        );
        let again = Knock {
            contended_until: Some(began),
            now: ahead(12),
            ..fourth
        };
        let again = Knock {
            running: Some(Running {
                heard_at: ahead(12),
                ..HELD
            }),
            ..again
        };
        assert_eq!(
            again.verdict(),
            Verdict::Refuse(Refusal::Contended {
                retry_after: Duration::from_secs(18),
                begins: None
            })
        );
    }

    #[test]
    fn takeovers_older_than_30_s_are_forgotten() {
        let recent = [ago(30), ago(20), ago(10)];
        let third = Knock {
            running: Some(HELD),
            takeovers: &recent,
            ..knock()
        };
        assert_eq!(
            third.verdict(),
            Verdict::TakeOver {
                takeovers: vec![ago(20), ago(10), NOW]
            }
        );
    }

    proptest! {
        #[test]
        fn in_any_30_s_at_most_three_takeovers_pass(gaps in prop::collection::vec(0_u64..20, 1..80)) {
            let mut now = NOW;
            let mut recent: Vec<OffsetDateTime> = Vec::new();
            let mut contended_until = None;
            let mut passed: Vec<OffsetDateTime> = Vec::new();
            for gap in gaps {
                now += Duration::from_secs(gap);
                let knock = Knock {
                    now,
                    contended_until,
                    takeovers: &recent,
                    running: Some(Running { heard_at: now, publisher_away: false }),
                    ..knock()
                };
                match knock.verdict() {
                    Verdict::TakeOver { takeovers } => {
                        recent = takeovers;
                        passed.push(now);
                    }
                    Verdict::Refuse(Refusal::Contended { begins, retry_after }) => {
                        prop_assert!(retry_after <= CONTENTION_HOLD);
                        contended_until = begins.or(contended_until);
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            for window in passed.windows(TAKEOVERS_ALLOWED + 1) {
                prop_assert!(window[TAKEOVERS_ALLOWED] - window[0] >= TAKEOVER_WINDOW);
            }
        }
    }
}
