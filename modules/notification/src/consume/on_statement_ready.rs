use vostro_events::account::StatementReadyV1;
use vostro_messaging::{HandlerError, Incoming};

use super::Work;
use crate::domain::Message;

/// The holder is told of what the holder asked for. That the bank has looked into an account is nothing its holder may learn
/// (Directive (EU) 2015/849, article 39), and statements of the bank's own accounts concern nobody here.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let statement: StatementReadyV1 = event.decode()?;
    let Some(owner) = statement.owner_id.filter(|owner| event.envelope.cause.actor_id == Some(*owner)) else {
        return Ok(());
    };
    let message = Message::StatementReady { from: statement.from, to: statement.to };
    work.occasion(&event.envelope, index, owner, message, Some(statement.account_id));
    Ok(())
}
