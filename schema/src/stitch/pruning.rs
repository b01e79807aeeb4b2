//! Calls that are not made, because the caller may see nothing of what they ask for.
//!
//! The module stays the authority: it decides about every call that has a field this caller may see. Where all it could do
//! is refuse, its answer is known beforehand and given in its place, in its words: the rule is the one it enforces itself
//! ([`crate::access`]), which the supergraph carries.
//!
//! Left to the module is, whoever asks:
//!
//! - a call with a field for everybody, and one with a field that several modules answer;
//! - a field whose refusals the module records, for callers it would record;
//! - a field that cannot be `null`: what goes with it depends on what the module has;
//! - whatever the reading below does not know.

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field as Selected, OperationType, Selection, SelectionSet,
};
use async_graphql::{Error, Name, PathSegment, Pos, Positioned, ServerError, Value, Variables};
use graphql_tools::static_graphql::schema::Type;
use vostro_kernel::Actor;

use super::api_schema::{ApiSchema, OperationKind};
use super::projection::{Condition, Object, TYPENAME, truth, type_name};
use super::transport::SubgraphResponse;
use crate::access::Rule;

/// What a call asks for, when each field of it is for some callers only.
#[derive(Debug)]
pub struct Restricted {
    fields: Vec<Field>,
}

/// A field of a root type, or of entities.
#[derive(Debug)]
struct Field {
    key: Name,
    rule: Rule,
    /// All must hold.
    conditions: Vec<Condition>,
    of: Option<Entity>,
}

/// The entities of one type below one `_entities` field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entity {
    /// The response key of the `_entities` field.
    key: Name,
    /// The variable that carries the representations.
    representations: Name,
    type_name: String,
}

impl Restricted {
    /// Reads a call as it goes to a subgraph; `None` when it is always to be made.
    pub fn of(schema: &ApiSchema, subgraph: &str, document: &ExecutableDocument) -> Option<Self> {
        let (_, operation) = document.operations.iter().next()?;
        let kind = match operation.node.ty {
            OperationType::Query => OperationKind::Query,
            OperationType::Mutation => OperationKind::Mutation,
            OperationType::Subscription => OperationKind::Subscription,
        };
        let root = schema.root(kind)?;
        let mut reading = Reading { schema, subgraph, document, kind, fields: Vec::new() };
        reading.roots(root, &operation.node.selection_set.node, &[])?;
        let fields = reading.fields;
        // A stream has one field from its beginning.
        let is_stream = kind == OperationKind::Subscription;
        if fields.is_empty() || is_stream && (fields.len() > 1 || !fields[0].conditions.is_empty()) {
            return None;
        }
        Some(Self { fields })
    }

    /// What the module would answer this caller, who may see nothing of it.
    pub fn refusal(&self, actor: &Actor, variables: &Variables) -> Option<SubgraphResponse> {
        let mut refused = Vec::new();
        for field in self.fields.iter().filter(|field| field.applies(variables)) {
            refused.push((field, field.rule.check(actor).err()?));
        }
        // What asks for nothing is the module's, as it has always been.
        if refused.is_empty() {
            return None;
        }
        let (mut data, mut errors) = (Object::new(), Vec::new());
        for (field, error) in refused {
            match &field.of {
                None => {
                    data.insert(field.key.clone(), Value::Null);
                    errors.push(error_at(&error, vec![segment(&field.key)]));
                }
                Some(entity) => field.of_entities(entity, variables, &error, &mut data, &mut errors),
            }
        }
        Some(SubgraphResponse { data: Value::Object(data), errors })
    }
}

impl Field {
    fn applies(&self, variables: &Variables) -> bool {
        self.conditions.iter().all(|condition| truth(variables, &condition.variable) == condition.includes)
    }

    /// Refuses the field at each entity of its type.
    fn of_entities(
        &self,
        entity: &Entity,
        variables: &Variables,
        error: &Error,
        data: &mut Object,
        errors: &mut Vec<ServerError>,
    ) {
        let Some(Value::List(representations)) = variables.get(&entity.representations) else { return };
        let none = || Value::List(vec![Value::Object(Object::new()); representations.len()]);
        let Value::List(answers) = data.entry(entity.key.clone()).or_insert_with(none) else { return };
        for (index, (representation, answer)) in representations.iter().zip(answers).enumerate() {
            let (Value::Object(representation), Value::Object(answer)) = (representation, answer) else { continue };
            if type_name(representation) == Some(&entity.type_name) {
                answer.insert(self.key.clone(), Value::Null);
                let path = vec![segment(&entity.key), PathSegment::Index(index), segment(&self.key)];
                errors.push(error_at(error, path));
            }
        }
    }
}

fn segment(key: &Name) -> PathSegment {
    PathSegment::Field(key.to_string())
}

fn error_at(error: &Error, path: Vec<PathSegment>) -> ServerError {
    ServerError { path, ..error.clone().into_server_error(Pos::default()) }
}

/// Reads the document of a call. Everything returns `None` where it meets what is the module's to decide.
struct Reading<'a> {
    schema: &'a ApiSchema,
    subgraph: &'a str,
    document: &'a ExecutableDocument,
    kind: OperationKind,
    fields: Vec<Field>,
}

impl<'a> Reading<'a> {
    fn roots(&mut self, root: &str, set: &'a SelectionSet, conditions: &[Condition]) -> Option<()> {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) if field.node.name.node == "_entities" => {
                    if !conditions.is_empty() || !field.node.directives.is_empty() {
                        return None;
                    }
                    let [(_, representations)] = &field.node.arguments[..] else { return None };
                    let representations = representations.node.clone().into_const_with(Err).err()?;
                    let key = field.node.response_key().node.clone();
                    self.entities((&key, &representations), None, &field.node.selection_set.node, &[])?;
                }
                Selection::Field(field) => self.field(root, None, &field.node, conditions)?,
                fragment => {
                    let (of, set, conditions) = self.fragment(fragment, conditions)?;
                    if of.is_some_and(|of| of != root) {
                        return None;
                    }
                    self.roots(root, set, &conditions)?;
                }
            }
        }
        Some(())
    }

    /// The fields of entities, by the fragments that say of which type.
    fn entities(
        &mut self,
        place: (&Name, &Name),
        type_name: Option<&str>,
        set: &'a SelectionSet,
        conditions: &[Condition],
    ) -> Option<()> {
        for item in &set.items {
            match &item.node {
                // The representation tells it already.
                Selection::Field(field) if field.node.response_key().node == TYPENAME => {}
                Selection::Field(field) => {
                    let type_name = type_name?;
                    let (key, representations) = (place.0.clone(), place.1.clone());
                    let entity = Entity { key, representations, type_name: type_name.to_owned() };
                    self.field(type_name, Some(entity), &field.node, conditions)?;
                }
                fragment => {
                    let (of, set, conditions) = self.fragment(fragment, conditions)?;
                    let narrowed = of.or(type_name)?;
                    // Objects of one type: an interface has several.
                    let is_one = self.schema.possible(narrowed).is_some_and(|types| types.iter().eq([narrowed]));
                    if !is_one || type_name.is_some_and(|name| name != narrowed) {
                        return None;
                    }
                    self.entities(place, Some(narrowed), set, &conditions)?;
                }
            }
        }
        Some(())
    }

    fn field(&mut self, of: &str, entity: Option<Entity>, field: &Selected, above: &[Condition]) -> Option<()> {
        let name = field.name.node.as_str();
        let facts = self.schema.facts(of, name);
        if facts.owners != [self.subgraph] {
            return None;
        }
        let rule = facts.rule()?;
        let is_nullable = !matches!(self.schema.field(of, name)?.field_type, Type::NonNullType(_));
        // A stream that does not begin is no more than its error.
        if !is_nullable && self.kind != OperationKind::Subscription {
            return None;
        }
        let key = field.response_key().node.clone();
        // The same key twice, under conditions, is an error for each.
        if self.fields.iter().any(|known| known.key == key && known.of == entity) {
            return None;
        }
        let conditions = conditions(above, &field.directives)?;
        self.fields.push(Field { key, rule, conditions, of: entity });
        Some(())
    }

    /// The type a fragment is about, if it says so, what it selects, and under which conditions.
    fn fragment(
        &self,
        selection: &'a Selection,
        above: &[Condition],
    ) -> Option<(Option<&'a str>, &'a SelectionSet, Vec<Condition>)> {
        let conditions = conditions(above, selection.directives())?;
        match selection {
            Selection::Field(_) => None,
            Selection::InlineFragment(fragment) => {
                let of = fragment.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                Some((of, &fragment.node.selection_set.node, conditions))
            }
            Selection::FragmentSpread(spread) => {
                let fragment = &self.document.fragments.get(&spread.node.fragment_name.node)?.node;
                Some((Some(fragment.type_condition.node.on.node.as_str()), &fragment.selection_set.node, conditions))
            }
        }
    }
}

/// The conditions that hold above a selection and its own.
fn conditions(above: &[Condition], directives: &[Positioned<Directive>]) -> Option<Vec<Condition>> {
    let mut conditions = above.to_vec();
    for directive in directives {
        let includes = match directive.node.name.node.as_str() {
            "include" => true,
            "skip" => false,
            _ => return None,
        };
        let [(_, decider)] = &directive.node.arguments[..] else { return None };
        let variable = decider.node.clone().into_const_with(Err).err()?;
        conditions.push(Condition { variable, includes });
    }
    Some(conditions)
}
