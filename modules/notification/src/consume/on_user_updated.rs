use vostro_events::auth::UserUpdatedV1;
use vostro_messaging::{HandlerError, Incoming};

use super::Work;

/// The person is addressed by the new name and in the new language from now on. Nobody is told: it is no topic.
pub(super) fn note(event: &Incoming, work: &mut Work) -> Result<(), HandlerError> {
    let updated: UserUpdatedV1 = event.decode()?;
    work.contact(event, updated.user_id, updated.sealed_contact, updated.locale)
}
