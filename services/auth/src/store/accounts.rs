//! Queries about accounts.

use marquee_common::contract::{Role, UserId};
use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Store;
use crate::{
    credentials::{Email, Username},
    profile::Edit,
    user::{Account, User},
};

/// An account to make.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// Its name.
    pub username: &'a Username,
    /// Its address.
    pub email: &'a Email,
    /// bcrypt of its password.
    pub password_hash: &'a str,
    /// What it may do.
    pub role: Role,
}

/// Why an account could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InsertAccountError {
    /// The name is another's, in this or another case.
    #[error("the username is taken")]
    UsernameTaken,
    /// The address is another's, in this or another case.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// What to change in a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// The name to show.
    pub display_name: Edit,
    /// The text about oneself.
    pub bio: Edit,
}

#[derive(FromRow)]
pub(super) struct AccountRow {
    id: Uuid,
    username: String,
    email: String,
    password_hash: String,
    display_name: Option<String>,
    bio: Option<String>,
    role: String,
    disabled: bool,
    created_at: OffsetDateTime,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            user: User {
                id: row.id.into(),
                username: row.username,
                email: row.email,
                display_name: row.display_name,
                bio: row.bio,
                role: role_from_column(&row.role),
                created_at: row.created_at,
            },
            password_hash: row.password_hash,
            disabled: row.disabled,
        }
    }
}

/// The columns of an [`AccountRow`], as a literal that `concat!` takes.
macro_rules! account_columns {
    () => {
        "users.id, username, email, password_hash, display_name, bio, role, \
         disabled_at IS NOT NULL AS disabled, created_at"
    };
}
pub(super) use account_columns;

// The column's CHECK admits no third value; were there one, it must not make an admin.
fn role_from_column(role: &str) -> Role {
    match role {
        "admin" => Role::Admin,
        _ => Role::User,
    }
}

pub(super) fn role_to_column(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Admin => "admin",
    }
}

impl Store {
    /// Makes an account. Of two that want one name at the same time exactly one gets it: the
    /// unique indexes decide, not a look beforehand.
    pub async fn insert_account(&self, new: NewAccount<'_>) -> Result<User, InsertAccountError> {
        let row: Result<AccountRow, sqlx::Error> = sqlx::query_as(concat!(
            "INSERT INTO users (id, username, email, password_hash, role) \
             VALUES ($1, $2, $3, $4, $5) RETURNING ",
            account_columns!(),
        ))
        .bind(Uuid::from(UserId::new()))
        .bind(new.username.as_str())
        .bind(new.email.as_str())
        .bind(new.password_hash)
        .bind(role_to_column(new.role))
        .fetch_one(&self.pool)
        .await;
        row.map(|row| Account::from(row).user)
            .map_err(|error| match violated_constraint(&error) {
                Some("users_username_key") => InsertAccountError::UsernameTaken,
                Some("users_email_key") => InsertAccountError::EmailTaken,
                _ => InsertAccountError::Database(error),
            })
    }

    /// The account of this username or e-mail address, in any case.
    pub async fn find_account_by_login(&self, login: &str) -> Result<Option<Account>, sqlx::Error> {
        let row: Option<AccountRow> = sqlx::query_as(concat!(
            "SELECT ",
            account_columns!(),
            " FROM users WHERE lower(username) = lower($1) OR lower(email) = lower($1)",
        ))
        .bind(login)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Account::from))
    }

    /// The highest cost of a bcrypt hash that is stored; reads all accounts.
    pub async fn find_dearest_bcrypt_cost(&self) -> Result<Option<u32>, sqlx::Error> {
        let cost: Option<i32> = sqlx::query_scalar(
            "SELECT max(substr(password_hash, 5, 2)::integer) FROM users \
             WHERE password_hash ~ '^[$]2[abxy][$][0-9]{2}[$]'",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(cost.map(i32::unsigned_abs))
    }

    /// Stores a hash of the same password in place of `current`; false if that is no longer the
    /// account's.
    pub async fn update_password_hash(
        &self,
        id: UserId,
        current: &str,
        renewed: &str,
    ) -> Result<bool, sqlx::Error> {
        let done =
            sqlx::query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
                .bind(Uuid::from(id))
                .bind(current)
                .bind(renewed)
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The account of this id.
    pub async fn find_account(&self, id: UserId) -> Result<Option<Account>, sqlx::Error> {
        let row: Option<AccountRow> = sqlx::query_as(concat!(
            "SELECT ",
            account_columns!(),
            " FROM users WHERE id = $1"
        ))
        .bind(Uuid::from(id))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Account::from))
    }

    /// Changes a profile; `None` if the account is gone or disabled.
    pub async fn update_profile(
        &self,
        id: UserId,
        change: ProfileChange,
    ) -> Result<Option<User>, sqlx::Error> {
        let (sets_display_name, display_name) = change.display_name.into_parts();
        let (sets_bio, bio) = change.bio.into_parts();
        let row: Option<AccountRow> = sqlx::query_as(concat!(
            "UPDATE users SET \
               display_name = CASE WHEN $2 THEN $3 ELSE display_name END, \
               bio = CASE WHEN $4 THEN $5 ELSE bio END \
             WHERE id = $1 AND disabled_at IS NULL RETURNING ",
            account_columns!(),
        ))
        .bind(Uuid::from(id))
        .bind(sets_display_name)
        .bind(display_name)
        .bind(sets_bio)
        .bind(bio)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Account::from(row).user))
    }
}

fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error
        .as_database_error()
        .filter(|error| error.is_unique_violation())
        .and_then(sqlx::error::DatabaseError::constraint)
}
