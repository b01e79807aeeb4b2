use vostro_events::auth::UserLoggedInV1;
use vostro_messaging::{HandlerError, Incoming};

use super::Work;
use crate::domain::Message;

/// The person is told, in case it was somebody else.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let login: UserLoggedInV1 = event.decode()?;
    let message = Message::Login { at: event.envelope.occurred_at };
    work.occasion(&event.envelope, index, login.user_id, message, None);
    Ok(())
}
