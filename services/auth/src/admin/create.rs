//! `auth admin create`: an account, made or met.

use std::{
    io::{IsTerminal, stdin},
    net::{IpAddr, Ipv4Addr},
};

use marquee_common::contract::Role;

use super::{AdminError, announce, find_account, store};
use crate::{
    config::{AdminConfig, password_from_environment},
    credentials::{Email, Password, Username},
    lockout::Network,
    password::{Bounds, PasswordHasher},
    store::{InsertAccountError, NewAccount, Store},
    user::Account,
};

/// An account to make.
pub(super) struct Create {
    username: Username,
    email: Email,
    password: Password,
    role: Role,
    reset_password: bool,
}

impl Create {
    /// Checks what is asked for, and reads the password.
    pub(super) fn new(
        username: &str,
        email: &str,
        role: Role,
        reset_password: bool,
    ) -> Result<Self, AdminError> {
        Ok(Self {
            username: Username::parse(username).map_err(AdminError::Username)?,
            email: Email::parse(email).map_err(AdminError::Email)?,
            password: read_password()?,
            role,
            reset_password,
        })
    }

    /// Makes the account, or meets the one that exists, and says which.
    pub(super) async fn execute(self, config: &AdminConfig) -> Result<String, AdminError> {
        let store = store(config).await?;
        let name = self.username.as_str();
        if let Some(account) = store.find_account_by_login(name).await? {
            return self.meet(config, store, account).await;
        }
        let password_hash = self.hash_password(config).await?;
        let made = store
            .insert_account(NewAccount {
                username: &self.username,
                email: &self.email,
                password_hash: &password_hash,
                role: self.role,
            })
            .await;
        match made {
            Ok(user) => Ok(format!("{}: created", user.username)),
            // Another was faster, so it is there now.
            Err(InsertAccountError::UsernameTaken) => {
                let account = find_account(&store, name).await?;
                self.meet(config, store, account).await
            }
            Err(InsertAccountError::EmailTaken) => Err(AdminError::EmailTaken),
            Err(InsertAccountError::Database(error)) => Err(error.into()),
        }
    }

    async fn hash_password(&self, config: &AdminConfig) -> Result<String, AdminError> {
        let passwords = PasswordHasher::new(config.bcrypt_cost, Bounds::ONE);
        let here = Network::of(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(passwords.hash(self.password.clone(), &here).await?)
    }

    /// The account exists already.
    async fn meet(
        &self,
        config: &AdminConfig,
        store: Store,
        account: Account,
    ) -> Result<String, AdminError> {
        let username = &account.user.username;
        if !self.reset_password {
            return Ok(format!("{username}: already exists"));
        }
        let password_hash = self.hash_password(config).await?;
        let ended = store
            .reset_password(account.user.id, &password_hash)
            .await?;
        // Whoever guessed at the old one held the owner back, too.
        store.delete_failed_sign_ins(&account.user).await?;
        let done = format!("{username}: already exists, password reset");
        announce(config, store, &ended, done).await
    }
}

fn read_password() -> Result<Password, AdminError> {
    let password = match password_from_environment() {
        Some(password) => password,
        None => read_line()?.ok_or(AdminError::NoPassword)?,
    };
    Password::parse_new(password).map_err(AdminError::Password)
}

fn read_line() -> Result<Option<String>, AdminError> {
    if stdin().is_terminal() {
        eprint!("password (it will show): ");
    }
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(AdminError::Stdin)?;
    let line = line.trim_end_matches(['\r', '\n']);
    Ok((!line.is_empty()).then(|| line.to_owned()))
}
