use serde_json::{Map, Value};
use vostro_events::catalog;

/// What stands where something personal stood.
const REDACTED: &str = "[redacted]";

/// The data of an event with nothing personal in it: what the event's own description says is an id, a number, a time, a
/// truth value or a word of a closed list stays; every free text goes, except those named in [`OPEN_TEXTS`]. Of an event
/// this release does not know nothing stays but the names of the fields.
pub fn redacted(event_type: &str, data: &Value) -> Value {
    let description = catalog().into_iter().find(|event| event.event_type == event_type);
    let schema = description.map(|event| serde_json::to_value(&event.schema).unwrap_or_default()).unwrap_or_default();
    Redaction { definitions: schema.get("$defs").cloned().unwrap_or_default() }.of(&schema, "", data)
}

/// Free texts that say nothing about a person: codes and the names of commands, modules and products.
const OPEN_TEXTS: [&str; 8] = ["code", "command", "module", "product", "currency", "ruleId", "eventType", "digest"];

struct Redaction {
    definitions: Value,
}

impl Redaction {
    fn of(&self, schema: &Value, name: &str, data: &Value) -> Value {
        let schemas = self.resolved(schema);
        match data {
            Value::Object(fields) => {
                let field = |name: &str| schemas.iter().find_map(|schema| schema.get("properties")?.get(name));
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.of(field(name).unwrap_or(&Value::Null), name, value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Value::Array(items) => {
                let item = schemas.iter().find_map(|schema| schema.get("items")).unwrap_or(&Value::Null);
                Value::Array(items.iter().map(|value| self.of(item, name, value)).collect())
            }
            Value::Null => Value::Null,
            _ if schemas.iter().any(|schema| is_impersonal(schema, name)) => data.clone(),
            _ => Value::String(REDACTED.to_owned()),
        }
    }

    /// The schema with its references followed and its alternatives beside each other.
    fn resolved<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
        if let Some(definition) = reference.and_then(|name| self.definitions.get(name)) {
            return self.resolved(definition);
        }
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            Some(alternatives) => alternatives.iter().flat_map(|schema| self.resolved(schema)).collect(),
            None => vec![schema],
        }
    }
}

fn is_impersonal(schema: &Value, name: &str) -> bool {
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let closed = schema.get("enum").is_some() || schema.get("const").is_some();
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    closed
        || types.iter().any(|kind| ["integer", "number", "boolean"].contains(kind))
        || ["uuid", "date", "date-time"].contains(&format)
        || (types.contains(&"string") && OPEN_TEXTS.contains(&name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(event_type: &str) -> Value {
        let path = format!("{}/../../events/samples/{event_type}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).expect("the sample exists")).expect("a sample is JSON")
    }

    #[test]
    fn ids_amounts_times_and_codes_stay() {
        for event_type in ["account.posting-applied.v1", "account.posting-rejected.v1", "account.balance-changed.v1"] {
            assert_eq!(redacted(event_type, &sample(event_type)), sample(event_type), "{event_type}");
        }
    }

    #[test]
    fn names_and_account_numbers_go() {
        let account = redacted("account.account-created.v1", &sample("account.account-created.v1"));
        assert_eq!(account["name"], "[redacted]");
        assert_eq!(account["number"], "[redacted]");
        assert_eq!(account["status"], "ACTIVE");
        let user = redacted("auth.user-registered.v1", &sample("auth.user-registered.v1"));
        for (name, value) in sample("auth.user-registered.v1").as_object().expect("an object") {
            let is_open = ["userId", "roles", "status", "registeredAt"].contains(&name.as_str());
            assert!(is_open || user[name] != *value, "{name} is shown");
        }
    }

    #[test]
    fn of_an_unknown_event_only_the_names_of_the_fields_stay() {
        let data = json!({"iban": "CZ65", "amount": 5, "list": [{"x": true}]});
        let hidden = json!({"iban": "[redacted]", "amount": "[redacted]", "list": [{"x": "[redacted]"}]});
        assert_eq!(redacted("card.card-issued.v7", &data), hidden);
    }
}
