//! Operations that together take every path through the API: a supergraph over which all of them can be planned has no
//! field that a client can come to and nobody can answer there.
//!
//! Who can be asked for a field depends on who answered the fields above it. So it is not enough to come to a type once
//! below each root field: a path is followed until it goes through a field for the second time. Such paths become many
//! more with every field that leads from one entity to another, so they are for tests; no bank plans them when it starts.

use std::collections::VecDeque;
use std::fmt::Write as _;

use graphql_tools::static_graphql::schema::{Field, TypeDefinition};

use super::api_schema::{ApiSchema, OperationKind, type_text};
use super::projection::TYPENAME;

/// One operation per path from a root field to a type, each selecting all fields of that type that have no fields
/// themselves; those that have some begin further paths. They are for planning only: required arguments are variables
/// without values.
pub fn every_path(schema: &ApiSchema, kind: OperationKind) -> Vec<String> {
    let Some(root) = schema.root(kind) else { return Vec::new() };
    let fields = fields(schema, root);
    fields.iter().flat_map(|field| below(schema, kind, (root, field))).collect()
}

/// A way from a root field to a type: what stands before and after the selection of the type's fields.
struct Way<'a> {
    type_name: &'a str,
    /// The fields it goes through, each with its type. What a type is narrowed to belongs to the field that leads there.
    through: Vec<(&'a str, &'a str)>,
    open: String,
    close: String,
    variables: String,
}

fn below(schema: &ApiSchema, kind: OperationKind, (root_type, root): (&str, &Field)) -> Vec<String> {
    let start = Way {
        type_name: root_type,
        through: Vec::new(),
        open: "{ ".into(),
        close: " }".into(),
        variables: String::new(),
    };
    if !is_composite(schema, root) {
        return vec![start.operation(kind, &[root])];
    }
    let mut operations = Vec::new();
    // The shorter ones first, as they are the easier to read when they cannot be planned.
    let mut ways = VecDeque::from([start.through(root)]);
    while let Some(way) = ways.pop_front() {
        if way.is_abstract_in(schema) {
            let possible = schema.possible(way.type_name).map(|types| types.iter().collect::<Vec<_>>());
            ways.extend(possible.into_iter().flatten().map(|name| way.narrowed(name)));
        }
        let fields = fields(schema, way.type_name);
        let (composite, leaves): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| is_composite(schema, field));
        operations.push(way.operation(kind, &leaves));
        if !way.goes_in_a_circle() {
            ways.extend(composite.into_iter().map(|field| way.through(field)));
        }
    }
    operations
}

fn is_composite(schema: &ApiSchema, field: &Field) -> bool {
    schema.named(field.field_type.inner_type()).is_some_and(TypeDefinition::is_composite_type)
}

fn fields<'a>(schema: &'a ApiSchema, type_name: &str) -> Vec<&'a Field> {
    let fields = match schema.named(type_name) {
        Some(TypeDefinition::Object(object)) => &object.fields[..],
        Some(TypeDefinition::Interface(interface)) => &interface.fields[..],
        _ => &[],
    };
    fields.iter().filter(|field| !field.name.starts_with("__")).collect()
}

impl<'a> Way<'a> {
    fn is_abstract_in(&self, schema: &ApiSchema) -> bool {
        matches!(schema.named(self.type_name), Some(TypeDefinition::Interface(_) | TypeDefinition::Union(_)))
    }

    /// Whether it came through its last field before. All that is below that was found the first time.
    fn goes_in_a_circle(&self) -> bool {
        self.through.split_last().is_some_and(|(last, before)| before.contains(last))
    }

    fn through(&self, field: &'a Field) -> Self {
        let mut variables = self.variables.clone();
        let name = call(field, &mut variables);
        let mut through = self.through.clone();
        through.push((self.type_name, &field.name));
        Way {
            type_name: field.field_type.inner_type(),
            through,
            open: format!("{}{name} {{ ", self.open),
            close: format!(" }}{}", self.close),
            variables,
        }
    }

    fn narrowed(&self, type_name: &'a str) -> Self {
        Way {
            type_name,
            through: self.through.clone(),
            open: format!("{}... on {type_name} {{ ", self.open),
            close: format!(" }}{}", self.close),
            variables: self.variables.clone(),
        }
    }

    fn operation(&self, kind: OperationKind, leaves: &[&Field]) -> String {
        let mut variables = self.variables.clone();
        let mut selection: Vec<_> = leaves.iter().map(|field| call(field, &mut variables)).collect();
        if selection.is_empty() {
            selection.push(TYPENAME.to_owned());
        }
        let selection = selection.join(" ");
        let variables = if variables.is_empty() { String::new() } else { format!("({variables})") };
        let (open, close) = (&self.open, &self.close);
        format!("{}{variables} {open}{selection}{close}", kind.as_str())
    }
}

/// The field with its required arguments, each from a variable of its own.
fn call(field: &Field, variables: &mut String) -> String {
    let mut arguments = String::new();
    for argument in field.arguments.iter().filter(|argument| argument.is_required()) {
        let number = variables.matches('$').count();
        let _ = write!(variables, "$v{number}: {} ", type_text(&argument.value_type));
        let _ = write!(arguments, "{}: $v{number} ", argument.name);
    }
    if arguments.is_empty() { field.name.clone() } else { format!("{}({})", field.name, arguments.trim_end()) }
}
