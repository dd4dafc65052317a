//! Every query of the service, by what it is about.

mod accounts;
mod sessions;
mod subscriptions;

use sqlx::PgPool;

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
