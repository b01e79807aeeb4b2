use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use vostro_events::Cause;
use vostro_events::account::AccountStatus;
use vostro_kernel::RequestContext;
use vostro_messaging::rpc::Responder;
use vostro_messaging::{BoundHandler, Manifest, Module, StartError};

use super::{Accounts, BookedElsewhere, ChangedElsewhere, Inner, WrittenElsewhere};
use crate::consume::{Postings, Registrations, StatementTerms};
use crate::domain::{Account, Balance, InternalRole, Product};
use crate::manifest::{self, manifest};
use crate::statement_writer::StatementWriter;
use crate::{respond, store};

#[async_trait]
impl Module for Accounts {
    fn manifest(&self) -> Manifest {
        manifest()
    }

    fn handlers(&self) -> Vec<BoundHandler> {
        vec![
            BoundHandler {
                subscription: manifest::postings(),
                handler: Arc::new(Postings::new(Arc::clone(&self.inner))),
            },
            BoundHandler {
                subscription: manifest::registrations(),
                handler: Arc::new(Registrations::new(Arc::clone(&self.inner))),
            },
            BoundHandler {
                subscription: manifest::statement_terms(),
                handler: Arc::new(StatementTerms::new(Arc::clone(&self.inner))),
            },
        ]
    }

    fn responders(&self) -> Vec<Arc<dyn Responder>> {
        respond::responders(&self.inner)
    }

    fn background(&self, stop: CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        let Inner { changes, account_news, statement_news, seen, foundation, .. } = &*self.inner;
        let booked = BookedElsewhere::new(Arc::clone(&self.inner));
        let changed = ChangedElsewhere::new(Arc::clone(&self.inner));
        let written = WrittenElsewhere::new(Arc::clone(&self.inner));
        vec![
            Box::pin(StatementWriter::new(Arc::clone(&self.inner)).run(stop.clone())),
            Box::pin(changes.clone().look_around(booked, stop.clone())),
            Box::pin(account_news.clone().look_around(changed, stop.clone())),
            Box::pin(statement_news.clone().look_around(written, stop.clone())),
            Box::pin(seen.clone().hear(foundation.pool.clone(), stop)),
        ]
    }

    async fn start(&self) -> Result<(), StartError> {
        self.inner.ensure_internal_accounts().await.map_err(|error| StartError {
            module: "account",
            reason: format!("the internal accounts cannot be created: {error}"),
        })
    }
}

impl Inner {
    /// Creates the bank's own accounts that do not exist yet. Their ids follow from their roles, so two instances that
    /// start at the same time create each of them once.
    async fn ensure_internal_accounts(&self) -> sqlx::Result<()> {
        let publisher = self.publisher();
        let terms = Product::Internal.terms();
        let wanted = self.config.currencies.iter().flat_map(|currency| {
            InternalRole::ALL.map(|role| Account {
                id: role.account_id(*currency),
                number: role.number(*currency),
                name: role.name(*currency),
                kind: terms.kind,
                product: Product::Internal,
                product_version: terms.version,
                owner_id: None,
                currency: *currency,
                status: AccountStatus::Active,
                balance: Balance::default(),
                balance_at: publisher.now,
                created_at: publisher.now,
                version: 1,
                changed_at: publisher.now,
            })
        });
        let wanted: Vec<Account> = wanted.collect();
        let mut transaction = self.foundation.begin().await?;
        let created = store::accounts::insert_in_tx(&mut transaction, &wanted).await?;
        let context = RequestContext::system(self.foundation.ids.as_ref());
        let events = wanted
            .iter()
            .filter(|account| created.contains(&account.id))
            .map(|account| publisher.account_created(Cause::command(&context, "internalAccountsCreate"), account));
        self.foundation.outbox.append_in_tx(&mut transaction, events.collect()).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(())
    }
}
