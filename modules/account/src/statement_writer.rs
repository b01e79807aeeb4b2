//! Writes statements, part by part, beside the money path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;
use vostro_messaging::{Schedule, crash};

use crate::domain::{StatementFailure, StatementStatus};
use crate::facade::{Inner, term_of};
use crate::store::statements::{self, Job};

/// Every instance has one. Each part is a transaction of its own: it takes the statement that has waited longest and that
/// nobody else is writing, reads the next entries, and commits the part together with its event and with how far the
/// statement is. Whoever stops, in whatever way, lets go of the row, and any instance goes on with the next part.
pub(crate) struct StatementWriter {
    inner: Arc<Inner>,
}

/// A part could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// Entries are not what they were when the statement was requested: `vostro ledger verify` says which.
    #[error("the entries behind the last part do not continue it")]
    Inconsistent,
}

/// What came of looking for a part to write.
enum Pass {
    Nothing,
    Written,
    /// This statement's next part could not be written.
    NotWritten(Uuid, WriteError),
}

impl StatementWriter {
    /// How long until what another instance was asked for, or has left behind, is found.
    const IDLE: Duration = Duration::from_secs(1);
    /// After a first failure; doubled for each further one.
    const PAUSE: Duration = Duration::from_secs(1);

    pub fn new(inner: Arc<Inner>) -> Self {
        // Shown from the start: the first one ever is to be seen as an increase.
        counter!("vostro_statement_part_failures_total").increment(0);
        Self { inner }
    }

    /// Writes until `stop` is cancelled. A part that is cut off is rolled back and written again later.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let began = Instant::now();
            let pass = tokio::select! {
                pass = self.pass() => pass,
                () = stop.cancelled() => return,
            };
            let rest = match pass {
                Ok(Pass::Nothing) => {
                    tokio::select! {
                        () = self.inner.statement_due.notified() => {}
                        () = tokio::time::sleep(Self::IDLE) => {}
                        () = stop.cancelled() => return,
                    }
                    continue;
                }
                // As long a rest as the work took leaves half of a connection, and of a core, to those who wait for an
                // answer.
                Ok(Pass::Written) => began.elapsed(),
                Ok(Pass::NotWritten(id, error)) => {
                    self.put_off(id, &error).await;
                    Duration::ZERO
                }
                Err(error) => {
                    warn!(%error, "statements wait for the database");
                    Self::PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Writes the part that has been due longest.
    async fn pass(&self) -> sqlx::Result<Pass> {
        let foundation = &self.inner.foundation;
        let began = Instant::now();
        let mut transaction = foundation.begin().await?;
        let Some(Job { mut statement, cause }) = statements::take_due_in_tx(&mut transaction).await? else {
            return Ok(Pass::Nothing);
        };
        let id = statement.id;
        let written = async {
            let most = i64::from(self.inner.config.statement_part_entries);
            let lines = statements::next_lines_in_tx(&mut transaction, &statement, most).await?;
            let publisher = self.inner.publisher();
            let content = statement.write(&lines, publisher.now).ok_or(WriteError::Inconsistent)?;
            statements::add_part_in_tx(&mut transaction, &statement, &content).await?;
            if statement.status == StatementStatus::Ready {
                // The term for preparing it becomes that for keeping it. If the first has ended at this moment it finds
                // another term here, and does nothing.
                statement.term_id = foundation.ids.next();
                let due_at = Schedule::now_in_tx(&mut transaction).await? + self.inner.config.statements_kept();
                let term = publisher.statement_term(term_of(id), due_at, cause.clone(), &statement);
                Schedule::add_in_tx(&mut transaction, term).await?;
            }
            statements::update_in_tx(&mut transaction, &statement).await?;
            let entries = i64::try_from(lines.len()).unwrap_or(i64::MAX);
            let events = publisher.statement_written(&cause, &statement, entries, content);
            foundation.outbox.append_in_tx(&mut transaction, events).await?;
            crash::point(crash::PART_WRITTEN, "account.statements");
            transaction.commit().await?;
            Ok(())
        };
        if let Err(error) = written.await {
            return Ok(Pass::NotWritten(id, error));
        }
        crash::point(crash::PART_COMMITTED, "account.statements");
        foundation.outbox.committed();
        self.inner.statement_news.tell(&id, ());
        histogram!("vostro_statement_part_seconds").record(began.elapsed());
        if statement.status == StatementStatus::Ready {
            counter!("vostro_statements_total", "outcome" => statement.status.as_str()).increment(1);
        }
        Ok(Pass::Written)
    }

    async fn put_off(&self, id: Uuid, error: &WriteError) {
        counter!("vostro_statement_part_failures_total").increment(1);
        let failure = match error {
            WriteError::Database(_) => StatementFailure::NotWritten,
            WriteError::Inconsistent => StatementFailure::LedgerInconsistent,
        };
        match statements::put_off(&self.inner.foundation.pool, id, failure, Self::PAUSE).await {
            Ok(attempts) => {
                let cause = std::error::Error::source(error);
                warn!(statement = %id, attempts, %error, ?cause, "the next part of a statement is tried again later");
            }
            Err(error) => warn!(statement = %id, %error, "statements wait for the database"),
        }
    }
}
