use std::collections::HashMap;

use sqlx::PgConnection;
use vostro_events::upcasters;

use crate::domain::Kind;

/// Which code stands for which event type and which stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Names {
    types: HashMap<String, i16>,
    /// By module and aggregate type.
    streams: HashMap<String, HashMap<String, i16>>,
    type_names: HashMap<i16, String>,
    stream_names: HashMap<i16, (String, String)>,
    /// The lowest code of each event's versions, by the code of each.
    events: HashMap<i16, i16>,
}

impl Names {
    pub fn event_type(&self, name: &str) -> Option<i16> {
        self.types.get(name).copied()
    }

    /// The stream of a module's aggregates of one type.
    pub fn stream(&self, module: &str, aggregate_type: &str) -> Option<i16> {
        self.streams.get(module)?.get(aggregate_type).copied()
    }

    pub fn event_type_of(&self, code: i16) -> Option<&str> {
        self.type_names.get(&code).map(String::as_str)
    }

    /// Which event a type is a version of. A type that is not known is an event of its own.
    pub fn kind(&self, event_type: i16) -> Kind {
        Kind { event: self.events.get(&event_type).copied().unwrap_or(event_type), event_type }
    }

    /// The codes of a version of an event and of the earlier ones that can be read as it, as far as any was ever stored.
    pub fn versions_up_to(&self, event_type: &str) -> Vec<i16> {
        let earlier = upcasters().history_of(event_type);
        earlier.into_iter().chain([event_type]).filter_map(|name| self.event_type(name)).collect()
    }

    /// Module and aggregate type of a stream.
    pub fn stream_of(&self, code: i16) -> Option<(&str, &str)> {
        self.stream_names.get(&code).map(|(module, aggregate_type)| (module.as_str(), aggregate_type.as_str()))
    }

    /// The types of a module's events.
    pub fn event_types_of(&self, module: &str) -> Vec<String> {
        let is_its = |name: &&String| name.split('.').next() == Some(module);
        self.types.keys().filter(is_its).cloned().collect()
    }

    /// The codes of all types with this word after the module, such as `command-refused`.
    pub fn types_about(&self, event: &str) -> Vec<i16> {
        let about = |name: &str| name.split('.').nth(1) == Some(event);
        self.types.iter().filter(|(name, _)| about(name)).map(|(_, code)| *code).collect()
    }
}

/// Reads all names.
///
/// # Errors
/// Database faults.
pub async fn load(connection: &mut PgConnection) -> sqlx::Result<Names> {
    let mut names = Names::default();
    for row in sqlx::query!("select code, name from compliance.event_type").fetch_all(&mut *connection).await? {
        names.types.insert(row.name.clone(), row.code);
        names.type_names.insert(row.code, row.name);
    }
    names.events = events_of(&names.types);
    let streams = sqlx::query!("select code, module, aggregate_type from compliance.stream");
    for row in streams.fetch_all(&mut *connection).await? {
        names.streams.entry(row.module.clone()).or_default().insert(row.aggregate_type.clone(), row.code);
        names.stream_names.insert(row.code, (row.module, row.aggregate_type));
    }
    Ok(names)
}

/// Versions of an event differ in nothing but what is behind the last `.v`.
fn events_of(types: &HashMap<String, i16>) -> HashMap<i16, i16> {
    let event = |name: &str| name.rsplit_once(".v").map_or_else(|| name.to_owned(), |(event, _)| event.to_owned());
    let mut lowest: HashMap<String, i16> = HashMap::with_capacity(types.len());
    for (name, code) in types {
        lowest.entry(event(name)).and_modify(|known| *known = (*known).min(*code)).or_insert(*code);
    }
    types.iter().filter_map(|(name, code)| Some((*code, *lowest.get(&event(name))?))).collect()
}

/// Gives codes to names that have none yet. Called by whoever holds the end of the chain, so nobody does it at the same
/// time.
///
/// # Errors
/// Database faults.
pub async fn add_in_tx(connection: &mut PgConnection, types: &[&str], streams: &[(&str, &str)]) -> sqlx::Result<()> {
    sqlx::query!(
        "with added as (
             insert into compliance.event_type (name)
             select distinct name from unnest($1::text[]) as wanted(name)
             where not exists (select from compliance.event_type known where known.name = wanted.name)
             returning code
         )
         insert into compliance.event_count (type, count) select code, 0 from added",
        types as &[&str]
    )
    .execute(&mut *connection)
    .await?;
    let (modules, aggregate_types): (Vec<&str>, Vec<&str>) = streams.iter().copied().unzip();
    sqlx::query!(
        "insert into compliance.stream (module, aggregate_type)
         select distinct module, aggregate_type from unnest($1::text[], $2::text[]) as wanted(module, aggregate_type)
         where not exists (
             select from compliance.stream known
             where known.module = wanted.module and known.aggregate_type = wanted.aggregate_type
         )",
        &modules as &[&str],
        &aggregate_types as &[&str]
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}
