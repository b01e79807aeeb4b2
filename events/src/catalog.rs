use std::collections::BTreeMap;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use crate::command::CommandRefusedV1;
use crate::operator::OperatorActedV1;
use crate::{DomainEvent, Upcaster, account, auth, compliance, notification, transaction};

/// What is known about one event version without having one.
pub struct EventDescription {
    /// `<module>.<event>.v<major>`.
    pub event_type: &'static str,
    /// The aggregate kind its sequence counts in.
    pub aggregate: &'static str,
    /// JSON Schema of the data as the owner writes them: closed, so that whatever is not in it is never written.
    pub schema: Schema,
    /// JSON Schema of what reading them needs: open, so that fields of a later minor version do no harm.
    pub reader: Schema,
    /// Reads data as this event and writes it again: what a reader understands of a sample.
    pub round_trip: fn(&str) -> serde_json::Result<serde_json::Value>,
}

impl EventDescription {
    pub(crate) fn of<E: DomainEvent>(event_type: &'static str) -> Self {
        let round_trip = |text: &str| serde_json::to_value(serde_json::from_str::<E>(text)?);
        let settings = SchemaSettings::draft2020_12;
        let writer = settings().for_serialize().with_transform(RecursiveTransform(close));
        let reader = settings().for_deserialize();
        Self {
            event_type,
            aggregate: E::AGGREGATE,
            schema: writer.into_generator().into_root_schema_for::<E>(),
            reader: reader.into_generator().into_root_schema_for::<E>(),
            round_trip,
        }
    }

    /// The schema as it is committed.
    pub fn schema_text(&self) -> String {
        canonical_text(serde_json::to_value(&self.schema).expect("a schema is JSON"))
    }

    /// The module that owns and publishes it: the first word of the type.
    pub fn module(&self) -> &'static str {
        self.event_type.split('.').next().unwrap_or_default()
    }
}

/// Nothing but the properties it names.
pub(crate) fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}

/// JSON as generated files hold it: two spaces, keys in alphabetical order whatever else is built into the program.
pub fn canonical_text(value: Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(&sorted(value)).expect("a value always serialises"))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Every event version of every module, in the order of the modules and of their declaration.
pub fn catalog() -> Vec<EventDescription> {
    let refusals = CommandRefusedV1::TYPES.map(EventDescription::of::<CommandRefusedV1>);
    let operations = OperatorActedV1::TYPES.map(EventDescription::of::<OperatorActedV1>);
    let modules = [
        auth::describe(),
        account::describe(),
        transaction::describe(),
        notification::describe(),
        compliance::describe(),
    ];
    modules.into_iter().flatten().chain(refusals).chain(operations).collect()
}

/// Every upcaster of every module. Refusals and operations are the same struct for all modules and have had one version.
pub(crate) fn upcasters() -> Vec<Upcaster> {
    let modules = [
        auth::upcasters(),
        account::upcasters(),
        transaction::upcasters(),
        notification::upcasters(),
        compliance::upcasters(),
    ];
    modules.into_iter().flatten().collect()
}
