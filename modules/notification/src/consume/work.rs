use std::collections::HashMap;
use std::collections::hash_map::Entry;

use uuid::Uuid;
use vostro_events::Envelope;
use vostro_messaging::{HandlerError, Incoming};

use crate::domain::{Message, Occasion, Suppression};
use crate::store::{AccountTail, Contact};

/// What a batch of events means for people, collected before anything is written.
#[derive(Default)]
pub(super) struct Work {
    contacts: HashMap<Uuid, Contact>,
    pub accounts: Vec<AccountTail>,
    pub occasions: Vec<Occasion>,
}

/// BCP 47 recommends that 35 characters are enough for every tag in use.
const LONGEST_LOCALE: usize = 35;

impl Work {
    /// A person's contact as of an auth event. Of several in a batch the newest counts.
    pub fn contact(
        &mut self,
        event: &Incoming,
        user_id: Uuid,
        sealed_contact: String,
        locale: String,
    ) -> Result<(), HandlerError> {
        if sealed_contact.is_empty() {
            return Err(event.invalid("the sealed contact is empty"));
        }
        if locale.is_empty() || locale.len() > LONGEST_LOCALE || locale.contains(char::is_control) {
            return Err(event.invalid("the locale is not a language tag"));
        }
        let contact = Contact { user_id, sequence: event.envelope.sequence, sealed_contact, locale };
        match self.contacts.entry(user_id) {
            Entry::Vacant(entry) => {
                entry.insert(contact);
            }
            Entry::Occupied(mut entry) if entry.get().sequence < contact.sequence => {
                entry.insert(contact);
            }
            Entry::Occupied(_) => {}
        }
        Ok(())
    }

    pub fn occasion(
        &mut self,
        source: &Envelope,
        index: usize,
        user_id: Uuid,
        message: Message,
        account_id: Option<Uuid>,
    ) {
        self.push(source, index, user_id, message, account_id, None);
    }

    /// An occasion another notification speaks of already.
    pub fn covered(
        &mut self,
        source: &Envelope,
        index: usize,
        user_id: Uuid,
        message: Message,
        account_id: Option<Uuid>,
        by: Suppression,
    ) {
        self.push(source, index, user_id, message, account_id, Some(by));
    }

    fn push(
        &mut self,
        source: &Envelope,
        source_index: usize,
        user_id: Uuid,
        message: Message,
        account_id: Option<Uuid>,
        covered: Option<Suppression>,
    ) {
        let source_event_id = source.id;
        self.occasions.push(Occasion { source_event_id, source_index, user_id, message, account_id, covered });
    }

    /// The contacts to keep, ordered by person, so that two batches never lock the same rows in opposite order.
    pub fn contacts(&mut self) -> Vec<Contact> {
        let mut contacts = std::mem::take(&mut self.contacts).into_values().collect::<Vec<_>>();
        contacts.sort_unstable_by_key(|contact| contact.user_id);
        contacts
    }

    /// Everybody there is something to tell, once each.
    pub fn people(&self) -> Vec<Uuid> {
        let mut people = self.occasions.iter().map(|occasion| occasion.user_id).collect::<Vec<_>>();
        people.sort_unstable();
        people.dedup();
        people
    }
}
