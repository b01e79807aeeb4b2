use vostro_events::auth::UserRegisteredV1;
use vostro_messaging::{HandlerError, Incoming};

use super::Work;
use crate::domain::Message;

/// The person can be written to from now on, and is welcomed.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let registered: UserRegisteredV1 = event.decode()?;
    work.contact(event, registered.user_id, registered.sealed_contact, registered.locale)?;
    work.occasion(&event.envelope, index, registered.user_id, Message::Welcome, None);
    Ok(())
}
