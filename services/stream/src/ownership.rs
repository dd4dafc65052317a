//! Who may see and change a stream.

use marquee_common::contract::UserId;

use crate::metadata::Visibility;

/// Who asks: a signed-in user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// Whether they run the platform.
    pub admin: bool,
    /// When their token was issued, in Unix seconds: it holds no longer than their account.
    pub token_issued_at: i64,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// They see the stream, but it is not theirs.
    Forbidden,
    /// They are not told that it is there.
    Hidden,
}

impl Caller {
    /// Whether this is the stream's owner, who alone sees its key.
    pub fn owns(&self, owner: UserId) -> bool {
        self.user == owner
    }

    /// May they change a stream of `owner`?
    pub fn may_change(&self, owner: UserId, visibility: Visibility) -> Result<(), Denied> {
        if self.owns(owner) || self.admin {
            return Ok(());
        }
        Err(match visibility {
            Visibility::Public => Denied::Forbidden,
            Visibility::Unlisted => Denied::Hidden,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owner_and_admin_change_a_stream_and_others_learn_no_more_than_they_see() {
        let owner = UserId::new();
        let stranger = Caller {
            user: UserId::new(),
            admin: false,
            token_issued_at: 0,
        };
        for visibility in [Visibility::Public, Visibility::Unlisted] {
            let own = Caller {
                user: owner,
                ..stranger
            };
            assert_eq!(own.may_change(owner, visibility), Ok(()));
            let admin = Caller {
                admin: true,
                ..stranger
            };
            assert_eq!(admin.may_change(owner, visibility), Ok(()));
        }
        let refused = |visibility| stranger.may_change(owner, visibility);
        assert_eq!(refused(Visibility::Public), Err(Denied::Forbidden));
        assert_eq!(refused(Visibility::Unlisted), Err(Denied::Hidden));
    }
}
