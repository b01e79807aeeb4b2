use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;
use vostro_events::Cause;
use vostro_events::auth::UserRegisteredV1;
use vostro_kernel::Role;
use vostro_messaging::{AfterCommit, Handler, HandlerError, Incoming};

use crate::domain::Product;
use crate::error::AccountError;
use crate::facade::Inner;
use crate::store::openings::{self, Opening};

/// Gives each new customer a first account, once per registration.
pub(crate) struct Registrations {
    inner: Arc<Inner>,
}

impl Registrations {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl Handler for Registrations {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        let Inner { foundation, config, .. } = self.inner.as_ref();
        let mut asked = Vec::with_capacity(batch.len());
        for incoming in batch {
            let event: UserRegisteredV1 = incoming.decode()?;
            // The bank's own people bank elsewhere, unless they are customers as well.
            if event.roles.contains(&Role::Customer) {
                let opening = Opening {
                    owner_id: event.user_id,
                    request: openings::registration(),
                    product: Product::Current.as_str().to_owned(),
                    currency: config.default_currency.to_string(),
                    name: None,
                    account_id: foundation.ids.next(),
                };
                asked.push((incoming, opening));
            }
        }
        let all: Vec<Opening> = asked.iter().map(|(_, opening)| opening.clone()).collect();
        let fresh = openings::claim_in_tx(connection, &all).await?;
        asked.retain(|(_, opening)| fresh.contains(&opening.account_id));
        if asked.is_empty() {
            return Ok(None);
        }
        let (causes, fresh): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let publisher = self.inner.publisher();
        let accounts = self
            .inner
            .new_customer_accounts_in_tx(connection, &publisher, &fresh, Product::Current)
            .await
            .map_err(fault)?;
        if accounts.len() < fresh.len() {
            return Err(HandlerError::Transient("the bank has no account numbers left".to_owned()));
        }
        let events = causes
            .into_iter()
            .zip(&accounts)
            .map(|(cause, account)| publisher.account_created(Cause::event(&cause.envelope), account));
        foundation.outbox.append_in_tx(connection, events.collect()).await?;
        Ok(None)
    }
}

fn fault(error: AccountError) -> HandlerError {
    match error {
        AccountError::Database(error) => HandlerError::Database(error),
        refused => HandlerError::Transient(refused.to_string()),
    }
}
