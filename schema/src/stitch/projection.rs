//! The client's answer: cut out of the merged data in the order and shape of the operation, with `null` carried upwards
//! where the schema does not allow it.
//!
//! Writing goes straight into the response's bytes. A subtree that turns out to be impossible is undone by truncating
//! them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value, Variables};

/// An object in the data.
pub type Object = IndexMap<Name, Value>;

/// The name of the field that tells an object's type.
pub const TYPENAME: &str = "__typename";

/// The shape of the answer to one operation.
#[derive(Debug)]
pub struct Projection {
    pub selection: Selection,
}

/// The fields selected of one object.
#[derive(Debug, Default)]
pub struct Selection {
    pub fields: Vec<Field>,
    /// Whether no two fields share a response key, which is so unless fragments differ by type or condition.
    pub unique: bool,
}

/// One selected field.
#[derive(Debug)]
pub struct Field {
    /// The response key: the alias, or the name.
    pub key: Name,
    /// The response key as JSON with its colon.
    pub json_key: Vec<u8>,
    /// The name in the schema.
    pub name: String,
    /// The object types it is selected of; `None` for all.
    pub types: Option<Arc<BTreeSet<String>>>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    pub shape: Shape,
    /// Whether the value is a scalar or an enum, written as it is. All others are objects, of which nothing is written
    /// but what is selected.
    pub leaf: bool,
    pub selection: Selection,
    /// Arguments, kept for introspection only.
    pub arguments: Vec<(Name, Argument)>,
    /// The answer, where it is known from the operation alone: `__typename` of the root.
    pub constant: Option<String>,
    pub price: Price,
}

/// What a field adds to the cost of its operation.
#[derive(Debug, Clone, Default)]
pub struct Price {
    /// Points for the field itself, once.
    pub own: u32,
    /// Points for each item, beside what is selected of it.
    pub item: u32,
    /// How many items are to be expected.
    pub items: Items,
}

/// The expected length of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Items {
    /// Not a list, or one that is as long as its operation made it.
    Fixed(u32),
    /// The size of a page that variables decide: the largest number that is given, as a page that is asked for in both
    /// directions is refused anyway.
    Page { variables: Vec<Name>, literal: Option<u32> },
}

impl Default for Items {
    fn default() -> Self {
        Self::Fixed(1)
    }
}

/// `@include(if: $variable)` or `@skip(if: $variable)`.
#[derive(Debug, Clone)]
pub struct Condition {
    pub variable: Name,
    /// The value with which the field is included.
    pub includes: bool,
}

/// An argument of an introspection field.
#[derive(Debug)]
pub enum Argument {
    Constant(Value),
    Variable(Name),
}

/// Where `null` and lists are allowed.
#[derive(Debug, Clone)]
pub struct Shape {
    pub non_null: bool,
    /// The items, for a list.
    pub items: Option<Box<Self>>,
}

/// The value of a Boolean variable; a variable that was not given counts as false, as validation has made sure that it
/// has a value or a default wherever it decides.
pub fn truth(variables: &Variables, name: &Name) -> bool {
    matches!(variables.get(name), Some(Value::Boolean(true)))
}

impl Field {
    /// Whether the operation selects the field of an object of this type.
    pub fn applies(&self, type_name: Option<&str>, variables: &Variables) -> bool {
        let of_type = self.types.as_ref().is_none_or(|types| type_name.is_some_and(|name| types.contains(name)));
        of_type && self.conditions.iter().all(|condition| truth(variables, &condition.variable) == condition.includes)
    }
}

/// The object's type as its module told it.
pub fn type_name(object: &Object) -> Option<&str> {
    match object.get(TYPENAME) {
        Some(Value::String(name)) => Some(name),
        _ => None,
    }
}

impl Projection {
    /// Appends the answer to `out` as JSON: an object, or `null` when a `null` had to be carried all the way up.
    /// Returns whether it is an object.
    pub fn write(&self, data: &Object, variables: &Variables, out: &mut Vec<u8>) -> bool {
        let writer = Writer { variables };
        let written = writer.object(data, &[&self.selection], out);
        if !written {
            out.extend_from_slice(b"null");
        }
        written
    }
}

struct Writer<'a> {
    variables: &'a Variables,
}

impl Writer<'_> {
    /// Appends an object; `false`, with nothing appended, when one of its fields cannot be `null` and is.
    fn object(&self, object: &Object, selections: &[&Selection], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let type_name = type_name(object);
        out.push(b'{');
        let written = match selections {
            [selection] if selection.unique => selection
                .fields
                .iter()
                .filter(|field| field.applies(type_name, self.variables))
                .all(|field| self.field(object, field, &[&field.selection], out)),
            _ => self
                .grouped(type_name, selections)
                .into_iter()
                .all(|(field, below)| self.field(object, field, &below, out)),
        };
        if !written {
            out.truncate(start);
            return false;
        }
        if out.last() == Some(&b',') {
            out.pop();
        }
        out.push(b'}');
        true
    }

    /// Fields with the same response key in several fragments that apply are one field with all their selections.
    fn grouped<'s>(
        &self,
        type_name: Option<&str>,
        selections: &[&'s Selection],
    ) -> Vec<(&'s Field, Vec<&'s Selection>)> {
        let mut groups: IndexMap<&Name, (&Field, Vec<&Selection>)> = IndexMap::new();
        for field in selections.iter().flat_map(|selection| &selection.fields) {
            if field.applies(type_name, self.variables) {
                groups.entry(&field.key).or_insert_with(|| (field, Vec::new())).1.push(&field.selection);
            }
        }
        groups.into_values().collect()
    }

    fn field(&self, object: &Object, field: &Field, below: &[&Selection], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&field.json_key);
        let written = match &field.constant {
            Some(constant) => {
                json(constant, out);
                true
            }
            None => {
                let below = (!field.leaf).then_some(below);
                self.value(&field.shape, object.get(&field.key), below, out)
            }
        };
        out.push(b',');
        written
    }

    /// Appends a value, a leaf when there are no selections `below`; `false`, with nothing appended, when it would be a
    /// `null` that the shape does not allow.
    fn value(&self, shape: &Shape, value: Option<&Value>, below: Option<&[&Selection]>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let written = match (value, &shape.items, below) {
            (None | Some(Value::Null), _, _) => false,
            (Some(Value::List(values)), Some(items), _) => {
                out.push(b'[');
                let written = values.iter().all(|value| {
                    let written = self.value(items, Some(value), below, out);
                    out.push(b',');
                    written
                });
                if out.last() == Some(&b',') {
                    out.pop();
                }
                out.push(b']');
                written
            }
            (Some(leaf), None, None) => {
                json(leaf, out);
                true
            }
            (Some(Value::Object(object)), None, Some(below)) => self.object(object, below, out),
            // Not what the schema says: better nothing than something unexpected.
            (Some(_), _, _) => false,
        };
        if written {
            return true;
        }
        out.truncate(start);
        if shape.non_null {
            return false;
        }
        out.extend_from_slice(b"null");
        true
    }
}

/// Appends a value as JSON. Neither writing into memory nor a value of the data can fail.
pub fn json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Shape {
        let (inner, non_null) = text.strip_suffix('!').map_or((text, false), |inner| (inner, true));
        let items = inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).map(|item| Box::new(shape(item)));
        Shape { non_null, items }
    }

    fn field(key: &str, type_text: &str, fields: Vec<Field>) -> Field {
        Field {
            key: Name::new(key),
            json_key: format!("\"{key}\":").into_bytes(),
            name: key.into(),
            types: None,
            conditions: vec![],
            shape: shape(type_text),
            leaf: fields.is_empty(),
            selection: Selection { fields, unique: true },
            arguments: vec![],
            constant: None,
            price: Price::default(),
        }
    }

    fn of(types: &[&str], field: Field) -> Field {
        Field { types: Some(Arc::new(types.iter().map(|name| (*name).to_owned()).collect())), ..field }
    }

    fn written(fields: Vec<Field>, unique: bool, data: &str, variables: &str) -> String {
        let projection = Projection { selection: Selection { fields, unique } };
        let Ok(Value::Object(data)) = serde_json::from_str(data) else { panic!("an object") };
        let mut out = Vec::new();
        projection.write(&data, &serde_json::from_str(variables).expect("variables"), &mut out);
        String::from_utf8(out).expect("JSON")
    }

    #[test]
    fn the_answer_has_the_order_and_the_fields_of_the_operation() {
        let fields = vec![field("b", "Int", vec![]), field("a", "A", vec![field("x", "String!", vec![])])];
        assert_eq!(
            written(fields, true, r#"{"a": {"x": "1", "y": 2}, "b": 3, "c": 4}"#, "{}"),
            r#"{"b":3,"a":{"x":"1"}}"#
        );
    }

    #[test]
    fn a_null_goes_up_to_the_nearest_place_that_may_be_null() {
        let data = r#"{"list": [{"x": 1}, {"x": null}], "b": 1}"#;
        for (list, expected) in [
            ("[A]", r#"{"list":[{"x":1},null],"b":1}"#),
            ("[A]!", r#"{"list":[{"x":1},null],"b":1}"#),
            ("[A!]", r#"{"list":null,"b":1}"#),
            ("[A!]!", "null"),
        ] {
            let fields = vec![field("list", list, vec![field("x", "Int!", vec![])]), field("b", "Int", vec![])];
            assert_eq!(written(fields, true, data, "{}"), expected, "{list}");
        }
    }

    #[test]
    fn an_absent_field_is_null_and_an_empty_list_stays_one() {
        let fields = vec![field("a", "Int", vec![]), field("b", "[Int!]!", vec![])];
        assert_eq!(written(fields, true, r#"{"b": []}"#, "{}"), r#"{"a":null,"b":[]}"#);
    }

    #[test]
    fn of_an_object_nothing_is_written_but_what_is_selected() {
        let fields = || vec![Field { leaf: false, ..field("a", "A", vec![]) }];
        assert_eq!(written(fields(), true, r#"{"a": {"secret": 1}}"#, "{}"), r#"{"a":{}}"#);
        assert_eq!(written(fields(), true, r#"{"a": "secret"}"#, "{}"), r#"{"a":null}"#);
        assert_eq!(written(fields(), true, r#"{"a": [{"secret": 1}]}"#, "{}"), r#"{"a":null}"#);
    }

    #[test]
    fn a_field_of_a_fragment_applies_to_its_types_only() {
        let fields = || {
            let card = of(&["Card"], field("pan", "String", vec![]));
            vec![field("all", "[Means!]!", vec![card, field("id", "ID!", vec![])])]
        };
        let data = r#"{"all": [{"__typename": "Card", "pan": "1", "id": "a"}, {"__typename": "Cash", "id": "b"}]}"#;
        assert_eq!(written(fields(), true, data, "{}"), r#"{"all":[{"pan":"1","id":"a"},{"id":"b"}]}"#);
    }

    #[test]
    fn fields_of_several_fragments_with_one_key_are_merged() {
        let owner = |name: &str| field("owner", "User", vec![field(name, "String", vec![])]);
        let condition = Condition { variable: Name::new("more"), includes: true };
        let fields = || vec![owner("id"), Field { conditions: vec![condition.clone()], ..owner("name") }];
        let data = r#"{"owner": {"id": "1", "name": "Ada"}}"#;
        assert_eq!(written(fields(), false, data, r#"{"more": true}"#), r#"{"owner":{"id":"1","name":"Ada"}}"#);
        assert_eq!(written(fields(), false, data, r#"{"more": false}"#), r#"{"owner":{"id":"1"}}"#);
    }
}
