//! Finding entities in the data, making representations of them, and putting answers back where they belong.

use std::collections::HashMap;

use async_graphql::{Name, PathSegment, Value};

use super::plan::{EntityAlias, PathStep, Require, Rewrite, RewriteStep};
use super::projection::{Object, TYPENAME, json, type_name};

/// A step to one place in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(Name),
    Item(usize),
}

/// A place in the data.
pub type Location = Vec<Step>;

/// As errors name it.
pub fn error_path(location: &[Step]) -> Vec<PathSegment> {
    location
        .iter()
        .map(|step| match step {
            Step::Key(key) => PathSegment::Field(key.to_string()),
            Step::Item(index) => PathSegment::Index(*index),
        })
        .collect()
}

/// The entities of one `_entities` field: each representation once, and the places that want its answer.
#[derive(Debug, Default)]
pub struct Entities {
    pub representations: Vec<Value>,
    pub locations: Vec<Vec<Location>>,
}

impl Entities {
    /// Collects the entities of an alias from the data. The same entity at several places is asked for once.
    pub fn collect(data: &Object, alias: &EntityAlias) -> Self {
        let mut entities = Self::default();
        let mut known = HashMap::new();
        for path in &alias.paths {
            let mut location = Vec::with_capacity(path.len());
            visit(&mut Cursor::Object(data), path, &mut location, &mut |object, location| {
                let Some(representation) = representation(object, alias) else { return };
                let mut fingerprint = Vec::new();
                json(&representation, &mut fingerprint);
                let index = *known.entry(fingerprint).or_insert_with(|| {
                    entities.representations.push(representation);
                    entities.locations.push(Vec::new());
                    entities.locations.len() - 1
                });
                entities.locations[index].push(location.to_vec());
            });
        }
        entities
    }
}

enum Cursor<'a> {
    Object(&'a Object),
    Value(&'a Value),
}

/// Calls `found` for each object at the end of the path. Lists are entered where the path says so, and at its end.
fn visit<'a>(
    at: &mut Cursor<'a>,
    path: &[PathStep],
    location: &mut Location,
    found: &mut impl FnMut(&'a Object, &[Step]),
) {
    let object = match *at {
        Cursor::Object(object) | Cursor::Value(Value::Object(object)) => object,
        Cursor::Value(Value::List(items)) => {
            let rest = match path {
                [PathStep::Items, rest @ ..] => rest,
                other => other,
            };
            for (index, item) in items.iter().enumerate() {
                location.push(Step::Item(index));
                visit(&mut Cursor::Value(item), rest, location, found);
                location.pop();
            }
            return;
        }
        Cursor::Value(_) => return,
    };
    match path {
        [] => found(object, location),
        [PathStep::Field(key), rest @ ..] => {
            if let Some(value) = object.get(key) {
                location.push(Step::Key(key.clone()));
                visit(&mut Cursor::Value(value), rest, location, found);
                location.pop();
            }
        }
        // The planner asks for the type's name wherever there is a choice; without one, there is none.
        [PathStep::Types(types), rest @ ..] => {
            if type_name(object).is_none_or(|name| types.contains(name)) {
                visit(&mut Cursor::Object(object), rest, location, found);
            }
        }
        // A list was announced and there is none.
        [PathStep::Items, ..] => {}
    }
}

/// The representation of an entity, or `None` when the data does not have what it takes: then nothing can be asked.
fn representation(object: &Object, alias: &EntityAlias) -> Option<Value> {
    let mut representation = Object::new();
    required(object, &alias.requires, &mut representation)?;
    if representation.len() <= usize::from(representation.contains_key(TYPENAME)) {
        return None;
    }
    let mut value = Value::Object(representation);
    rewrite(&mut value, &alias.input_rewrites);
    Some(value)
}

fn required(object: &Object, requires: &[Require], out: &mut Object) -> Option<()> {
    for require in requires {
        match require {
            Require::Of { types, selection } => {
                if type_name(object).is_some_and(|name| types.contains(name)) {
                    required(object, selection, out)?;
                }
            }
            Require::Field { key, selection } => {
                let value = object.get(key)?;
                let value = if selection.is_empty() { value.clone() } else { required_value(value, selection)? };
                out.insert(key.clone(), value);
            }
        }
    }
    Some(())
}

fn required_value(value: &Value, selection: &[Require]) -> Option<Value> {
    match value {
        Value::Object(object) => {
            let mut out = Object::new();
            required(object, selection, &mut out)?;
            Some(Value::Object(out))
        }
        Value::List(items) => {
            items.iter().map(|item| required_value(item, selection)).collect::<Option<_>>().map(Value::List)
        }
        other => Some(other.clone()),
    }
}

/// The value at a location.
pub fn value_at<'a>(data: &'a mut Object, location: &[Step]) -> Option<&'a mut Value> {
    let (first, rest) = location.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter().try_fold(data.get_mut(key)?, |value, step| match (value, step) {
        (Value::Object(object), Step::Key(key)) => object.get_mut(key),
        (Value::List(items), Step::Item(index)) => items.get_mut(*index),
        _ => None,
    })
}

/// Merges what a module answered into what is known already. Objects are merged field by field, lists item by item.
pub fn merge(target: &mut Value, source: Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => merge_object(target, source),
        (Value::List(target), Value::List(source)) if target.len() == source.len() => {
            for (target, source) in target.iter_mut().zip(source) {
                merge(target, source);
            }
        }
        (_, Value::Null) => {}
        (target, source) => *target = source,
    }
}

/// As [`merge`], for the root.
pub fn merge_object(target: &mut Object, source: Object) {
    for (key, value) in source {
        match target.get_mut(&key) {
            Some(known) => merge(known, value),
            None => {
                target.insert(key, value);
            }
        }
    }
}

/// Applies the plan's corrections of names.
pub fn rewrite(value: &mut Value, rewrites: &[Rewrite]) {
    for rewrite in rewrites {
        let path = match rewrite {
            Rewrite::Set { path, .. } | Rewrite::Rename { path, .. } => path,
        };
        rewrite_at(value, path, rewrite);
    }
}

fn rewrite_at(value: &mut Value, path: &[RewriteStep], rewrite: &Rewrite) {
    match value {
        Value::List(items) => items.iter_mut().for_each(|item| rewrite_at(item, path, rewrite)),
        Value::Object(object) => match path {
            [RewriteStep::Types(types), rest @ ..] => {
                if type_name(object).is_some_and(|name| types.contains(name)) {
                    rewrite_at(value, rest, rewrite);
                }
            }
            [RewriteStep::Key(key)] => match rewrite {
                Rewrite::Set { value, .. } => {
                    object.insert(key.clone(), Value::String(value.to_string()));
                }
                Rewrite::Rename { to, .. } => {
                    if let Some(renamed) = object.shift_remove(key) {
                        object.insert(to.clone(), renamed);
                    }
                }
            },
            [RewriteStep::Key(key), rest @ ..] => {
                if let Some(inner) = object.get_mut(key) {
                    rewrite_at(inner, rest, rewrite);
                }
            }
            [] => {}
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    fn object(text: &str) -> Object {
        match serde_json::from_str(text).expect("JSON") {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    fn alias(paths: Vec<Vec<PathStep>>) -> EntityAlias {
        let field = |key: &str| Require::Field { key: Name::new(key), selection: vec![] };
        EntityAlias {
            key: Name::new("_entities"),
            representations: Name::new("representations"),
            paths,
            requires: vec![Require::Of {
                types: Arc::new(BTreeSet::from(["Account".to_owned()])),
                selection: vec![field(TYPENAME), field("id")],
            }],
            input_rewrites: vec![],
            output_rewrites: vec![],
        }
    }

    fn key(name: &str) -> PathStep {
        PathStep::Field(Name::new(name))
    }

    #[test]
    fn the_same_entity_at_several_places_is_asked_for_once() {
        let data = object(
            r#"{"all": [{"from": {"__typename": "Account", "id": "1"}, "to": null},
                        {"from": {"__typename": "Account", "id": "1"}, "to": {"__typename": "Account", "id": "2"}}]}"#,
        );
        let paths = ["from", "to"].map(|name| vec![key("all"), PathStep::Items, key(name)]);
        let entities = Entities::collect(&data, &alias(paths.into()));
        assert_eq!(entities.representations.len(), 2);
        assert_eq!(entities.locations.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(
            error_path(&entities.locations[1][0]),
            [PathSegment::Field("all".into()), PathSegment::Index(1), PathSegment::Field("to".into())]
        );
    }

    #[test]
    fn an_object_of_another_type_or_without_its_key_is_not_asked_for() {
        let data =
            object(r#"{"a": {"__typename": "User", "id": "1"}, "b": {"__typename": "Account"}, "c": {"id": "1"}}"#);
        let paths = vec![vec![key("a")], vec![key("b")], vec![key("c")]];
        assert!(Entities::collect(&data, &alias(paths)).representations.is_empty());
    }

    #[test]
    fn an_answer_is_merged_into_its_place_and_takes_nothing_away() {
        let mut data = object(r#"{"all": [{"id": "1", "owner": {"id": "u"}}]}"#);
        let location = [Step::Key(Name::new("all")), Step::Item(0)];
        let target = value_at(&mut data, &location).expect("the place exists");
        merge(target, Value::Object(object(r#"{"owner": {"name": "Ada"}, "id": null, "number": 7}"#)));
        let expected = object(r#"{"all": [{"id": "1", "owner": {"id": "u", "name": "Ada"}, "number": 7}]}"#);
        assert_eq!(data, expected);
    }

    #[test]
    fn names_are_corrected_below_lists_and_for_the_right_types_only() {
        let mut value =
            Value::Object(object(r#"{"l": [{"__typename": "A", "x_1": 1}, {"__typename": "B", "x_1": 2}]}"#));
        let types = RewriteStep::Types(BTreeSet::from(["A".to_owned()]));
        let path = vec![RewriteStep::Key(Name::new("l")), types, RewriteStep::Key(Name::new("x_1"))];
        rewrite(&mut value, &[Rewrite::Rename { path, to: Name::new("x") }]);
        let expected = object(r#"{"l": [{"__typename": "A", "x": 1}, {"__typename": "B", "x_1": 2}]}"#);
        assert_eq!(value, Value::Object(expected));
    }
}
