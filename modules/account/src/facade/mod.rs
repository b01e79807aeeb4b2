//! The facade: one method per use case, for the GraphQL sub-schema and for the application.

mod account_updates;
mod balance_changes;
mod commands;
mod module;
mod proof;
mod queries;
mod statement_updates;
mod statements;

use std::sync::Arc;

use tokio::sync::Notify;
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::{EntityCache, Foundation, LiveFeed, StartError};

pub use account_updates::AccountUpdate;
pub(crate) use account_updates::ChangedElsewhere;
pub use balance_changes::BalanceChange;
pub(crate) use balance_changes::BookedElsewhere;
pub use commands::OpenAccount;
pub use proof::{Divergence, LedgerProof, ProofProgress, ProofRule};
pub use queries::{AccountFilter, Entry, EntryPage, TrialBalanceLine};
pub use statement_updates::StatementUpdate;
pub(crate) use statement_updates::WrittenElsewhere;
pub(crate) use statements::term_of;
pub use statements::{GenerateStatement, StatementPage};

use crate::config::Config;
use crate::domain::{Account, IbanScheme};
use crate::error::AccountError;
use crate::publish::Publisher;
use crate::store::Viewer;

/// The account module. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

/// What the facade and the handlers share.
pub(crate) struct Inner {
    pub(crate) foundation: Foundation,
    pub(crate) config: Config,
    pub(crate) scheme: IbanScheme,
    /// The changes of balances right after their commit, by account.
    pub(crate) changes: LiveFeed<Uuid, BalanceChange>,
    /// Accounts whose terms have changed, as they are right after the commit.
    pub(crate) account_news: LiveFeed<Uuid, Arc<Account>>,
    /// Statements that have got further.
    pub(crate) statement_news: LiveFeed<Uuid, ()>,
    /// Accounts for those who look at them.
    pub(crate) seen: EntityCache<Account>,
    /// Told when a statement was requested.
    pub(crate) statement_due: Notify,
}

impl Accounts {
    /// # Errors
    /// [`StartError`] when the configuration contradicts itself.
    pub fn new(foundation: Foundation, config: Config) -> Result<Self, StartError> {
        config.validate().map_err(|reason| StartError { module: "account", reason })?;
        let scheme = config.scheme().map_err(|reason| StartError { module: "account", reason })?;
        let changes = LiveFeed::new(foundation.company.clone());
        let account_news = LiveFeed::new(foundation.company.clone());
        let statement_news = LiveFeed::new(foundation.company.clone());
        let (seen, statement_due) = (EntityCache::new(&foundation.caching), Notify::new());
        let inner = Inner { foundation, config, scheme, changes, account_news, statement_news, seen, statement_due };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn pool(&self) -> &sqlx::PgPool {
        &self.inner.foundation.pool
    }

    /// Records a refused command for the audit log, in a transaction of its own: the refused command's is rolled back.
    async fn answer<T>(
        &self,
        context: &RequestContext,
        command: &'static str,
        subject: Option<Uuid>,
        outcome: Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        if let Err(error) = &outcome
            && let Some(code) = error.refusal_code()
        {
            let event = self.inner.publisher().command_refused(context, command, code, subject);
            let mut connection = self.pool().acquire().await?;
            self.inner.foundation.outbox.append_in_tx(&mut connection, vec![event]).await?;
            self.inner.foundation.outbox.committed();
        }
        outcome
    }
}

impl Inner {
    pub(crate) fn publisher(&self) -> Publisher<'_> {
        Publisher::new(self.foundation.ids.as_ref(), self.foundation.clock.as_ref())
    }
}

fn viewer(context: &RequestContext) -> Viewer {
    Viewer::of(&context.actor)
}
