//! What may be granted as a subscription, with the words to say when it may not.

use time::OffsetDateTime;

use crate::credentials::Complaint;

/// Longest name of a plan, in characters.
const PLAN_MAX: usize = 64;

/// The name of a plan: one line, 1 to 64 characters.
pub fn check_plan(given: &str) -> Result<&str, Complaint> {
    let plan = given.trim();
    if plan.is_empty() || plan.chars().count() > PLAN_MAX {
        return Err("must be 1 to 64 characters long");
    }
    if plan.chars().any(char::is_control) {
        return Err("must not hold control characters");
    }
    Ok(plan)
}

/// When a subscription ends: in the future, or never.
pub fn check_expiry(
    given: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, Complaint> {
    match given {
        Some(end) if end <= now => Err("must be in the future, or null"),
        end => Ok(end),
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::{check_expiry, check_plan};

    #[test]
    fn a_plan_has_a_name_in_one_line() {
        assert_eq!(check_plan(" monthly "), Ok("monthly"));
        assert!(check_plan(&"ü".repeat(64)).is_ok());
        for bad in ["", "  ", "a\nb", "a\0", &"x".repeat(65)] {
            assert!(check_plan(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_granted_has_not_ended() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert!(check_expiry(None, now).is_ok());
        assert!(check_expiry(Some(now + Duration::SECOND), now).is_ok());
        assert!(check_expiry(Some(now), now).is_err());
    }
}
