//! What people are told about the API: the reference `docs/graphql-api.md`, and the modules' panel of GraphiQL.

use std::fmt::Write as _;

use graphql_tools::static_graphql::schema::{Field, TypeDefinition};
use serde::Serialize;

use crate::access::Size;
use crate::stitch::{ApiSchema, FieldFacts, OperationKind};
use crate::upload::UploadLimit;

/// One root field with what it takes to ask for it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootField {
    pub module: String,
    pub kind: &'static str,
    pub name: String,
    /// As written in the schema, with arguments and type.
    pub signature: String,
    pub description: String,
    /// `anybody`, `logged in`, or roles.
    pub access: String,
    /// Points, without what is selected below it.
    pub cost: u32,
    /// How the cost grows with the answer.
    pub size: String,
    /// The smallest of the API's schemas that has it: `customer`, `staff` or `internal`.
    pub audience: &'static str,
    pub deprecated: Option<String>,
}

/// An object type and who answers for its fields.
#[derive(Debug, Clone, Serialize)]
pub struct TypeOfModules {
    pub name: String,
    pub description: String,
    pub fields: Vec<FieldOfType>,
}

/// One field of an object.
#[derive(Debug, Clone, Serialize)]
pub struct FieldOfType {
    /// The modules that answer it, in the order of their names.
    pub modules: Vec<String>,
    /// As written in the schema, with arguments and type.
    pub signature: String,
    pub description: String,
    /// Who may ask for it where not everybody may who sees the object.
    pub access: Option<String>,
    /// Points, without what is selected below it.
    pub cost: u32,
    /// How the cost grows with the answer.
    pub size: String,
    pub deprecated: Option<String>,
}

const KINDS: [OperationKind; 3] = [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription];

/// All root fields, by module, kind and name.
pub fn root_fields(schema: &ApiSchema) -> Vec<RootField> {
    let mut all = Vec::new();
    for kind in KINDS {
        let Some(root) = schema.root(kind) else { continue };
        let Some(TypeDefinition::Object(object)) = schema.named(root) else { continue };
        for field in object.fields.iter().filter(|field| !field.name.starts_with("__")) {
            all.push(RootField::of(schema, kind, root, field));
        }
    }
    let order = |field: &RootField| (field.module.clone(), KINDS.iter().position(|kind| kind.as_str() == field.kind));
    all.sort_by(|one, other| order(one).cmp(&order(other)).then_with(|| one.name.cmp(&other.name)));
    all
}

impl RootField {
    fn of(schema: &ApiSchema, kind: OperationKind, root: &str, field: &Field) -> Self {
        let facts = schema.facts(root, &field.name);
        Self {
            module: facts.owners.join(", "),
            kind: kind.as_str(),
            name: field.name.clone(),
            signature: signature(field),
            description: line(field.description.as_deref()) + &files(facts.upload),
            access: access(&facts),
            cost: schema.points(root, field).own,
            size: size(&facts),
            audience: facts.contract.as_str(),
            deprecated: deprecation(field),
        }
    }
}

fn size(facts: &FieldFacts<'_>) -> String {
    match facts.size {
        Size::One => String::new(),
        Size::Page => "per node of the page".to_owned(),
        Size::About(items) => format!("counted as {items} items"),
    }
}

/// Who may ask for all of these fields of a root at once, as for one; `None` when nobody may.
pub fn access_to_all(schema: &ApiSchema, kind: OperationKind, fields: &[String]) -> Option<String> {
    let facts: Vec<_> = fields.iter().map(|field| schema.facts(schema.root(kind).unwrap_or_default(), field)).collect();
    let mut narrowed = facts.iter().filter(|facts| !facts.scopes.is_empty());
    let Some(first) = narrowed.next() else {
        return Some(access_by(facts.iter().any(|facts| facts.authenticated), &[]));
    };
    let mut roles = first.scopes.to_vec();
    narrowed.for_each(|facts| roles.retain(|role| facts.scopes.contains(role)));
    (!roles.is_empty()).then(|| access_by(true, &roles))
}

fn access(facts: &FieldFacts<'_>) -> String {
    access_by(facts.authenticated, facts.scopes)
}

fn access_by(authenticated: bool, roles: &[String]) -> String {
    match (authenticated, roles) {
        (false, _) => "anybody".to_owned(),
        (true, []) => "logged in".to_owned(),
        (true, roles) => roles.join(" or "),
    }
}

fn files(UploadLimit { files, bytes }: UploadLimit) -> String {
    match files {
        0 => String::new(),
        1 => format!(" One file of at most {bytes} bytes."),
        _ => format!(" At most {files} files of {bytes} bytes each."),
    }
}

/// The objects of the API with who answers for their fields, without the roots and without what stands around lists.
pub fn types(schema: &ApiSchema) -> Vec<TypeOfModules> {
    let roots: Vec<_> = KINDS.into_iter().filter_map(|kind| schema.root(kind)).collect();
    let objects = schema.all().filter_map(|definition| match definition {
        TypeDefinition::Object(object) => Some(object),
        _ => None,
    });
    let shown = objects.filter(|object| {
        let around = ["Connection", "Edge", "Payload", "UserError"];
        let name = object.name.as_str();
        !name.starts_with("__") && !roots.contains(&name) && !around.iter().any(|end| name.ends_with(end))
    });
    let mut types: Vec<_> = shown
        .map(|object| TypeOfModules {
            name: object.name.clone(),
            description: line(object.description.as_deref()),
            fields: object.fields.iter().map(|field| FieldOfType::of(schema, &object.name, field)).collect(),
        })
        .collect();
    types.sort_by(|one, other| one.name.cmp(&other.name));
    types
}

impl FieldOfType {
    fn of(schema: &ApiSchema, of: &str, field: &Field) -> Self {
        let facts = schema.facts(of, &field.name);
        Self {
            modules: facts.owners.to_vec(),
            signature: signature(field),
            description: line(field.description.as_deref()),
            access: facts.authenticated.then(|| access(&facts)),
            cost: schema.points(of, field).own,
            size: size(&facts),
            deprecated: deprecation(field),
        }
    }
}

fn signature(field: &Field) -> String {
    let arguments: Vec<_> =
        field.arguments.iter().map(|input| format!("{}: {}", input.name, input.value_type)).collect();
    let arguments = if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
    format!("{}{arguments}: {}", field.name, field.field_type)
}

fn deprecation(field: &Field) -> Option<String> {
    let directive = field.directives.iter().find(|directive| directive.name == "deprecated")?;
    let reason = directive.arguments.first().map(|(_, reason)| reason.to_string().trim_matches('"').to_owned());
    Some(reason.unwrap_or_else(|| "no longer supported".to_owned()))
}

fn line(description: Option<&str>) -> String {
    description.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The reference as Markdown.
pub fn page(schema: &ApiSchema) -> String {
    let mut page = String::from(
        "# The GraphQL API\n\nGenerated from the supergraph; a test compares it. [Errors](errors.md) are on a page of their own.\n\n\
         *Access* is who may ask for a field; staff roles see other people's objects, everybody else their own. *Cost* is in \
         points: those of the field, and of what is selected below it. An object with an id is a point, each item of a list is \
         one, amounts and balances are free. `extensions.cost` tells what an operation came to.\n",
    );
    let mut module = String::new();
    for field in root_fields(schema) {
        if field.module != module {
            module.clone_from(&field.module);
            let _ = write!(page, "\n## {module}\n\n| field | access | cost | |\n|---|---|---|---|\n");
        }
        let cost =
            if field.size.is_empty() { field.cost.to_string() } else { format!("{}, {}", field.cost, field.size) };
        let deprecated = field.deprecated.map(|reason| format!(" **Deprecated**: {reason}")).unwrap_or_default();
        let (kind, signature, access) = (field.kind, field.signature, field.access);
        let _ = writeln!(page, "| {kind} `{signature}` | {access} | {cost} | {}{deprecated} |", field.description);
    }
    page.push_str("\n## Types\n");
    for definition in schema.all().filter(|definition| !definition.name().starts_with("__")) {
        type_section(schema, definition, &mut page);
    }
    page
}

fn type_section(schema: &ApiSchema, definition: &TypeDefinition, page: &mut String) {
    let name = definition.name();
    if KINDS.iter().any(|kind| schema.root(*kind) == Some(name)) {
        return;
    }
    match definition {
        TypeDefinition::Object(object) => {
            head(page, "type", name, object.description.as_deref());
            let told = |field: &Field| line(field.description.as_deref()) + &price(schema, name, field);
            rows(page, object.fields.iter().map(|field| (signature(field), told(field))));
        }
        TypeDefinition::Interface(interface) => {
            head(page, "interface", name, interface.description.as_deref());
            rows(page, interface.fields.iter().map(|field| (signature(field), line(field.description.as_deref()))));
        }
        TypeDefinition::InputObject(input) => {
            head(page, "input", name, input.description.as_deref());
            let fields = input.fields.iter();
            rows(
                page,
                fields
                    .map(|field| (format!("{}: {}", field.name, field.value_type), line(field.description.as_deref()))),
            );
        }
        TypeDefinition::Enum(values) => {
            head(page, "enum", name, values.description.as_deref());
            let each = values.values.iter();
            rows(page, each.map(|value| (value.name.clone(), line(value.description.as_deref()))));
        }
        TypeDefinition::Scalar(scalar) => head(page, "scalar", name, scalar.description.as_deref()),
        TypeDefinition::Union(union) => {
            head(page, "union", name, union.description.as_deref());
            rows(page, union.types.iter().map(|member| (member.clone(), String::new())));
        }
    }
}

/// What is said of a field that is not free.
fn price(schema: &ApiSchema, of: &str, field: &Field) -> String {
    match schema.points(of, field).own {
        0 => String::new(),
        1 => " (1 point)".to_owned(),
        points => format!(" ({points} points)"),
    }
}

fn head(page: &mut String, kind: &str, name: &str, description: Option<&str>) {
    let _ = write!(page, "\n### {kind} {name}\n\n");
    let description = line(description);
    if !description.is_empty() {
        let _ = write!(page, "{description}\n\n");
    }
}

fn rows(page: &mut String, rows: impl Iterator<Item = (String, String)>) {
    for (signature, description) in rows {
        let separator = if description.is_empty() { "" } else { ": " };
        let _ = writeln!(page, "- `{signature}`{separator}{description}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::Catalog;

    const SUPERGRAPH: &str = r#"
        schema { query: Query }
        type Account {
            id: ID!
            balance: Int @deprecated(reason: "since 2026-11; remove after 2027-05; use `posted`")
            posted: Int
        }
        type Query {
            hello: String
            account: Account @authenticated @deprecated(reason: "since 2026-11; remove after 2027-05; use `accounts`")
            audit: Int @authenticated @requiresScopes(scopes: [["OFFICER"], ["ADMIN"]])
            books: Int @authenticated @requiresScopes(scopes: [["OPERATOR"], ["ADMIN"]])
            machine: Int @authenticated @requiresScopes(scopes: [["OPERATOR"]])
        }
    "#;

    fn schema() -> ApiSchema {
        let document = graphql_tools::parser::parse_schema::<String>(SUPERGRAPH).expect("a schema").into_static();
        ApiSchema::new(&document, Catalog::of(&document))
    }

    #[test]
    fn what_is_deprecated_says_what_takes_its_place() {
        let fields = root_fields(&schema());
        let root = fields.iter().find(|field| field.name == "account").and_then(|field| field.deprecated.as_deref());
        assert_eq!(root, Some("since 2026-11; remove after 2027-05; use `accounts`"));
        let types = types(&schema());
        let field = types[0].fields.iter().find_map(|field| field.deprecated.as_deref());
        assert_eq!(field, Some("since 2026-11; remove after 2027-05; use `posted`"));
    }

    #[test]
    fn several_fields_are_open_to_whom_each_of_them_is() {
        let schema = schema();
        let access = |fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
            access_to_all(&schema, OperationKind::Query, &fields)
        };
        assert_eq!(access(&["hello"]).as_deref(), Some("anybody"));
        assert_eq!(access(&["hello", "account"]).as_deref(), Some("logged in"));
        assert_eq!(access(&["account", "audit"]).as_deref(), Some("OFFICER or ADMIN"));
        assert_eq!(access(&["audit", "books"]).as_deref(), Some("ADMIN"));
        assert_eq!(access(&["audit", "machine"]), None);
    }
}
