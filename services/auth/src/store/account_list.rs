//! The list of accounts, for admins.

use marquee_common::contract::UserId;
use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Store,
    accounts::{AccountRow, account_columns},
};
use crate::user::{Account, ManagedUser, Subscription};

/// Which accounts.
#[derive(Clone, Debug, Default)]
pub struct AccountQuery {
    /// Those whose username, address or display name contains this, in any case.
    pub search: Option<String>,
    /// Those older than this one.
    pub before: Option<UserId>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct ManagedUserRow {
    #[sqlx(flatten)]
    account: AccountRow,
    now: OffsetDateTime,
    plan: Option<String>,
    expires_at: Option<OffsetDateTime>,
}

impl From<ManagedUserRow> for ManagedUser {
    fn from(row: ManagedUserRow) -> Self {
        let account = Account::from(row.account);
        Self {
            user: account.user,
            disabled: account.disabled,
            subscription: row.plan.map_or(Subscription::NONE, |plan| {
                Subscription::at(row.now, plan, row.expires_at)
            }),
        }
    }
}

/// The columns of a [`ManagedUserRow`] and where they come from.
macro_rules! managed_users {
    () => {
        concat!(
            "SELECT ",
            account_columns!(),
            ", now() AS now, s.plan, s.expires_at \
             FROM users LEFT JOIN subscriptions s ON s.user_id = users.id ",
        )
    };
}

impl Store {
    /// Accounts, newest first.
    pub async fn list_accounts(
        &self,
        query: &AccountQuery,
    ) -> Result<Vec<ManagedUser>, sqlx::Error> {
        let rows: Vec<ManagedUserRow> = sqlx::query_as(concat!(
            managed_users!(),
            "WHERE ($1::uuid IS NULL OR users.id < $1) \
               AND ($2::text IS NULL \
                 OR username ILIKE $2 OR email ILIKE $2 OR display_name ILIKE $2) \
             ORDER BY users.id DESC LIMIT $3",
        ))
        .bind(query.before.map(Uuid::from))
        .bind(query.search.as_deref().map(contains))
        .bind(i64::from(query.limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(ManagedUser::from).collect())
    }

    /// An account as an admin sees it.
    pub async fn find_managed_user(&self, id: UserId) -> Result<Option<ManagedUser>, sqlx::Error> {
        let row: Option<ManagedUserRow> =
            sqlx::query_as(concat!(managed_users!(), "WHERE users.id = $1"))
                .bind(Uuid::from(id))
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(ManagedUser::from))
    }
}

/// The pattern of `LIKE` for whatever contains `text`.
fn contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn what_means_something_to_like_is_taken_literally() {
        assert_eq!(contains("ann"), "%ann%");
        assert_eq!(contains(r"50%_\"), r"%50\%\_\\%");
    }
}
