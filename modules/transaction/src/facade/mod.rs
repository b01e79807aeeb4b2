mod accept;
mod payee;
mod updates;
mod waiting;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_kernel::{Page, RequestContext};
use vostro_messaging::{
    BoundHandler, Entity, EntityCache, Foundation, GroupCommit, LiveFeed, Manifest, Module, Projection, SharedEntity,
    StartError,
};

use self::accept::{Answer, Pending, accept};
use self::waiting::Waiting;
use crate::consume::{AccountsHandler, PostingsHandler};
use crate::decisions::DecisionWatch;
use crate::domain::{Channel, Instruction, Transaction};
use crate::error::TransactionError;
use crate::manifest::{ACCOUNTS, MODULE, POSTINGS, manifest};
use crate::projection::AccountViewProjection;
use crate::{Config, store};

use self::updates::{ChangedElsewhere, UnderWay, told};
pub use self::updates::{InvalidPosition, Position, Since, Subject, Update};
pub use crate::store::history::Filter;

/// How long a command that starts a transaction keeps its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitFor {
    /// Until it is accepted and durable.
    #[default]
    Accepted,
    /// Until the ledger has answered, or for as long as the configuration allows.
    Outcome,
}

/// From one account to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferCreate {
    pub idempotency_key: String,
    pub source_account_id: Uuid,
    pub destination_account_id: Uuid,
    /// A decimal in plain notation, at most as many decimals as the currency has.
    pub amount: String,
    /// An ISO 4217 code.
    pub currency: String,
    /// What the payee should read; at most 140 characters.
    pub reference: Option<String>,
    pub wait_for: WaitFor,
}

/// Cash that comes in or goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CashMovement {
    pub idempotency_key: String,
    /// The customer's account; the other side is the bank's cash in the amount's currency.
    pub account_id: Uuid,
    /// A decimal in plain notation, at most as many decimals as the currency has.
    pub amount: String,
    /// An ISO 4217 code.
    pub currency: String,
    /// At most 140 characters.
    pub reference: Option<String>,
    pub channel: Option<Channel>,
    pub wait_for: WaitFor,
}

/// The answer to a command that was accepted, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initiated {
    /// In its present state.
    pub transaction: Arc<Transaction>,
    /// Whether the same command was accepted before and nothing happened this time.
    pub replayed: bool,
}

/// The use cases of payments. Cheap to clone.
#[derive(Clone)]
pub struct Transactions {
    shared: Arc<Shared>,
    group: Arc<GroupCommit<Pending, Result<Answer, TransactionError>>>,
}

/// What accepting, consuming and listening have in common.
pub(crate) struct Shared {
    pub foundation: Foundation,
    pub config: Config,
    /// Every change of a transaction, right after its commit.
    pub feed: LiveFeed<Subject, Arc<Transaction>>,
    /// What followers know to be under way.
    pub under_way: UnderWay,
    pub waiting: Waiting,
    /// Those that have ended, for those who look at them.
    pub ended: EntityCache<Transaction>,
}

impl Entity for Transaction {
    const NAME: &'static str = "transactions";

    fn id(&self) -> Uuid {
        self.id
    }

    fn edition(&self) -> i64 {
        self.sequence()
    }

    fn is_settled(&self) -> bool {
        self.status.has_ended()
    }
}

impl SharedEntity for Transaction {
    const FORM: u16 = store::FORM;

    fn write(&self) -> Vec<u8> {
        store::write(self)
    }

    fn read(written: &[u8]) -> Option<Self> {
        store::read(written)
    }
}

impl Shared {
    /// Tells those who wait or listen in this process. After the commit only.
    pub fn tell(&self, transaction: Transaction) {
        let transaction = Arc::new(transaction);
        if transaction.status.has_ended() {
            self.waiting.tell(&transaction);
        }
        self.announce(transaction);
    }

    /// Tells those who follow the transaction or one of its accounts.
    pub fn announce(&self, transaction: Arc<Transaction>) {
        if self.feed.has_listeners() {
            self.feed.tell_all(told(transaction));
        }
    }
}

impl Transactions {
    /// Starts the workers that commit groups of commands; call it inside the runtime.
    ///
    /// # Errors
    /// [`StartError`] when the configuration makes no sense.
    pub fn new(foundation: Foundation, config: Config) -> Result<Self, StartError> {
        config.validate().map_err(|reason| StartError { module: MODULE, reason })?;
        let (workers, size) = (config.group_workers, config.group_size);
        let linger = config.group_linger();
        let feed = LiveFeed::new(foundation.company.clone());
        let (waiting, under_way) = (Waiting::default(), UnderWay::default());
        let ended = EntityCache::sharing(&foundation.caching);
        let shared = Arc::new(Shared { foundation, config, feed, under_way, waiting, ended });
        let group = GroupCommit::spawn(workers, size, linger, {
            let shared = Arc::clone(&shared);
            move |group| {
                let shared = Arc::clone(&shared);
                async move { accept(&shared, group).await }
            }
        });
        Ok(Self { shared, group: Arc::new(group) })
    }

    /// Moves money between two accounts. The owner of the source may, and an operator for any account.
    ///
    /// # Errors
    /// A refusal of [`decide_initiate`](crate::domain::decide_initiate)'s list, `IDEMPOTENCY_KEY_REUSED`, or a fault.
    pub async fn transfer_create(
        &self,
        context: &RequestContext,
        input: TransferCreate,
    ) -> Result<Initiated, TransactionError> {
        let instruction = Instruction::transfer(
            input.idempotency_key,
            input.source_account_id,
            input.destination_account_id,
            input.amount,
            input.currency,
            input.reference.as_deref(),
        );
        self.initiate(context, instruction, input.wait_for).await
    }

    /// Records cash that came in. For operators.
    ///
    /// # Errors
    /// As [`Transactions::transfer_create`], and `TXN_FORBIDDEN`.
    pub async fn deposit_record(
        &self,
        context: &RequestContext,
        input: CashMovement,
    ) -> Result<Initiated, TransactionError> {
        let CashMovement { idempotency_key, account_id, amount, currency, reference, channel, wait_for } = input;
        let reference = reference.as_deref();
        let instruction = Instruction::deposit(idempotency_key, account_id, amount, currency, reference, channel);
        self.initiate(context, instruction, wait_for).await
    }

    /// Pays out cash. The owner of the account may, and an operator.
    ///
    /// # Errors
    /// As [`Transactions::transfer_create`].
    pub async fn withdrawal_initiate(
        &self,
        context: &RequestContext,
        input: CashMovement,
    ) -> Result<Initiated, TransactionError> {
        let CashMovement { idempotency_key, account_id, amount, currency, reference, channel, wait_for } = input;
        let reference = reference.as_deref();
        let instruction = Instruction::withdrawal(idempotency_key, account_id, amount, currency, reference, channel);
        self.initiate(context, instruction, wait_for).await
    }

    /// The transaction, if it exists and the caller may see it.
    ///
    /// # Errors
    /// Database faults.
    pub async fn transaction(
        &self,
        context: &RequestContext,
        id: Uuid,
    ) -> Result<Option<Transaction>, TransactionError> {
        Ok(self.transactions_by_id(context, &[id]).await?.pop().map(Arc::unwrap_or_clone))
    }

    /// Those of the transactions that exist and that the caller may see, in no particular order. What has ended does not
    /// change any more and may come from memory; the rest is read from the database.
    ///
    /// # Errors
    /// Database faults.
    pub async fn transactions_by_id(
        &self,
        context: &RequestContext,
        ids: &[Uuid],
    ) -> Result<Vec<Arc<Transaction>>, TransactionError> {
        let ask = async |ids: Vec<Uuid>| store::history::by_ids(&self.shared.foundation.pool, &ids).await;
        let mut transactions = self.shared.ended.read(ids, ask).await?;
        // Decided for each caller and each time: they may have been read for somebody else.
        transactions.retain(|transaction| transaction.is_visible_to(&context.actor));
        Ok(transactions)
    }

    /// A page of transactions, newest first.
    ///
    /// Customers get those of their own accounts, and nothing of another's account when the filter names one; staff get
    /// everybody's. What a customer has initiated between accounts of others is found by its id only.
    ///
    /// # Errors
    /// Database faults.
    pub async fn transactions(
        &self,
        context: &RequestContext,
        filter: &Filter,
        page: Page<Uuid>,
    ) -> Result<Vec<Transaction>, TransactionError> {
        // PostgreSQL cannot hold this character, so no reference contains it.
        if filter.reference.as_deref().is_some_and(|reference| reference.contains('\0')) {
            return Ok(Vec::new());
        }
        let (actor, pool) = (&context.actor, &self.shared.foundation.pool);
        if actor.roles.is_staff() {
            return Ok(match filter.account_id {
                Some(account) => store::history::of_accounts(pool, &[account], filter, page).await?,
                None => store::history::of_everybody(pool, filter, page).await?,
            });
        }
        let Some(owner) = actor.id else { return Ok(Vec::new()) };
        let mut accounts = store::accounts::owned_by(pool, owner).await?;
        if let Some(account) = filter.account_id {
            accounts.retain(|own| *own == account);
        }
        Ok(store::history::of_accounts(pool, &accounts, filter, page).await?)
    }

    /// What finds transactions without an outcome and gets them one.
    pub fn decision_watch(&self) -> DecisionWatch {
        DecisionWatch::new(Arc::clone(&self.shared))
    }

    async fn initiate(
        &self,
        context: &RequestContext,
        instruction: Instruction,
        wait_for: WaitFor,
    ) -> Result<Initiated, TransactionError> {
        let id = self.shared.foundation.ids.next();
        // Before the command is committed, or the outcome could pass by unseen.
        let outcome = (wait_for == WaitFor::Outcome).then(|| self.shared.waiting.register(id));
        let pending = Pending { context: context.clone(), fingerprint: instruction.fingerprint(), instruction, id };
        let answer = self.group.submit(pending).await.map_err(|_| TransactionError::ShuttingDown)??;
        let initiated = match answer {
            Answer::Accepted(transaction) => Initiated { transaction, replayed: false },
            Answer::Replayed(transaction) => Initiated { transaction, replayed: true },
        };
        match outcome {
            Some(outcome) if !initiated.transaction.status.has_ended() => self.wait(outcome, initiated).await,
            _ => Ok(initiated),
        }
    }
}

#[async_trait]
impl Module for Transactions {
    fn manifest(&self) -> Manifest {
        manifest()
    }

    fn handlers(&self) -> Vec<BoundHandler> {
        vec![
            BoundHandler { subscription: POSTINGS, handler: Arc::new(PostingsHandler::new(Arc::clone(&self.shared))) },
            BoundHandler { subscription: ACCOUNTS, handler: Arc::new(AccountsHandler) },
        ]
    }

    fn background(&self, stop: CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        let elsewhere = ChangedElsewhere::new(Arc::clone(&self.shared));
        vec![
            Box::pin(self.decision_watch().run(stop.clone())),
            Box::pin(self.shared.feed.clone().look_around(elsewhere, stop)),
        ]
    }

    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        vec![Arc::new(AccountViewProjection)]
    }

    async fn warm(&self) {
        let (pool, everything) = (&self.shared.foundation.pool, Filter::default());
        let newest = |before, limit| store::history::of_everybody(pool, &everything, Page::forward(before, limit));
        self.shared.ended.warm(newest).await;
    }
}
