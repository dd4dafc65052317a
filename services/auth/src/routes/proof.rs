//! Proving to know a password, under the lock-out.

use std::net::IpAddr;

use crate::{
    app::AppState,
    credentials::Password,
    error::AuthError,
    lockout::{Network, Standing, Target},
    user::Account,
};

/// Whether `password` is the account's, which may be nobody's: then the answer is no, and comes
/// after the same steps.
///
/// Whoever was wrong too often is answered [`AuthError::Locked`] without a comparison. That is looked
/// up before waiting for a turn, so that a locked account fills no queue, and again when the turn has
/// come: of guesses made side by side no more get through than passwords are compared at a time.
pub async fn prove(
    state: &AppState,
    login: &str,
    account: Option<&Account>,
    password: String,
    address: IpAddr,
) -> Result<bool, AuthError> {
    let guess = Guess {
        state,
        account,
        target: account.map_or_else(
            || Target::nobody(login),
            |account| Target::account(account.user.id),
        ),
        network: Network::of(address),
    };
    guess.standing().await?;
    let Some(password) = Password::parse_attempt(password) else {
        // Cannot be anybody's, so it is no guess.
        return Ok(false);
    };
    let turn = state.passwords.turn(&guess.network).await?;
    let standing = guess.standing().await?;
    let hash = account.map(|account| account.password_hash.clone());
    let matches = turn.matches(password, hash).await?;
    if matches && account.is_some_and(|account| !account.disabled) {
        guess.was_right(&standing).await?;
        Ok(true)
    } else {
        guess.was_wrong(&standing).await?;
        Ok(false)
    }
}

struct Guess<'a> {
    state: &'a AppState,
    account: Option<&'a Account>,
    target: Target,
    network: Network,
}

impl Guess<'_> {
    async fn standing(&self) -> Result<Standing, AuthError> {
        let policy = &self.state.lockout;
        let user_id = self.account.map(|account| account.user.id);
        let standing = self
            .state
            .store
            .find_standing(&self.target, user_id, &self.network, policy)
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
            store
                .delete_failed_sign_ins_from(&self.target, &self.network)
                .await?;
        }
        Ok(())
    }

    async fn was_wrong(&self, standing: &Standing) -> Result<(), AuthError> {
        metrics::counter!("auth_passwords_total", "outcome" => "wrong").increment(1);
        let policy = &self.state.lockout;
        let failures = self
            .state
            .store
            .count_failed_sign_in(&self.target, &self.network, standing.familiar, policy)
            .await?;
        if failures >= policy.failures {
            let user_id = self.account.map(|account| account.user.id.to_string());
            let network = self.network.as_str();
            tracing::warn!(user_id, network, failures, "wrong passwords: locked out");
        }
        Ok(())
    }
}
