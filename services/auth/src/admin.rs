//! `auth admin …`: what an operator does to accounts, from a shell or a launcher.
//!
//! Every command may be repeated: it says what it found, and fails only when what was asked for is
//! not so afterwards.

mod create;

use std::{ffi::OsString, process::ExitCode};

use marquee_common::{
    config::secret_file,
    contract::{Role, SessionId},
    error_chain,
    postgres::{self, ConnectError},
    redis::RedisClient,
};
use time::{Duration, OffsetDateTime};

use crate::{
    admin::create::Create,
    app::MIGRATOR,
    config::{AdminCommand, AdminConfig},
    credentials::Complaint,
    error::RevocationError,
    password::PasswordError,
    revocation::Revocations,
    store::{AccountChange, AccountQuery, Store},
    subscription::check_plan,
    user::{Account, ManagedUser, Subscription, User},
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
    #[error("--plan {0}")]
    Plan(Complaint),
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
    #[error(
        "{done}, but access tokens of the ended sessions are good until the running service has \
         told the others, or until they expire"
    )]
    NotAnnounced {
        /// What was done.
        done: String,
        #[source]
        source: RevocationError,
    },
    #[error("threads cannot be started")]
    Runtime(#[source] std::io::Error),
}

/// Runs the command that the arguments name; the first of them is `admin`.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let config: AdminConfig = match secret_file::parse_from(args) {
        Ok(config) => config,
        Err(error) => error.exit(),
    };
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
    use AdminCommand as Command;
    match config.command.clone() {
        Command::Create {
            username,
            email,
            role,
            reset_password,
        } => {
            let new = Create::new(&username, &email, role, reset_password)?;
            new.execute(&config).await
        }
        Command::Promote { username, role } => {
            let change = AccountChange {
                role: Some(role),
                disabled: None,
            };
            let state = format!("role {role:?}").to_lowercase();
            change_account(&config, &username, change, &state).await
        }
        Command::Disable { username } => set_disabled(&config, &username, true).await,
        Command::Enable { username } => set_disabled(&config, &username, false).await,
        Command::Delete { username } => {
            let store = store(&config).await?;
            let user = find_account(&store, &username).await?.user;
            let ended = store.delete_account(user.id, None).await?;
            let done = format!("{}: deleted", user.username);
            announce(&config, store, &ended.unwrap_or_default(), done).await
        }
        Command::Unlock { username } => {
            let store = store(&config).await?;
            let user = find_account(&store, &username).await?.user;
            store.delete_failed_sign_ins(&user).await?;
            Ok(format!("{}: nobody waits", user.username))
        }
        Command::Subscribe {
            username,
            plan,
            days,
        } => subscribe(&config, &username, &plan, days).await,
        Command::Unsubscribe { username } => {
            let store = store(&config).await?;
            let user = find_account(&store, &username).await?.user;
            store.delete_subscription(user.id).await?;
            Ok(format!("{}: no subscription", user.username))
        }
        Command::List { search, limit } => {
            let query = AccountQuery {
                search,
                before: None,
                limit,
            };
            let users = store(&config).await?.list_accounts(&query).await?;
            let lines: Vec<String> = users.iter().map(line).collect();
            Ok(lines.join("\n"))
        }
    }
}

async fn set_disabled(
    config: &AdminConfig,
    username: &str,
    disabled: bool,
) -> Result<String, AdminError> {
    let change = AccountChange {
        role: None,
        disabled: Some(disabled),
    };
    let state = if disabled { "disabled" } else { "enabled" };
    change_account(config, username, change, state).await
}

/// Changes an account, ends the sessions that have to end, and says what is so now.
async fn change_account(
    config: &AdminConfig,
    username: &str,
    change: AccountChange,
    state: &str,
) -> Result<String, AdminError> {
    let store = store(config).await?;
    let user = find_account(&store, username).await?.user;
    let changed = store.update_account(user.id, change).await?;
    let changed = changed.ok_or(AdminError::NoSuchAccount(user.username))?;
    let done = format!("{}: {state}", changed.account.user.username);
    announce(config, store, &changed.ended, done).await
}

async fn subscribe(
    config: &AdminConfig,
    username: &str,
    plan: &str,
    days: Option<u32>,
) -> Result<String, AdminError> {
    let plan = check_plan(plan).map_err(AdminError::Plan)?;
    let store = store(config).await?;
    let user = find_account(&store, username).await?.user;
    let expires_at = days.map(|days| OffsetDateTime::now_utc() + Duration::days(days.into()));
    let granted = store.upsert_subscription(user.id, plan, expires_at).await?;
    if granted.is_none() {
        return Err(AdminError::NoSuchAccount(user.username));
    }
    let end = expires_at.map_or_else(|| "without end".to_owned(), |at| format!("until {at}"));
    Ok(format!("{}: subscribed to {plan} {end}", user.username))
}

/// An account on one line, in columns by tabs.
fn line(user: &ManagedUser) -> String {
    let role = match user.user.role {
        Role::User => "user",
        Role::Admin => "admin",
    };
    let state = if user.disabled { "disabled" } else { "enabled" };
    let plan = match &user.subscription {
        Subscription {
            active: true,
            plan: Some(plan),
            ..
        } => plan,
        _ => "-",
    };
    let User {
        id,
        username,
        email,
        ..
    } = &user.user;
    format!("{id}\t{username}\t{email}\t{role}\t{state}\t{plan}")
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

/// Has the access tokens of ended sessions refused, and says what was done.
async fn announce(
    config: &AdminConfig,
    store: Store,
    ended: &[SessionId],
    done: String,
) -> Result<String, AdminError> {
    let revocations = Revocations::new(RedisClient::new(&config.redis)?, store, ACCESS_TOKEN_TTL);
    match revocations.try_announce(ended).await {
        Ok(()) => Ok(done),
        Err(source) => Err(AdminError::NotAnnounced { done, source }),
    }
}
