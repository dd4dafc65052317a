//! Proving to know a password, under the lock-out.

use std::net::IpAddr;

use crate::{
    app::AppState,
    credentials::Password,
    error::AuthError,
    lockout::{Attempt, Network, Place, Standing},
    password::Comparison,
    user::Account,
};

/// Who tries a password.
#[derive(Debug)]
pub struct Prover<'a> {
    /// The name it is tried for, as typed.
    pub login: &'a str,
    /// The account that has it.
    pub account: Option<&'a Account>,
    /// Where the client sits.
    pub address: IpAddr,
    /// A place of the account's own, if it is tried from one.
    pub own_place: Option<Place>,
}

/// A password that was right.
#[derive(Debug)]
pub struct Proof {
    /// Its hash of today's cost, if the stored one is of another.
    pub renewed_hash: Option<String>,
}

/// Whether `password` is the account's, which may be nobody's: then the answer is no, and comes
/// after the same steps.
///
/// Whoever was wrong too often is answered [`AuthError::Locked`] without a comparison. That is looked
/// up before waiting for a turn, so that a locked account fills no queue, and again when the turn has
/// come: of guesses made side by side no more get through than passwords are compared at a time.
pub async fn prove(
    state: &AppState,
    prover: Prover<'_>,
    password: String,
) -> Result<Option<Proof>, AuthError> {
    let network = Network::of(prover.address);
    let place = prover
        .own_place
        .unwrap_or_else(|| Place::Network(network.clone()));
    let account = prover.account;
    let guess = Guess {
        state,
        attempt: Attempt::new(prover.login, account.map(|account| account.user.id), place),
    };
    guess.standing().await?;
    let Some(password) = Password::parse_attempt(password) else {
        // Cannot be anybody's, so it is no guess.
        return Ok(None);
    };
    let turn = state.passwords.turn(&network).await?;
    let standing = guess.standing().await?;
    let hash = account.map(|account| account.password_hash.clone());
    match turn.compare(password, hash).await? {
        Comparison::Right { renewed } if account.is_some_and(|account| !account.disabled) => {
            guess.was_right(&standing).await?;
            Ok(Some(Proof {
                renewed_hash: renewed,
            }))
        }
        Comparison::Right { .. } | Comparison::Wrong => {
            guess.was_wrong(&standing).await?;
            Ok(None)
        }
    }
}

struct Guess<'a> {
    state: &'a AppState,
    attempt: Attempt,
}

impl Guess<'_> {
    async fn standing(&self) -> Result<Standing, AuthError> {
        let policy = &self.state.lockout;
        let standing = self
            .state
            .store
            .find_standing(&self.attempt, policy)
            .await?;
        match policy.wait(&standing) {
            None => Ok(standing),
            Some(wait) => {
                metrics::counter!("auth_passwords_total", "outcome" => "locked").increment(1);
                Err(AuthError::Locked(wait))
            }
        }
    }

    async fn was_right(&self, standing: &Standing) -> Result<(), AuthError> {
        metrics::counter!("auth_passwords_total", "outcome" => "right").increment(1);
        if standing.here.is_some() {
            let store = &self.state.store;
            store.delete_failed_sign_ins_from(&self.attempt).await?;
        }
        Ok(())
    }

    async fn was_wrong(&self, standing: &Standing) -> Result<(), AuthError> {
        metrics::counter!("auth_passwords_total", "outcome" => "wrong").increment(1);
        let policy = &self.state.lockout;
        let failures = self
            .state
            .store
            .count_failed_sign_in(&self.attempt, standing.familiar, policy)
            .await?;
        if failures >= policy.failures {
            let user_id = self.attempt.user_id.map(|id| id.to_string());
            let place = match &self.attempt.place {
                Place::Network(network) => network.as_str(),
                Place::Device(_) => "a device of the account",
                Place::Session(_) => "a session of the account",
            };
            tracing::warn!(user_id, place, failures, "wrong passwords: locked out");
        }
        Ok(())
    }
}
