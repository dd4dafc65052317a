//! `auth admin …`: what an operator does to accounts, from a shell or a launcher.
//!
//! Every command may be repeated: it says what it found, and fails only when what was asked for is
//! not so afterwards.

use std::{
    io::{IsTerminal, stdin},
    process::ExitCode,
};

use clap::Parser;
use marquee_common::{
    contract::{Role, SessionId},
    error_chain,
    postgres::{self, ConnectError},
    redis::RedisClient,
};
use time::{Duration, OffsetDateTime};

use crate::{
    app::MIGRATOR,
    config::{AdminCommand, AdminConfig, password_from_environment},
    credentials::{Complaint, Email, Password, Username},
    password::{PasswordError, PasswordHasher},
    revocation::Revocations,
    store::{InsertAccountError, NewAccount, Store},
    user::Account,
};

/// Access tokens of ended sessions are refused for so long; longer than any of them lives by
/// default.
const ACCESS_TOKEN_TTL: std::time::Duration = std::time::Duration::from_hours(24);

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    #[error("--username {0}")]
    Username(Complaint),
    #[error("--email {0}")]
    Email(Complaint),
    #[error("the password {0}")]
    Password(Complaint),
    #[error("no password: set MARQUEE_PASSWORD or write it to stdin")]
    NoPassword,
    #[error("the e-mail address belongs to another account")]
    EmailTaken,
    #[error("there is no account {0}")]
    NoSuchAccount(String),
    #[error("the plan must have a name")]
    NoPlan,
    #[error("stdin cannot be read")]
    Stdin(#[source] std::io::Error),
    #[error("bcrypt failed")]
    Bcrypt(#[from] PasswordError),
    #[error("auth_db cannot be used")]
    Postgres(#[from] ConnectError),
    #[error("auth_db failed")]
    Database(#[from] sqlx::Error),
    #[error("REDIS_HOST or REDIS_PORT is wrong")]
    Redis(#[from] redis::RedisError),
    #[error("threads cannot be started")]
    Runtime(#[source] std::io::Error),
}

/// Runs the command that the arguments name; the first of them is `admin`.
pub fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let config = AdminConfig::parse_from(args);
    match run(config) {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("auth admin: {}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(config: AdminConfig) -> Result<String, AdminError> {
    tokio::runtime::Runtime::new()
        .map_err(AdminError::Runtime)?
        .block_on(execute(config))
}

async fn execute(config: AdminConfig) -> Result<String, AdminError> {
    match config.command.clone() {
        AdminCommand::Create {
            username,
            email,
            role,
            reset_password,
        } => {
            let username = Username::parse(&username).map_err(AdminError::Username)?;
            let email = Email::parse(&email).map_err(AdminError::Email)?;
            let password = read_password()?;
            let new = Create {
                username,
                email,
                password,
                role,
                reset_password,
            };
            new.execute(&config).await
        }
        AdminCommand::Promote { username, role } => {
            let store = store(&config).await?;
            let account = find_account(&store, &username).await?;
            store.update_role(account.user.id, role).await?;
            Ok(format!("{}: role {role:?}", account.user.username).to_lowercase())
        }
        AdminCommand::Subscribe {
            username,
            plan,
            days,
        } => {
            let plan = plan.trim();
            if plan.is_empty() {
                return Err(AdminError::NoPlan);
            }
            let store = store(&config).await?;
            let account = find_account(&store, &username).await?;
            let expires_at =
                days.map(|days| OffsetDateTime::now_utc() + Duration::days(days.into()));
            store
                .upsert_subscription(account.user.id, plan, expires_at)
                .await?;
            let end =
                expires_at.map_or_else(|| "without end".to_owned(), |at| format!("until {at}"));
            Ok(format!(
                "{}: subscribed to {plan} {end}",
                account.user.username
            ))
        }
    }
}

struct Create {
    username: Username,
    email: Email,
    password: Password,
    role: Role,
    reset_password: bool,
}

impl Create {
    async fn execute(self, config: &AdminConfig) -> Result<String, AdminError> {
        let store = store(config).await?;
        let name = self.username.as_str();
        if let Some(account) = store.find_account_by_login(name).await? {
            return self.meet(config, &store, account).await;
        }
        let passwords = PasswordHasher::new(config.bcrypt_cost, 1);
        let password_hash = passwords.hash(self.password.clone()).await?;
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
                self.meet(config, &store, account).await
            }
            Err(InsertAccountError::EmailTaken) => Err(AdminError::EmailTaken),
            Err(InsertAccountError::Database(error)) => Err(error.into()),
        }
    }

    /// The account exists already.
    async fn meet(
        &self,
        config: &AdminConfig,
        store: &Store,
        account: Account,
    ) -> Result<String, AdminError> {
        let username = account.user.username;
        if !self.reset_password {
            return Ok(format!("{username}: already exists"));
        }
        let passwords = PasswordHasher::new(config.bcrypt_cost, 1);
        let password_hash = passwords.hash(self.password.clone()).await?;
        let ended = store
            .update_password(account.user.id, &password_hash)
            .await?;
        let revocations = Revocations::new(RedisClient::new(&config.redis)?, ACCESS_TOKEN_TTL);
        for session in ended {
            revocations.announce(SessionId::from(session)).await;
        }
        Ok(format!("{username}: already exists, password reset"))
    }
}

async fn store(config: &AdminConfig) -> Result<Store, AdminError> {
    // The launcher may come before the service's first start.
    let pool = postgres::connect(&config.postgres, &MIGRATOR).await?;
    Ok(Store::new(pool))
}

async fn find_account(store: &Store, username: &str) -> Result<Account, AdminError> {
    let account = store.find_account_by_login(username).await?;
    account.ok_or_else(|| AdminError::NoSuchAccount(username.to_owned()))
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
