//! The people the bank can write to.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Table, channel, execute_on, named};
use crate::domain::Known;

/// How to reach a person, as of one auth event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    pub user_id: Uuid,
    /// The event's number among the person's auth events.
    pub sequence: i64,
    pub sealed_contact: String,
    pub locale: String,
}

/// Keeps contacts, at most one per person and in the order of the people. One from an older event than the contact that is
/// known changes nothing.
pub(crate) async fn keep_in_tx(
    connection: &mut PgConnection,
    table: Table,
    contacts: Vec<Contact>,
) -> sqlx::Result<()> {
    if contacts.is_empty() {
        return Ok(());
    }
    let count = contacts.len();
    let (mut users, mut sequences) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut sealed, mut locales) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for contact in contacts {
        users.push(contact.user_id);
        sequences.push(contact.sequence);
        sealed.push(contact.sealed_contact);
        locales.push(contact.locale);
    }
    execute_on!(
        table,
        connection,
        "insert into notification.recipient",
        " as known (user_id, contact_sequence, sealed_contact, locale)
         select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[])
         on conflict (user_id) do update
         set contact_sequence = excluded.contact_sequence, sealed_contact = excluded.sealed_contact,
             locale = excluded.locale
         where known.contact_sequence < excluded.contact_sequence",
        &users,
        &sequences,
        &sealed,
        &locales
    )?;
    Ok(())
}

/// What is known about these people. Who has never changed a preference costs no second look-up.
pub(crate) async fn known_in_tx(connection: &mut PgConnection, people: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Known>> {
    let rows = sqlx::query!(
        "select user_id, locale, preference_version from notification.recipient where user_id = any($1)",
        people
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    let mut choosers = Vec::new();
    for row in rows {
        if row.preference_version > 0 {
            choosers.push(row.user_id);
        }
        known.insert(row.user_id, Known { locale: row.locale, choices: HashMap::new() });
    }
    if choosers.is_empty() {
        return Ok(known);
    }
    let choices = sqlx::query!(
        "select user_id, topic, channel, enabled from notification.preference where user_id = any($1)",
        &choosers
    )
    .fetch_all(connection)
    .await?;
    for choice in choices {
        let key = (named(&choice.topic)?, channel(&choice.channel)?);
        known.entry(choice.user_id).or_insert_with(Known::default).choices.insert(key, choice.enabled);
    }
    Ok(known)
}
