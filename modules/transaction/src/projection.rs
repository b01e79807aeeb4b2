//! The picture of the accounts, built again from the event store.

use async_trait::async_trait;
use sqlx::PgConnection;
use vostro_events::account::{AccountCreatedV1, AccountUpdatedV2, BalanceChangedV1};
use vostro_messaging::{Comparison, HandlerError, Incoming, Projection, Subscription};

use crate::consume;
use crate::manifest::ACCOUNTS;
use crate::store::accounts::Table;
use crate::store::rebuild;

/// `transaction.account_view`.
pub(crate) struct AccountViewProjection;

#[async_trait]
impl Projection for AccountViewProjection {
    fn name(&self) -> &'static str {
        "account_view"
    }

    fn subscription(&self) -> Subscription {
        ACCOUNTS
    }

    fn events(&self) -> &'static [&'static str] {
        &[AccountCreatedV1::TYPE, AccountUpdatedV2::TYPE, BalanceChangedV1::TYPE]
    }

    async fn clear_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        rebuild::clear_in_tx(connection).await
    }

    async fn apply_in_tx(&self, connection: &mut PgConnection, events: &[Incoming]) -> Result<(), HandlerError> {
        consume::apply_in_tx(connection, Table::Rebuilt, events).await
    }

    async fn lock_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        rebuild::lock_in_tx(connection).await
    }

    async fn compare_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<Comparison> {
        rebuild::compare_in_tx(connection).await
    }

    async fn adopt_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<u64> {
        rebuild::adopt_in_tx(connection).await
    }
}
