//! Variables are brought to the types the operation declares, once, before any module sees them.
//!
//! Custom scalars pass through: their owner parses them and knows best what is wrong with a value. Error messages name
//! the place and never repeat the value, which may be personal.

use std::fmt::Write as _;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value, Variables};
use graphql_tools::static_graphql::query::{Value as Literal, VariableDefinition};
use graphql_tools::static_graphql::schema::{InputValue, Type, TypeDefinition};

use super::api_schema::{ApiSchema, type_text};
use super::error::RequestError;
use crate::faults::FaultCode;

/// Brings the given variables to their declared types. What the operation does not declare is dropped.
///
/// # Errors
/// `BAD_USER_INPUT` naming the variable and the place inside it.
pub fn coerce(
    schema: &ApiSchema,
    definitions: &[VariableDefinition],
    mut given: Variables,
) -> Result<Variables, RequestError> {
    let mut coerced = Variables::default();
    for definition in definitions {
        match given.remove(definition.name.as_str()) {
            Some(mut value) => {
                let mut place = Place { variable: &definition.name, path: Vec::new() };
                coerce_value(schema, &definition.var_type, &mut value, &mut place)?;
                coerced.insert(Name::new(&definition.name), value);
            }
            None if definition.default_value.is_none() && is_non_null(&definition.var_type) => {
                let place = Place { variable: &definition.name, path: Vec::new() };
                return Err(
                    place.error(format_args!("a value of type {} is required", type_text(&definition.var_type)))
                );
            }
            None => {
                if let Some(default) = &definition.default_value {
                    coerced.insert(Name::new(&definition.name), constant(default));
                }
            }
        }
    }
    Ok(coerced)
}

/// A literal without variables, which is what a default value is.
pub fn constant(literal: &Literal) -> Value {
    match literal {
        Literal::Variable(_) | Literal::Null => Value::Null,
        Literal::Int(number) => number.as_i64().map_or(Value::Null, Value::from),
        Literal::Float(number) => Value::from(*number),
        Literal::String(text) => Value::String(text.clone()),
        Literal::Boolean(truth) => Value::Boolean(*truth),
        Literal::Enum(name) => Value::Enum(Name::new(name)),
        Literal::List(items) => Value::List(items.iter().map(constant).collect()),
        Literal::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (Name::new(name), constant(value))).collect())
        }
    }
}

/// The named type that stands at a place in the variables, such as `input`, `files`, `0`; `None` where there is no
/// place, or a list.
pub fn type_at<'a>(
    schema: &'a ApiSchema,
    definitions: &'a [VariableDefinition],
    variable: &str,
    inside: &[&str],
) -> Option<&'a str> {
    let definition = definitions.iter().find(|definition| definition.name == variable)?;
    let mut of = nullable(&definition.var_type);
    for step in inside {
        of = nullable(match of {
            Type::NamedType(name) => &schema.input_fields(name)?.iter().find(|field| field.name == *step)?.value_type,
            Type::ListType(item) | Type::NonNullType(item) => item,
        });
    }
    match of {
        Type::NamedType(name) => Some(name),
        Type::ListType(_) | Type::NonNullType(_) => None,
    }
}

fn nullable(of: &Type) -> &Type {
    match of {
        Type::NonNullType(inner) => inner,
        other => other,
    }
}

fn is_non_null(of: &Type) -> bool {
    matches!(of, Type::NonNullType(_))
}

/// Where in the variables we are, for messages.
struct Place<'a> {
    variable: &'a str,
    path: Vec<Step>,
}

enum Step {
    Field(Name),
    Item(usize),
}

impl Place<'_> {
    fn error(&self, what: std::fmt::Arguments<'_>) -> RequestError {
        let mut path = String::new();
        for step in &self.path {
            let _ = match step {
                Step::Field(name) => write!(path, ".{name}"),
                Step::Item(index) => write!(path, "[{index}]"),
            };
        }
        RequestError::new(FaultCode::BadUserInput, format!("Variable \"${}{path}\": {what}.", self.variable))
    }
}

/// Changes a value in place where it has to change at all; most values are what they should be.
fn coerce_value(
    schema: &ApiSchema,
    expected: &Type,
    value: &mut Value,
    place: &mut Place<'_>,
) -> Result<(), RequestError> {
    match (expected, value) {
        (Type::NonNullType(_), Value::Null) => {
            Err(place.error(format_args!("null is not a value of type {}", type_text(expected))))
        }
        (Type::NonNullType(inner), value) => coerce_value(schema, inner, value, place),
        (_, Value::Null) => Ok(()),
        (Type::ListType(item), Value::List(items)) => {
            for (index, value) in items.iter_mut().enumerate() {
                place.path.push(Step::Item(index));
                coerce_value(schema, item, value, place)?;
                place.path.pop();
            }
            Ok(())
        }
        (Type::ListType(item), single) => {
            coerce_value(schema, item, single, place)?;
            *single = Value::List(vec![std::mem::take(single)]);
            Ok(())
        }
        (Type::NamedType(name), value) => coerce_named(schema, name, value, place),
    }
}

fn coerce_named(schema: &ApiSchema, name: &str, value: &mut Value, place: &mut Place<'_>) -> Result<(), RequestError> {
    match schema.named(name) {
        Some(TypeDefinition::Scalar(_)) if coerce_scalar(name, value) => Ok(()),
        Some(TypeDefinition::Scalar(_)) => Err(place.error(format_args!("a value of type {name} is expected"))),
        Some(TypeDefinition::Enum(definition)) => match value {
            Value::String(text) if definition.values.iter().any(|known| known.name == *text) => Ok(()),
            _ => Err(place.error(format_args!("this is not a value of the enum {name}"))),
        },
        Some(definition @ TypeDefinition::InputObject(input)) => {
            let Value::Object(object) = value else {
                return Err(place.error(format_args!("an object of type {name} is expected")));
            };
            coerce_object(schema, name, &input.fields, object, place)?;
            if definition.is_one_of() && (object.len() != 1 || object.values().any(|value| *value == Value::Null)) {
                return Err(place.error(format_args!("exactly one field of {name} must be given")));
            }
            Ok(())
        }
        // Validation has refused variables of other types.
        _ => Err(place.error(format_args!("{name} is no input type"))),
    }
}

fn coerce_object(
    schema: &ApiSchema,
    name: &str,
    fields: &[InputValue],
    object: &mut IndexMap<Name, Value>,
    place: &mut Place<'_>,
) -> Result<(), RequestError> {
    for (key, value) in object.iter_mut() {
        let Some(field) = fields.iter().find(|field| *field.name == **key) else {
            return Err(place.error(format_args!("{name} has no field \"{key}\"")));
        };
        place.path.push(Step::Field(key.clone()));
        coerce_value(schema, &field.value_type, value, place)?;
        place.path.pop();
    }
    for field in fields {
        if field.is_required() && !object.contains_key(field.name.as_str()) {
            place.path.push(Step::Field(Name::new(&field.name)));
            return Err(place.error(format_args!("a value of type {} is required", type_text(&field.value_type))));
        }
    }
    Ok(())
}

/// The built-in scalars by the rules of the GraphQL specification; all others are left to their module. Returns whether
/// the value is one of the type.
fn coerce_scalar(name: &str, value: &mut Value) -> bool {
    match (name, &*value) {
        ("Int", Value::Number(number)) => number.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok()),
        ("Float", Value::Number(_)) | ("String" | "ID", Value::String(_)) | ("Boolean", Value::Boolean(_)) => true,
        ("ID", Value::Number(number)) if number.is_i64() || number.is_u64() => {
            *value = Value::String(number.to_string());
            true
        }
        ("Int" | "Float" | "String" | "ID" | "Boolean", _) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {

    use graphql_tools::static_graphql::query::{Definition, OperationDefinition};

    use super::*;

    const SCHEMA: &str = "
        type Query { a: Int }
        scalar Decimal
        enum Colour { RED GREEN }
        input Inner { amount: Decimal! tags: [String!] }
        input Outer { inner: Inner! colour: Colour = RED note: String }
    ";

    /// The schema, and the variables an operation declares.
    fn declared(operation: &str) -> (ApiSchema, Vec<VariableDefinition>) {
        let text = format!("{SCHEMA} scalar Int scalar Float scalar String scalar ID scalar Boolean");
        let document = graphql_tools::parser::parse_schema::<String>(&text);
        let schema =
            ApiSchema::new(&document.expect("a schema").into_static(), super::super::catalog::Catalog::default());
        let operation = graphql_tools::parser::parse_query::<String>(operation).expect("an operation").into_static();
        let Some(Definition::Operation(OperationDefinition::Query(query))) = operation.definitions.first() else {
            panic!("a query is expected")
        };
        (schema, query.variable_definitions.clone())
    }

    fn coerced(operation: &str, variables: &str) -> Result<serde_json::Value, String> {
        let (schema, definitions) = declared(operation);
        let given = serde_json::from_str(variables).expect("variables");
        coerce(&schema, &definitions, given)
            .map(|variables| serde_json::to_value(variables).expect("JSON"))
            .map_err(|error| error.message)
    }

    #[test]
    fn values_are_brought_to_their_types() {
        let query = "query($a: ID!, $b: [Int!], $c: Outer) { a }";
        let given = r#"{"a": 7, "b": 1, "c": {"inner": {"amount": "1.00", "tags": "x"}, "colour": "GREEN"}, "d": 1}"#;
        let expected = serde_json::json!({
            "a": "7", "b": [1], "c": {"inner": {"amount": "1.00", "tags": ["x"]}, "colour": "GREEN"}
        });
        assert_eq!(coerced(query, given), Ok(expected));
    }

    #[test]
    fn an_absent_variable_has_its_default_and_a_null_stays_null() {
        assert_eq!(coerced("query($a: Int = 3, $b: Int) { a }", "{}"), Ok(serde_json::json!({"a": 3})));
        assert_eq!(coerced("query($a: Int) { a }", r#"{"a": null}"#), Ok(serde_json::json!({"a": null})));
    }

    #[test]
    fn a_place_has_the_type_that_is_declared_for_it() {
        let (schema, definitions) = declared("query($a: ID!, $c: [Outer!]!) { a }");
        let at = |variable, inside: &[&str]| type_at(&schema, &definitions, variable, inside).map(str::to_owned);
        assert_eq!(at("a", &[]).as_deref(), Some("ID"));
        assert_eq!(at("c", &["0"]).as_deref(), Some("Outer"));
        assert_eq!(at("c", &["0", "inner", "amount"]).as_deref(), Some("Decimal"));
        assert_eq!(at("c", &["0", "inner", "tags", "1"]).as_deref(), Some("String"));
        for (variable, inside) in [("b", &[][..]), ("c", &[]), ("a", &["0"]), ("c", &["0", "other"])] {
            assert_eq!(at(variable, inside), None, "{variable} {inside:?}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_by_its_place_and_not_repeated() {
        let outer = "query($c: Outer!) { a }";
        let cases = [
            ("query($a: Int!) { a }", "{}", "\"$a\""),
            ("query($a: Int!) { a }", r#"{"a": null}"#, "\"$a\""),
            ("query($a: Int) { a }", r#"{"a": 2147483648}"#, "\"$a\""),
            ("query($a: Int) { a }", r#"{"a": 1.5}"#, "\"$a\""),
            ("query($a: [Int!]) { a }", r#"{"a": [1, null]}"#, "\"$a[1]\""),
            ("query($a: ID) { a }", r#"{"a": 1.5}"#, "\"$a\""),
            ("query($a: Colour) { a }", r#"{"a": "secret"}"#, "\"$a\""),
            (outer, r#"{"c": "secret"}"#, "\"$c\""),
            (outer, r#"{"c": {}}"#, "\"$c.inner\""),
            (outer, r#"{"c": {"inner": {"amount": null}}}"#, "\"$c.inner.amount\""),
            (outer, r#"{"c": {"inner": {"amount": "1", "tags": [3]}}}"#, "\"$c.inner.tags[0]\""),
            (outer, r#"{"c": {"inner": {"amount": "1"}, "more": 1}}"#, "\"more\""),
        ];
        for (query, variables, place) in cases {
            let message = coerced(query, variables).expect_err(variables);
            assert!(message.contains(place) && !message.contains("secret"), "{variables}: {message}");
        }
    }
}
