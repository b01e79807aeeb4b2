//! What this module keeps of others' events, built again from the event store. Nobody is told anything with it: applying
//! leaves aside what the events would be an occasion for.

use async_trait::async_trait;
use sqlx::PgConnection;
use vostro_events::account::AccountCreatedV1;
use vostro_events::auth::{UserRegisteredV1, UserUpdatedV1};
use vostro_messaging::{Comparison, HandlerError, Incoming, Projection, Subscription};

use crate::consume;
use crate::manifest::BUSINESS_EVENTS;
use crate::store::rebuild::{account, recipient};

/// `notification.recipient`: how people are reached. What they prefer is not rebuilt: it is this module's own.
pub(crate) struct RecipientProjection;

#[async_trait]
impl Projection for RecipientProjection {
    fn name(&self) -> &'static str {
        "recipient"
    }

    fn subscription(&self) -> Subscription {
        BUSINESS_EVENTS
    }

    fn events(&self) -> &'static [&'static str] {
        &[UserRegisteredV1::TYPE, UserUpdatedV1::TYPE]
    }

    async fn clear_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        recipient::clear_in_tx(connection).await
    }

    async fn apply_in_tx(&self, connection: &mut PgConnection, events: &[Incoming]) -> Result<(), HandlerError> {
        consume::rebuild_recipients_in_tx(connection, events).await
    }

    async fn lock_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        recipient::lock_in_tx(connection).await
    }

    async fn compare_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<Comparison> {
        recipient::compare_in_tx(connection).await
    }

    async fn adopt_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<u64> {
        recipient::adopt_in_tx(connection).await
    }
}

/// `notification.account`: how accounts are named in texts.
pub(crate) struct AccountProjection;

#[async_trait]
impl Projection for AccountProjection {
    fn name(&self) -> &'static str {
        "account"
    }

    fn subscription(&self) -> Subscription {
        BUSINESS_EVENTS
    }

    fn events(&self) -> &'static [&'static str] {
        &[AccountCreatedV1::TYPE]
    }

    async fn clear_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        account::clear_in_tx(connection).await
    }

    async fn apply_in_tx(&self, connection: &mut PgConnection, events: &[Incoming]) -> Result<(), HandlerError> {
        consume::rebuild_accounts_in_tx(connection, events).await
    }

    async fn lock_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        account::lock_in_tx(connection).await
    }

    async fn compare_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<Comparison> {
        account::compare_in_tx(connection).await
    }

    async fn adopt_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<u64> {
        account::adopt_in_tx(connection).await
    }
}
