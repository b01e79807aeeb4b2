//! From the planner's normalised operation to the shape of the client's answer.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_graphql::{Name, Value};
use graphql_tools::static_graphql::schema::{Field as Definition, Type, TypeDefinition};
use hive_router_query_planner::ast::selection_item::SelectionItem;
use hive_router_query_planner::ast::selection_set::{FieldSelection, SelectionSet};
use hive_router_query_planner::ast::value::Value as HiveValue;

use super::api_schema::{ApiSchema, OperationKind, Points};
use super::error::RequestError;
use super::projection::{Argument, Condition, Field, Items, Price, Projection, Selection, Shape, TYPENAME, json};
use crate::access::Size;
use crate::connection::DEFAULT_PAGE;
use crate::faults::FaultCode;

/// Whether the engine answers the field itself.
pub fn is_introspection(name: &str) -> bool {
    name.starts_with("__")
}

/// Compiles the answer's shape.
///
/// # Errors
/// When a field is not in the schema, which validation has ruled out.
pub fn compile(schema: &ApiSchema, kind: OperationKind, set: &SelectionSet) -> Result<Projection, RequestError> {
    let unknown = || RequestError::new(FaultCode::GraphqlValidationFailed, "The schema has no such operations.");
    let root = schema.root(kind).ok_or_else(unknown)?;
    let mut selection = Compiler { schema, introspection: false, page: None }.selection(root, set)?;
    for field in &mut selection.fields {
        if field.name == TYPENAME {
            field.constant = Some(root.to_owned());
        }
    }
    Ok(Projection { selection })
}

#[derive(Clone)]
struct Compiler<'a> {
    schema: &'a ApiSchema,
    /// Directly below a connection: how many nodes it has.
    page: Option<Items>,
    /// Whether we are below `__schema` or `__type`, where arguments are ours to read.
    introspection: bool,
}

/// What holds for all fields of a fragment.
#[derive(Clone, Default)]
struct Surroundings {
    types: Option<Arc<BTreeSet<String>>>,
    conditions: Vec<Condition>,
}

impl Compiler<'_> {
    fn selection(&self, type_name: &str, set: &SelectionSet) -> Result<Selection, RequestError> {
        let mut fields = Vec::new();
        self.collect(type_name, set, &Surroundings::default(), &mut fields)?;
        let mut keys = HashSet::new();
        let unique = fields.iter().all(|field| keys.insert(field.key.clone()));
        Ok(Selection { fields, unique })
    }

    fn collect(
        &self,
        type_name: &str,
        set: &SelectionSet,
        surroundings: &Surroundings,
        fields: &mut Vec<Field>,
    ) -> Result<(), RequestError> {
        for item in &set.items {
            match item {
                SelectionItem::Field(field) if field.omit_from_response => {}
                SelectionItem::Field(field) => fields.push(self.field(type_name, field, surroundings)?),
                SelectionItem::InlineFragment(fragment) => {
                    let mut inner = surroundings.clone();
                    if !self.always(type_name, &fragment.type_condition) {
                        inner.types = Some(self.narrowed(surroundings.types.as_ref(), &fragment.type_condition));
                    }
                    conditions(fragment.skip_if.as_deref(), fragment.include_if.as_deref(), &mut inner.conditions);
                    self.collect(&fragment.type_condition, &fragment.selections, &inner, fields)?;
                }
                SelectionItem::FragmentSpread(name) => return Err(self.unknown(type_name, name)),
            }
        }
        Ok(())
    }

    /// Whether every object of `type_name` is one of the condition, so that it need not be looked at. Only then may the
    /// name of its type be missing in the data.
    fn always(&self, type_name: &str, condition: &str) -> bool {
        let possible = |name| self.schema.possible(name);
        type_name == condition
            || possible(type_name).zip(possible(condition)).is_some_and(|(own, allowed)| own.is_subset(allowed))
    }

    /// The types of a fragment inside another one are those of both.
    fn narrowed(&self, outer: Option<&Arc<BTreeSet<String>>>, condition: &str) -> Arc<BTreeSet<String>> {
        let own = self.schema.possible(condition);
        let own = own.cloned().unwrap_or_else(|| Arc::new(BTreeSet::from([condition.to_owned()])));
        match outer {
            Some(outer) => Arc::new(outer.intersection(&own).cloned().collect()),
            None => own,
        }
    }

    fn field(
        &self,
        type_name: &str,
        field: &FieldSelection,
        surroundings: &Surroundings,
    ) -> Result<Field, RequestError> {
        let key = field.selection_identifier();
        let mut json_key = Vec::with_capacity(key.len() + 3);
        json(key, &mut json_key);
        json_key.push(b':');
        let mut conditions_of_field = surroundings.conditions.clone();
        conditions(field.skip_if.as_deref(), field.include_if.as_deref(), &mut conditions_of_field);
        let introspection = self.introspection || matches!(field.name.as_str(), "__schema" | "__type");
        let mut price = Price::default();

        let (shape, leaf, selection) = if field.name == TYPENAME {
            (Shape { non_null: true, items: None }, true, Selection::default())
        } else {
            let definition = self.schema.field(type_name, &field.name);
            let definition = definition.ok_or_else(|| self.unknown(type_name, &field.name))?;
            let inner = definition.field_type.inner_type();
            let leaf = self.schema.named(inner).is_some_and(TypeDefinition::is_leaf_type);
            let shape = shape(&definition.field_type);
            if introspection {
                price.own = introspection_points(&field.name);
            } else {
                price = self.price(type_name, field, definition);
            }
            let page = match self.schema.facts(type_name, &field.name).size {
                Size::Page => Some(size(field)),
                Size::One | Size::About(_) => None,
            };
            let below = Compiler { schema: self.schema, introspection, page };
            (shape, leaf, below.selection(inner, &field.selections)?)
        };
        Ok(Field {
            key: Name::new(key),
            json_key,
            name: field.name.clone(),
            types: surroundings.types.clone(),
            conditions: conditions_of_field,
            shape,
            leaf,
            selection,
            arguments: if introspection { arguments(field) } else { Vec::new() },
            constant: None,
            price,
        })
    }

    /// The points of a field, and how many items its list is counted as.
    fn price(&self, type_name: &str, field: &FieldSelection, definition: &Definition) -> Price {
        let facts = self.schema.facts(type_name, &field.name);
        let Points { own, item } = self.schema.points(type_name, definition);
        let items = match (facts.size, &self.page, field.name.as_str()) {
            (Size::About(items), ..) => Items::Fixed(items),
            (_, Some(page), "edges" | "nodes") => page.clone(),
            _ => Items::Fixed(1),
        };
        Price { own, item, items }
    }

    fn unknown(&self, type_name: &str, field: &str) -> RequestError {
        tracing::error!(type_name, field, "a validated operation names a field the schema does not have");
        RequestError::new(FaultCode::InternalServerError, "The operation could not be planned.")
    }
}

/// Introspection asks no module, but a whole schema is a large answer. What is selected below the root is free.
fn introspection_points(field: &str) -> u32 {
    match field {
        "__schema" => 100,
        "__type" => 10,
        _ => 0,
    }
}

fn conditions(skip: Option<&str>, include: Option<&str>, out: &mut Vec<Condition>) {
    out.extend(skip.map(|variable| Condition { variable: Name::new(variable), includes: false }));
    out.extend(include.map(|variable| Condition { variable: Name::new(variable), includes: true }));
}

/// How many nodes a connection is asked for, from whichever end.
fn size(field: &FieldSelection) -> Items {
    let (mut variables, mut literal) = (Vec::new(), None);
    let arguments = field.arguments.iter().flat_map(|arguments| arguments.into_iter());
    for (_, value) in arguments.filter(|(name, _)| matches!(name.as_str(), "first" | "last")) {
        match value {
            HiveValue::Int(size) => literal = literal.max(Some(u32::try_from(*size).unwrap_or(0))),
            HiveValue::Variable(variable) => variables.push(Name::new(variable)),
            // `null` is as good as nothing.
            _ => {}
        }
    }
    if variables.is_empty() {
        return Items::Fixed(literal.unwrap_or(u32::try_from(DEFAULT_PAGE).unwrap_or(u32::MAX)));
    }
    Items::Page { variables, literal }
}

fn shape(of: &Type) -> Shape {
    match of {
        Type::NamedType(_) => Shape { non_null: false, items: None },
        Type::ListType(items) => Shape { non_null: false, items: Some(Box::new(shape(items))) },
        Type::NonNullType(inner) => Shape { non_null: true, ..shape(inner) },
    }
}

fn arguments(field: &FieldSelection) -> Vec<(Name, Argument)> {
    let arguments = field.arguments.iter().flat_map(|arguments| arguments.into_iter());
    arguments
        .filter_map(|(name, value)| {
            let argument = match value {
                HiveValue::Variable(variable) => Argument::Variable(Name::new(variable)),
                HiveValue::String(text) => Argument::Constant(Value::String(text.clone())),
                HiveValue::Boolean(truth) => Argument::Constant(Value::Boolean(*truth)),
                _ => return None,
            };
            Some((Name::new(name), argument))
        })
        .collect()
}
