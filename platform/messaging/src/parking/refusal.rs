use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::command::CommandRefusedV1;
use vostro_kernel::RequestContext;

use super::DeskError;
use crate::{Foundation, NewEvent};

/// Tells the audit log of a refusal, as an event of the module: whoever tries what they may not must not go unseen. Anything
/// else is passed on as it is.
///
/// # Errors
/// The refusal itself, or the fault that kept it from being written down.
pub(crate) async fn recorded<T>(
    foundation: &Foundation,
    module: &str,
    context: &RequestContext,
    command: &'static str,
    subject_id: Option<Uuid>,
    result: Result<T, DeskError>,
) -> Result<T, DeskError> {
    let Some((code, _)) = result.as_ref().err().and_then(DeskError::refusal) else { return result };
    let Foundation { pool, outbox, clock, ids, .. } = foundation;
    let (module, command_id) = (module.to_owned(), context.command_id);
    let refused = CommandRefusedV1 { module, command_id, command: command.to_owned(), code, subject_id };
    let event = NewEvent::new(ids.next(), clock.now(), 1, Cause::command(context, command), &refused);
    let mut transaction = crate::begin(pool).await?;
    outbox.append_in_tx(&mut transaction, vec![event]).await?;
    transaction.commit().await?;
    outbox.committed();
    result
}
