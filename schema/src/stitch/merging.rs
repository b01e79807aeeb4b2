//! Whether fields of a document that meet under one key of the response can become one: "Field Selection Merging" of the
//! specification (October 2021, section 5.3.2).
//!
//! The specification compares each field with each other, and whoever follows it makes fifty thousand comparisons of a
//! kilobyte of `id id id …`. But "has the same shape" and "is the same field" are equivalences: here each field is compared
//! with the first of its kind, in one walk over what the document expands to, which is bounded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use graphql_tools::parser::Pos;
use graphql_tools::static_graphql::query::{
    Definition, Document, Field, FragmentDefinition, Selection, SelectionSet, TypeCondition, Value,
};
use graphql_tools::static_graphql::schema::{Type, TypeDefinition};

use super::api_schema::{ApiSchema, OperationKind};
use super::error::RequestError;
use super::limits::{Limits, over};
use crate::faults::FaultCode;

/// The type of `__typename`, which no type declares.
static TYPE_NAME: LazyLock<Type> = LazyLock::new(|| Type::NonNullType(Box::new(Type::NamedType("String".to_owned()))));

/// What the fields below one place are compared in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    All,
    /// Shapes alone: they meet below fields of different types, of which an object has only one.
    Shapes,
    /// Names and arguments alone: their shapes are compared elsewhere, with those of more fields.
    Names,
}

/// The type that a selection set is of. A type the schema does not know is for other rules to report.
type Parent<'a> = Option<&'a TypeDefinition>;

/// Selection sets whose fields meet in one object of the response.
struct Place<'a> {
    sets: Vec<(Parent<'a>, &'a SelectionSet)>,
    compared: Compared,
}

#[derive(Clone, Copy)]
struct Selected<'a> {
    parent: Parent<'a>,
    field: &'a Field,
    of: Option<&'a Type>,
}

struct Walk<'a> {
    schema: &'a ApiSchema,
    limits: &'a Limits,
    fragments: HashMap<&'a str, &'a FragmentDefinition>,
    /// Fragments that were come by. The others are checked all the same.
    reached: HashSet<&'a str>,
    selections: usize,
    conflicts: Vec<RequestError>,
}

/// Checks a document whose fragments do not contain themselves.
///
/// # Errors
/// Each pair of fields that cannot become one, or that there are, over all its operations, more selections than the limits
/// allow.
pub fn check(schema: &ApiSchema, document: &Document, limits: &Limits) -> Result<(), Vec<RequestError>> {
    let mut walk = Walk::over(schema, document, limits);
    walk.document(document).map_err(|error| vec![error])?;
    if walk.conflicts.is_empty() { Ok(()) } else { Err(walk.conflicts) }
}

impl<'a> Walk<'a> {
    fn over(schema: &'a ApiSchema, document: &'a Document, limits: &'a Limits) -> Self {
        let fragments = document.definitions.iter().filter_map(|definition| match definition {
            Definition::Fragment(fragment) => Some((fragment.name.as_str(), fragment)),
            Definition::Operation(_) => None,
        });
        let (fragments, reached) = (fragments.collect(), HashSet::new());
        Self { schema, limits, fragments, reached, selections: 0, conflicts: Vec::new() }
    }

    fn document(&mut self, document: &'a Document) -> Result<(), RequestError> {
        for definition in &document.definitions {
            if let Definition::Operation(operation) = definition {
                let root = self.schema.root(OperationKind::of(operation)).and_then(|name| self.schema.named(name));
                self.root(root, operation.selection_set())?;
            }
        }
        for definition in &document.definitions {
            if let Definition::Fragment(fragment) = definition
                && self.reached.insert(&fragment.name)
            {
                self.root(self.condition(&fragment.type_condition), &fragment.selection_set)?;
            }
        }
        Ok(())
    }

    fn root(&mut self, parent: Parent<'a>, set: &'a SelectionSet) -> Result<(), RequestError> {
        let mut places = vec![Place { sets: vec![(parent, set)], compared: Compared::All }];
        while let Some(place) = places.pop() {
            for (key, fields) in self.fields(place.sets)? {
                self.compare(key, &fields, place.compared, &mut places);
            }
        }
        Ok(())
    }

    /// The fields at one place by their keys. A fragment that comes again at the same place adds nothing.
    fn fields(
        &mut self,
        mut sets: Vec<(Parent<'a>, &'a SelectionSet)>,
    ) -> Result<BTreeMap<&'a str, Vec<Selected<'a>>>, RequestError> {
        let mut fields: BTreeMap<&str, Vec<Selected>> = BTreeMap::new();
        let mut entered = HashSet::new();
        let mut next = 0;
        while let Some(&(parent, set)) = sets.get(next) {
            next += 1;
            self.selections += set.items.len();
            let (limit, code) = (self.limits.expanded_selections, FaultCode::ComplexityLimitExceeded);
            over(self.selections, limit, code, "fields in all its operations")?;
            for selection in &set.items {
                match selection {
                    Selection::Field(field) => {
                        let key = field.alias.as_deref().unwrap_or(&field.name);
                        fields.entry(key).or_default().push(Selected::new(parent, field));
                    }
                    Selection::InlineFragment(fragment) => {
                        let condition = fragment.type_condition.as_ref().map(|condition| self.condition(condition));
                        sets.push((condition.unwrap_or(parent), &fragment.selection_set));
                    }
                    Selection::FragmentSpread(spread) => {
                        let name = spread.fragment_name.as_str();
                        self.reached.insert(name);
                        // An unknown fragment is for another rule to report, with its position.
                        if let Some(fragment) = self.fragments.get(name).filter(|_| entered.insert(name)) {
                            sets.push((self.condition(&fragment.type_condition), &fragment.selection_set));
                        }
                    }
                }
            }
        }
        Ok(fields)
    }

    fn condition(&self, condition: &TypeCondition) -> Parent<'a> {
        let TypeCondition::On(name) = condition;
        self.schema.named(name)
    }

    /// Compares the fields of one key, and adds the places where what is selected below them meets.
    fn compare(&mut self, key: &str, fields: &[Selected<'a>], compared: Compared, places: &mut Vec<Place<'a>>) {
        let kinds = if compared == Compared::Shapes { Vec::new() } else { kinds(fields) };
        let conflict = kinds.iter().find_map(|kind| different_fields(kind)).or_else(|| match compared {
            Compared::All | Compared::Shapes => self.different_shapes(fields),
            Compared::Names => None,
        });
        if let Some(conflict) = conflict {
            return self.report(key, conflict);
        }
        let mut below = |fields: &[Selected<'a>], compared| {
            let sets = fields.iter().filter(|selected| !selected.field.selection_set.items.is_empty());
            let sets: Vec<_> = sets.map(|selected| (self.below(selected), &selected.field.selection_set)).collect();
            if !sets.is_empty() {
                places.push(Place { sets, compared });
            }
        };
        match &kinds[..] {
            [_] => below(fields, compared),
            kinds => {
                if compared != Compared::Names {
                    below(fields, Compared::Shapes);
                }
                kinds.iter().for_each(|kind| below(kind, Compared::Names));
            }
        }
    }

    fn below(&self, selected: &Selected<'a>) -> Parent<'a> {
        self.schema.named(selected.of?.inner_type())
    }

    /// `SameResponseShape` but for what is below: lists and "not null" alike, and the same type where it is a leaf.
    fn different_shapes(&self, fields: &[Selected<'a>]) -> Option<Conflict<'a>> {
        let (first, of) = fields.iter().find_map(|selected| Some((selected, selected.of?)))?;
        let (other, other_of) = fields.iter().find_map(|selected| {
            let other = selected.of.filter(|other| !self.same_shape(of, other))?;
            Some((selected, other))
        })?;
        let why = format!("they return conflicting types \"{of}\" and \"{other_of}\"");
        Some(Conflict { why, fields: [first.field, other.field] })
    }

    fn same_shape(&self, one: &Type, other: &Type) -> bool {
        match (one, other) {
            (Type::ListType(one), Type::ListType(other)) | (Type::NonNullType(one), Type::NonNullType(other)) => {
                self.same_shape(one, other)
            }
            (Type::NamedType(one), Type::NamedType(other)) => {
                let leaf = |name| self.schema.named(name).is_some_and(TypeDefinition::is_leaf_type);
                one == other || !(leaf(one) || leaf(other))
            }
            _ => false,
        }
    }

    fn report(&mut self, key: &str, conflict: Conflict) {
        let message = format!(
            "Fields \"{key}\" conflict because {}. Use different aliases on the fields to fetch both if this was intentional.",
            conflict.why
        );
        let error = RequestError::new(FaultCode::GraphqlValidationFailed, message);
        let at = |error: RequestError, Pos { line, column }: Pos| error.at(line, column);
        let error = conflict.fields.iter().fold(error, |error, field| at(error, field.position));
        // A fragment may be come by at several places.
        if !self.conflicts.contains(&error) {
            self.conflicts.push(error);
        }
    }
}

impl<'a> Selected<'a> {
    fn new(parent: Parent<'a>, field: &'a Field) -> Self {
        let of = match field.name.as_str() {
            "__typename" => Some(&*TYPE_NAME),
            name => parent.and_then(|parent| parent.field_by_name(name)).map(|definition| &definition.field_type),
        };
        Self { parent, field, of }
    }

    /// The one type of object that it can be of, if it is no interface's.
    fn object(&self) -> Option<&'a str> {
        self.parent.filter(|parent| parent.is_object_type()).map(TypeDefinition::name)
    }
}

struct Conflict<'a> {
    why: String,
    fields: [&'a Field; 2],
}

/// The fields that one object may have at the same time: for each type of object its own and those of interfaces.
fn kinds<'a>(fields: &[Selected<'a>]) -> Vec<Vec<Selected<'a>>> {
    let mut objects: Vec<&str> = fields.iter().filter_map(Selected::object).collect();
    objects.sort_unstable();
    objects.dedup();
    if objects.len() <= 1 {
        return vec![fields.to_vec()];
    }
    let of =
        |object| fields.iter().filter(|field| field.object().is_none_or(|other| other == object)).copied().collect();
    objects.into_iter().map(of).collect()
}

fn different_fields<'a>(fields: &[Selected<'a>]) -> Option<Conflict<'a>> {
    let (first, others) = fields.split_first()?;
    others.iter().find_map(|other| {
        let (first, other) = (first.field, other.field);
        let why = if first.name != other.name {
            format!("\"{}\" and \"{}\" are different fields", first.name, other.name)
        } else if !same_arguments(&first.arguments, &other.arguments) {
            "they have differing arguments".to_owned()
        } else {
            return None;
        };
        Some(Conflict { why, fields: [first, other] })
    })
}

/// The same names with the same values, in any order.
fn same_arguments(one: &[(String, Value)], other: &[(String, Value)]) -> bool {
    one.len() == other.len()
        && one.iter().all(|(name, value)| {
            other.iter().find(|(other, _)| other == name).is_some_and(|(_, other)| same_value(value, other))
        })
}

/// The fields of an input object have no order; the items of a list have, and a number.
fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => same_arguments(one, other),
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        _ => one == other,
    }
}

/// How many selections are looked at when no limit ends it early.
#[cfg(test)]
pub(super) fn selections_looked_at(schema: &ApiSchema, document: &Document) -> Option<usize> {
    let limits = Limits::none();
    let mut walk = Walk::over(schema, document, &limits);
    walk.document(document).ok()?;
    Some(walk.selections)
}
