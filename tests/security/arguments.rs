//! Values of the right form for what a field requires, so that nothing but the role can be in the way.

use std::collections::BTreeMap;

use graphql_tools::static_graphql::schema::{Field, InputValue, Type, TypeDefinition};
use vostro_schema::stitch::ApiSchema;

/// An id that leads somewhere, by the prefix it begins with.
pub type Ids = BTreeMap<&'static str, String>;

pub struct Arguments<'a> {
    pub schema: &'a ApiSchema,
    /// What arguments called `id` are about: a field, or a type, that is named for it.
    pub about: &'a str,
    /// Stands for texts, idempotency keys and files.
    pub key: &'a str,
    /// Of what is not among them the ids lead nowhere.
    pub ids: &'a Ids,
}

impl Arguments<'_> {
    /// The field with what it requires: `name(argument: value)`.
    pub fn call(&self, field: &Field) -> String {
        let arguments: Vec<_> = field.arguments.iter().filter_map(|argument| self.argument(argument)).collect();
        if arguments.is_empty() { field.name.clone() } else { format!("{}({})", field.name, arguments.join(", ")) }
    }

    fn argument(&self, input: &InputValue) -> Option<String> {
        input.is_required().then(|| format!("{}: {}", input.name, self.value(&input.name, &input.value_type)))
    }

    fn value(&self, name: &str, of: &Type) -> String {
        match of {
            Type::NonNullType(inner) => self.value(name, inner),
            Type::ListType(item) => format!("[{}]", self.value(name, item)),
            Type::NamedType(type_name) => match type_name.as_str() {
                "ID" => format!("\"{}\"", self.id(name)),
                "Int" => "1".to_owned(),
                "Boolean" => "true".to_owned(),
                "Decimal" => "\"1.00\"".to_owned(),
                "CurrencyCode" => "\"EUR\"".to_owned(),
                "Date" => "\"2026-01-01\"".to_owned(),
                "DateTime" => "\"2026-01-01T00:00:00.000Z\"".to_owned(),
                "String" | "IdempotencyKey" | "Upload" => format!("\"{}\"", self.key),
                other => match self.schema.named(other) {
                    Some(TypeDefinition::Enum(values)) => values.values[0].name.clone(),
                    Some(TypeDefinition::InputObject(input)) => {
                        let fields: Vec<_> = input.fields.iter().filter_map(|field| self.argument(field)).collect();
                        format!("{{{}}}", fields.join(", "))
                    }
                    _ => panic!("no value is known for {other}"),
                },
            },
        }
    }

    fn id(&self, argument: &str) -> String {
        let about = if matches!(argument, "id" | "ids") { self.about } else { argument }.to_lowercase();
        let known = [
            ("user", "usr"),
            ("owner", "usr"),
            ("transaction", "txn"),
            ("notification", "ntf"),
            ("statement", "stm"),
            ("violation", "vio"),
            ("evidence", "evd"),
        ];
        let prefix = known.into_iter().find(|(word, _)| about.starts_with(word)).map_or("acc", |(_, prefix)| prefix);
        let nowhere = || format!("{prefix}_01890a5d-ac96-774b-bcce-b302099a8057");
        self.ids.get(prefix).cloned().unwrap_or_else(nowhere)
    }
}
