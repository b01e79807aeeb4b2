use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::command::CommandRefusedV1;
use vostro_kernel::RequestContext;

use super::DeskError;
use crate::{Foundation, NewEvent};

/// Whoever refuses orders of operators: at a desk for parked messages, or for maintenance.
pub(crate) trait Refusing: From<sqlx::Error> {
    /// The stable code of a refusal; `None` for a fault.
    fn code(&self) -> Option<String>;
}

impl Refusing for DeskError {
    fn code(&self) -> Option<String> {
        self.refusal().map(|(code, _)| code)
    }
}

/// Tells the audit log of a refusal, as an event of the module: whoever tries what they may not must not go unseen. Anything
/// else is passed on as it is.
///
/// # Errors
/// The refusal itself, or the fault that kept it from being written down.
pub(crate) async fn recorded<T, E: Refusing>(
    foundation: &Foundation,
    module: &str,
    context: &RequestContext,
    command: &'static str,
    subject_id: Option<Uuid>,
    result: Result<T, E>,
) -> Result<T, E> {
    let Some(code) = result.as_ref().err().and_then(Refusing::code) else { return result };
    let mut transaction = foundation.begin().await?;
    tell_refused_in_tx(foundation, module, &mut transaction, context, command, code, subject_id).await?;
    transaction.commit().await?;
    foundation.outbox.committed();
    result
}

/// Writes the refusal to the module's outbox.
///
/// # Errors
/// Database faults.
pub(crate) async fn tell_refused_in_tx(
    foundation: &Foundation,
    module: &str,
    connection: &mut PgConnection,
    context: &RequestContext,
    command: &'static str,
    code: String,
    subject_id: Option<Uuid>,
) -> sqlx::Result<()> {
    let Foundation { outbox, clock, ids, .. } = foundation;
    let (module, command_id) = (module.to_owned(), context.command_id);
    let refused = CommandRefusedV1 { module, command_id, command: command.to_owned(), code, subject_id };
    let event = NewEvent::new(ids.next(), clock.now(), 1, Cause::command(context, command), &refused);
    outbox.append_in_tx(connection, vec![event]).await
}
