use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::{AccountStatus, AccountTerm};
use vostro_kernel::{ActorKind, Currency, Money, Refusal, RequestContext, Role};

use super::account_updates::Telling;
use super::{Accounts, viewer};
use crate::domain::{self, Account, Balance, Lifecycle, Product};
use crate::error::{AccountError, AccountErrorCode};
use crate::publish::Publisher;
use crate::store::{self, openings::Opening};

/// What somebody asks for who wants an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAccount {
    pub product: Product,
    pub currency: Currency,
    /// The product's own name when absent.
    pub name: Option<String>,
    /// Repeating the command with the same key and input gives the same account.
    pub idempotency_key: String,
}

/// Who decides about customers' accounts.
const DECIDERS: &[Role] = &[Role::Operator, Role::ComplianceOfficer];

/// A change to one account, already decided to be allowed for the actor.
enum Change {
    Step(Lifecycle, Option<String>),
    Overdraft(Money),
}

impl Accounts {
    /// Opens an account for the caller.
    ///
    /// # Errors
    /// Refused with `ACC_PRODUCT_NOT_OFFERED`, `ACC_CURRENCY_UNSUPPORTED`, `ACC_NAME_INVALID`,
    /// `IDEMPOTENCY_KEY_REQUIRED`, `IDEMPOTENCY_KEY_REUSED` or `ACC_NUMBERS_EXHAUSTED`, and with `ACC_FORBIDDEN`
    /// for those who are nobody; database faults.
    pub async fn open(&self, context: &RequestContext, asked: &OpenAccount) -> Result<Account, AccountError> {
        let outcome = self.try_open(context, asked).await;
        self.answer(context, "accountOpen", None, outcome).await
    }

    async fn try_open(&self, context: &RequestContext, asked: &OpenAccount) -> Result<Account, AccountError> {
        let owner = context.actor.id.ok_or(AccountErrorCode::Forbidden)?;
        let at = |code, field| Refusal::new(code).at(&["input", field]);
        if !asked.product.is_offered() {
            return Err(at(AccountErrorCode::ProductNotOffered, "product").into());
        }
        if !self.inner.config.currencies.contains(&asked.currency) {
            return Err(at(AccountErrorCode::CurrencyUnsupported, "currency").into());
        }
        let name = asked.name.as_deref().map(domain::account_name).transpose()?;
        let opening = Opening {
            owner_id: owner,
            request: store::openings::by_key(domain::idempotency_key(&asked.idempotency_key)?),
            product: asked.product.as_str().to_owned(),
            currency: asked.currency.to_string(),
            name,
            account_id: self.inner.foundation.ids.next(),
        };
        let mut transaction = vostro_messaging::begin(self.pool()).await?;
        if store::openings::claim_in_tx(&mut transaction, std::slice::from_ref(&opening)).await?.is_empty() {
            return self.opened_before(&mut transaction, context, opening).await;
        }
        let publisher = self.inner.publisher();
        let account = self
            .inner
            .new_customer_accounts_in_tx(&mut transaction, &publisher, std::slice::from_ref(&opening), asked.product)
            .await?
            .pop()
            .ok_or(AccountErrorCode::NumbersExhausted)?;
        let event = publisher.account_created(Cause::command(context, "accountOpen"), &account);
        self.inner.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        self.inner.foundation.outbox.committed();
        Ok(account)
    }

    /// The account an earlier command with the same key has opened, if it asked for the same.
    async fn opened_before(
        &self,
        connection: &mut PgConnection,
        context: &RequestContext,
        asked: Opening,
    ) -> Result<Account, AccountError> {
        let first = store::openings::find_in_tx(connection, asked.owner_id, &asked.request).await?;
        // The new account's id is the only thing in which a repetition differs.
        let Some(first) = first.filter(|first| *first == Opening { account_id: first.account_id, ..asked }) else {
            let refusal = Refusal::new(AccountErrorCode::IdempotencyKeyReused);
            return Err(refusal.at(&["input", "idempotencyKey"]).into());
        };
        let found = self.account_anew(context, first.account_id).await?;
        found.map(Arc::unwrap_or_clone).ok_or_else(|| AccountErrorCode::NotFound.into())
    }

    /// Forbids all debits and credits until somebody lifts it.
    ///
    /// # Errors
    /// Refused with `ACC_FORBIDDEN` for all but operators and compliance officers, `ACC_NOT_FOUND`, `ACC_REASON_INVALID`,
    /// `ACC_INTERNAL`, `ACC_FROZEN` or `ACC_CLOSED`; database faults.
    pub async fn freeze(&self, context: &RequestContext, id: Uuid, reason: &str) -> Result<Account, AccountError> {
        let outcome = match decider(context).and_then(|()| Ok(domain::reason(reason)?)) {
            Ok(reason) => {
                self.change(context, "accountFreeze", id, Change::Step(Lifecycle::Freeze, Some(reason))).await
            }
            Err(error) => Err(error),
        };
        self.answer(context, "accountFreeze", Some(id), outcome).await
    }

    /// Lifts a freeze.
    ///
    /// # Errors
    /// Refused with `ACC_FORBIDDEN` for all but operators and compliance officers, `ACC_NOT_FOUND`, `ACC_REASON_INVALID`,
    /// `ACC_INTERNAL`, `ACC_NOT_FROZEN` or `ACC_CLOSED`; database faults.
    pub async fn unfreeze(&self, context: &RequestContext, id: Uuid, reason: &str) -> Result<Account, AccountError> {
        let outcome = match decider(context).and_then(|()| Ok(domain::reason(reason)?)) {
            Ok(reason) => {
                self.change(context, "accountUnfreeze", id, Change::Step(Lifecycle::Unfreeze, Some(reason))).await
            }
            Err(error) => Err(error),
        };
        self.answer(context, "accountUnfreeze", Some(id), outcome).await
    }

    /// Closes an empty account for good.
    ///
    /// # Errors
    /// Refused with `ACC_NOT_FOUND`, `ACC_FORBIDDEN` for staff who are not operators, `ACC_INTERNAL`, `ACC_FROZEN`,
    /// `ACC_CLOSED`, `ACC_CLOSE_NON_ZERO` or `ACC_CLOSE_HAS_HOLDS`; database faults.
    pub async fn close(&self, context: &RequestContext, id: Uuid) -> Result<Account, AccountError> {
        let outcome = self.change(context, "accountClose", id, Change::Step(Lifecycle::Close, None)).await;
        self.answer(context, "accountClose", Some(id), outcome).await
    }

    /// Agrees on how far an account may go below zero. Takes effect for the next posting.
    ///
    /// # Errors
    /// Refused with `ACC_FORBIDDEN` for all but operators and compliance officers, `ACC_NOT_FOUND`, `ACC_INTERNAL`,
    /// `ACC_FROZEN`, `ACC_CLOSED`, `ACC_OVERDRAFT_NOT_OFFERED`, `ACC_CURRENCY_MISMATCH`, `ACC_OVERDRAFT_OUT_OF_RANGE`
    /// or `ACC_OVERDRAFT_EXCEEDED`; database faults.
    pub async fn overdraft_arrange(
        &self,
        context: &RequestContext,
        id: Uuid,
        limit: Money,
    ) -> Result<Account, AccountError> {
        let outcome = match decider(context) {
            Ok(()) => self.change(context, "overdraftArrange", id, Change::Overdraft(limit)).await,
            Err(error) => Err(error),
        };
        self.answer(context, "overdraftArrange", Some(id), outcome).await
    }

    /// Locks the account, applies the change by the account's own rules, and publishes it.
    async fn change(
        &self,
        context: &RequestContext,
        command: &'static str,
        id: Uuid,
        change: Change,
    ) -> Result<Account, AccountError> {
        let mut transaction = vostro_messaging::begin(self.pool()).await?;
        let account = store::accounts::lock_in_tx(&mut transaction, viewer(context), id).await?;
        let mut account = account.ok_or(AccountErrorCode::NotFound)?;
        let limit_before = account.balance.overdraft_limit;
        let (changed, reason) = match change {
            Change::Step(step, reason) => {
                if step == Lifecycle::Close {
                    owner_or_operator(context, &account)?;
                }
                account.step(step)?;
                let mut changed = vec![AccountTerm::Status];
                if account.balance.overdraft_limit != limit_before {
                    changed.push(AccountTerm::OverdraftLimit);
                }
                (changed, reason)
            }
            Change::Overdraft(limit) => {
                account.arrange_overdraft(limit)?;
                if account.balance.overdraft_limit == limit_before {
                    return Ok(account);
                }
                (vec![AccountTerm::OverdraftLimit], None)
            }
        };
        let publisher = self.inner.publisher();
        account.changed_at = publisher.now;
        let _changing = self.inner.seen.changing(vec![id]);
        store::accounts::update_in_tx(&mut transaction, &account).await?;
        let cause = Cause::command(context, command);
        let event = publisher.account_updated(cause, &account, changed, reason);
        self.inner.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        let telling = Telling::of(&self.inner.account_news, id);
        transaction.commit().await?;
        telling.committed(&account);
        self.inner.foundation.outbox.committed();
        Ok(account)
    }
}

impl super::Inner {
    /// Gives each opening a number and inserts its account. Fewer accounts than openings come back only when the bank
    /// has run out of numbers.
    pub(crate) async fn new_customer_accounts_in_tx(
        &self,
        connection: &mut PgConnection,
        publisher: &Publisher<'_>,
        openings: &[Opening],
        product: Product,
    ) -> Result<Vec<Account>, AccountError> {
        let terms = product.terms();
        let numbers = store::accounts::next_numbers_in_tx(connection, openings.len()).await?;
        let mut accounts = Vec::with_capacity(openings.len());
        for (opening, number) in openings.iter().zip(numbers) {
            let number = u64::try_from(number).ok().and_then(|number| self.scheme.iban(number));
            let Some(number) = number else { break };
            accounts.push(Account {
                id: opening.account_id,
                number,
                name: opening.name.clone().unwrap_or_else(|| terms.name.to_owned()),
                kind: terms.kind,
                product,
                product_version: terms.version,
                owner_id: Some(opening.owner_id),
                currency: opening.currency.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                status: AccountStatus::Active,
                balance: Balance::default(),
                balance_at: publisher.now,
                created_at: publisher.now,
                version: 1,
                changed_at: publisher.now,
            });
        }
        store::accounts::insert_in_tx(connection, &accounts).await?;
        Ok(accounts)
    }
}

/// Operators and compliance officers decide; so does the bank itself.
fn decider(context: &RequestContext) -> Result<(), AccountError> {
    let allowed = context.actor.kind == ActorKind::System || context.actor.has_any(DECIDERS);
    if allowed { Ok(()) } else { Err(AccountErrorCode::Forbidden.into()) }
}

fn owner_or_operator(context: &RequestContext, account: &Account) -> Result<(), AccountError> {
    let actor = &context.actor;
    let allowed = actor.kind == ActorKind::System
        || actor.has_any(&[Role::Operator])
        || account.owner_id.is_some_and(|owner| actor.is(owner));
    if allowed { Ok(()) } else { Err(AccountErrorCode::Forbidden.into()) }
}
