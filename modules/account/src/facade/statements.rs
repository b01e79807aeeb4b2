use std::collections::HashMap;

use chrono::NaiveDate;
use metrics::counter;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_kernel::{ActorKind, Page, Refusal, RequestContext, Role};
use vostro_messaging::{Appointment, Schedule};

use super::{Accounts, Inner, viewer};
use crate::domain::{self, Period, Statement, StatementStatus};
use crate::error::{AccountError, AccountErrorCode};
use crate::store;
use crate::store::statements::Job;

/// What somebody asks for who wants a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateStatement {
    pub account_id: Uuid,
    /// The first day, by UTC.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Repeating the command with the same key and input gives the same statement.
    pub idempotency_key: String,
}

/// A page of an account's statements to read, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatementPage {
    pub account_id: Uuid,
    /// By the statements' ids, which are in the order they were requested.
    pub page: Page<Uuid>,
}

impl Accounts {
    /// Has a statement prepared. It is written in the background, part by part; what it will say is fixed now. Whoever
    /// has one of the same account and period gets that.
    ///
    /// # Errors
    /// Refused with `ACC_FORBIDDEN` for those who are nobody, `IDEMPOTENCY_KEY_REQUIRED`, `ACC_PERIOD_INVALID`,
    /// `ACC_PERIOD_NOT_OVER`, `ACC_NOT_FOUND`, `IDEMPOTENCY_KEY_REUSED` or `ACC_STATEMENT_IN_PREPARATION`; database faults.
    pub async fn generate_statement(
        &self,
        context: &RequestContext,
        asked: &GenerateStatement,
    ) -> Result<Statement, AccountError> {
        let outcome = self.try_generate(context, asked).await;
        self.answer(context, "statementGenerate", Some(asked.account_id), outcome).await
    }

    async fn try_generate(
        &self,
        context: &RequestContext,
        asked: &GenerateStatement,
    ) -> Result<Statement, AccountError> {
        let requested_by = context.actor.id.ok_or(AccountErrorCode::Forbidden)?;
        let key = domain::idempotency_key(&asked.idempotency_key)?;
        let publisher = self.inner.publisher();
        let period = Period::of(asked.from, asked.to, publisher.now)?;
        let Some(account) = self.account_anew(context, asked.account_id).await? else {
            return Err(Refusal::new(AccountErrorCode::NotFound).at(&["input", "accountId"]).into());
        };
        let mut transaction = vostro_messaging::begin(self.pool()).await?;
        let range = store::statements::range_in_tx(&mut transaction, account.id, period).await?;
        let statement = Statement {
            id: self.inner.foundation.ids.next(),
            account_id: account.id,
            owner_id: account.owner_id,
            requested_by,
            period,
            currency: account.currency,
            first_entry: range.first_entry,
            entries: range.entries,
            opening_balance: range.opening_balance,
            closing_balance: range.opening_balance,
            status: StatementStatus::Preparing,
            done: 0,
            parts: 0,
            version: 1,
            term_id: self.inner.foundation.ids.next(),
            requested_at: publisher.now,
            changed_at: publisher.now,
            ended_at: None,
            failure: None,
        };
        let cause = Cause::command(context, "statementGenerate");
        if !store::statements::insert_in_tx(&mut transaction, &statement, key, &cause).await? {
            return requested_before(&mut transaction, key, &statement).await;
        }
        let due_at = Schedule::now_in_tx(&mut transaction).await? + self.inner.config.statement_patience();
        let term = publisher.statement_term(term_of(statement.id), due_at, cause.clone(), &statement);
        Schedule::add_in_tx(&mut transaction, term).await?;
        let event = publisher.statement_requested(cause, &statement);
        self.inner.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        self.inner.foundation.outbox.committed();
        self.inner.statement_due.notify_one();
        Ok(statement)
    }

    /// Stops preparing a statement; what was written of it is deleted. Doing it twice changes nothing.
    ///
    /// # Errors
    /// Refused with `ACC_STATEMENT_NOT_FOUND`, `ACC_FORBIDDEN` for staff who neither asked for it nor are operators, or
    /// `ACC_STATEMENT_ENDED`; database faults.
    pub async fn cancel_statement(&self, context: &RequestContext, id: Uuid) -> Result<Statement, AccountError> {
        let outcome = self.try_cancel(context, id).await;
        self.answer(context, "statementCancel", Some(id), outcome).await
    }

    async fn try_cancel(&self, context: &RequestContext, id: Uuid) -> Result<Statement, AccountError> {
        let publisher = self.inner.publisher();
        let mut transaction = vostro_messaging::begin(self.pool()).await?;
        let Some(Job { mut statement, .. }) =
            store::statements::lock_in_tx(&mut transaction, viewer(context), id).await?
        else {
            return Err(Refusal::new(AccountErrorCode::StatementNotFound).at(&["input", "statementId"]).into());
        };
        may_cancel(context, &statement)?;
        if !statement.cancel(publisher.now)? {
            return Ok(statement);
        }
        Schedule::cancel_in_tx(&mut transaction, term_of(id)).await?;
        let cause = Cause::command(context, "statementCancel");
        self.inner.end_statement_in_tx(&mut transaction, &statement, cause).await?;
        transaction.commit().await?;
        self.inner.foundation.outbox.committed();
        self.inner.statement_news.tell(&id, ());
        counter!("vostro_statements_total", "outcome" => statement.status.as_str()).increment(1);
        Ok(statement)
    }

    /// The statement, if it exists and the caller may see its account.
    ///
    /// # Errors
    /// Database faults.
    pub async fn statement(&self, context: &RequestContext, id: Uuid) -> Result<Option<Statement>, AccountError> {
        Ok(store::statements::find(self.pool(), viewer(context), &[id]).await?.pop())
    }

    /// Pages of statements, one for each page asked for and in the same order; empty for accounts that the caller may not
    /// see.
    ///
    /// # Errors
    /// Database faults.
    pub async fn statements(
        &self,
        context: &RequestContext,
        pages: &[StatementPage],
    ) -> Result<Vec<Vec<Statement>>, AccountError> {
        let ids = store::statements::pages(
            self.pool(),
            viewer(context),
            &pages.iter().map(|asked| asked.account_id).collect::<Vec<_>>(),
            &pages.iter().map(|asked| asked.page).collect::<Vec<_>>(),
        )
        .await?;
        let wanted: Vec<Uuid> = ids.iter().map(|(_, id)| *id).collect();
        let visible = store::statements::find(self.pool(), viewer(context), &wanted).await?;
        let visible: HashMap<Uuid, Statement> = visible.into_iter().map(|found| (found.id, found)).collect();
        let mut statements = vec![Vec::new(); pages.len()];
        for (page, id) in ids {
            let index = usize::try_from(page - 1).unwrap_or(usize::MAX);
            if let (Some(page), Some(statement)) = (statements.get_mut(index), visible.get(&id)) {
                page.push(statement.clone());
            }
        }
        Ok(statements)
    }

    /// Which of these statements there are for the caller.
    ///
    /// # Errors
    /// Database faults.
    pub async fn statements_by_id(
        &self,
        context: &RequestContext,
        ids: &[Uuid],
    ) -> Result<Vec<Statement>, AccountError> {
        Ok(store::statements::find(self.pool(), viewer(context), ids).await?)
    }

    /// The text of a part, from 1; `None` unless the statement is ready, has such a part, and the caller may see its
    /// account.
    ///
    /// # Errors
    /// Database faults.
    pub async fn statement_part(
        &self,
        context: &RequestContext,
        id: Uuid,
        part: i32,
    ) -> Result<Option<String>, AccountError> {
        Ok(store::statements::part(self.pool(), viewer(context), id, part).await?)
    }
}

impl Inner {
    /// Writes that a statement has ended other than by being ready: nothing of it is left but that it was.
    pub(crate) async fn end_statement_in_tx(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
        cause: Cause,
    ) -> sqlx::Result<()> {
        store::statements::delete_parts_in_tx(connection, statement.id).await?;
        store::statements::update_in_tx(connection, statement).await?;
        let event = self.publisher().statement_ended(cause, statement);
        self.foundation.outbox.append_in_tx(connection, event.into_iter().collect()).await
    }
}

/// What the end of a statement's term waits under: that for preparing it, and then that for keeping it.
pub(crate) const fn term_of(statement: Uuid) -> Appointment {
    Appointment { purpose: "statement-term", subject: statement }
}

/// The statement an earlier command with the same key has asked for, if it asked for the same; or the one of the same period
/// that its requester has already.
async fn requested_before(
    connection: &mut PgConnection,
    key: &str,
    asked: &Statement,
) -> Result<Statement, AccountError> {
    let Statement { requested_by, account_id, period, .. } = *asked;
    if let Some(first) = store::statements::by_key_in_tx(connection, requested_by, key).await? {
        if first.account_id == account_id && first.period == period {
            return Ok(first);
        }
        let refusal = Refusal::new(AccountErrorCode::IdempotencyKeyReused);
        return Err(refusal.at(&["input", "idempotencyKey"]).into());
    }
    match store::statements::by_period_in_tx(connection, requested_by, account_id, period).await? {
        Some(earlier) => Ok(earlier),
        None => Err(Refusal::new(AccountErrorCode::StatementInPreparation).at(&["input", "accountId"]).into()),
    }
}

/// Whoever asked for it, operators, and the bank itself.
fn may_cancel(context: &RequestContext, statement: &Statement) -> Result<(), AccountError> {
    let actor = &context.actor;
    let allowed =
        actor.kind == ActorKind::System || actor.has_any(&[Role::Operator]) || actor.is(statement.requested_by);
    if allowed { Ok(()) } else { Err(AccountErrorCode::Forbidden.into()) }
}
