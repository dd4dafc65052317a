//! Every query of the service, by what it is about.

mod account_changes;
mod account_list;
mod accounts;
mod devices;
mod events;
mod failed_sign_ins;
mod revocations;
mod sessions;
mod subscriptions;

use sqlx::PgPool;

pub use account_changes::{AccountChange, Changed};
pub use account_list::AccountQuery;
pub use accounts::{InsertAccountError, NewAccount, ProfileChange};
pub use sessions::{NewSession, Rotation};

/// `auth_db`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// A store on a migrated database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// One round trip, to know whether the database answers.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop)
    }
}
