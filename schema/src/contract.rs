//! The API as each audience sees it: one schema for customers' programs, one for the bank's staff, one for those who run
//! the bank. Each has what the one before it has.
//!
//! Which field is in which follows from the field's own declaration ([`crate::access`]), travels as `@tag` through the
//! subgraphs and the supergraph, and is filtered here: fields of a larger contract go, and with them every type that
//! nothing leads to any more. A type that an interface of everybody leads to says itself whose it is (`tag`), and whatever
//! leads to it is in the same contract ([`crate::stitch::subgraph::sdl`]). The results are
//! `schema/sdl/api/<contract>.graphql`, from which clients generate their code. They hide nothing: who may ask is enforced by
//! the modules, whatever schema the caller has read.

use std::collections::{HashMap, HashSet};

use graphql_tools::static_graphql::schema::{Definition, Directive, Document, Field, Type, TypeDefinition};

use crate::stitch::{ApiSchema, OperationKind};

/// For whom a schema of the API is made, from the smallest to the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contract {
    /// Programs of customers: what takes no role, or being logged in.
    Customer,
    /// Programs of the bank's staff: everything about customers and their money, too.
    Staff,
    /// Programs of those who run the bank: the machinery, too.
    Internal,
}

impl Contract {
    pub const ALL: [Self; 3] = [Self::Customer, Self::Staff, Self::Internal];

    /// The name of its tag and of its file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Internal => "internal",
        }
    }

    /// The contract with this tag.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contract| contract.as_str() == name)
    }

    /// The first line of its file.
    const fn head(self) -> &'static str {
        match self {
            Self::Customer => "# The API for programs of customers.",
            Self::Staff => "# The API for programs of the bank's staff.",
            Self::Internal => "# The whole API, for programs of those who run the bank.",
        }
    }
}

/// The schema of a contract as text, without anything of federation in it.
pub fn sdl(schema: &ApiSchema, contract: Contract) -> String {
    let text = document(schema, contract).to_string();
    format!("{} Generated from the supergraph; a test compares it.\n\n{}\n", contract.head(), text.trim())
}

/// The schema of a contract.
pub fn document(schema: &ApiSchema, contract: Contract) -> Document {
    let mut document = schema.document().clone();
    document.definitions.retain_mut(|definition| match definition {
        Definition::TypeDefinition(definition) => keep_fields(schema, contract, definition),
        Definition::SchemaDefinition(_) => true,
        // Those every schema has.
        Definition::DirectiveDefinition(_) | Definition::TypeExtension(_) => false,
    });
    let reached = reached(schema, &document);
    document.definitions.retain_mut(|definition| match definition {
        Definition::TypeDefinition(definition) => reached.contains(definition.name()),
        Definition::SchemaDefinition(roots) => {
            for root in [&mut roots.query, &mut roots.mutation, &mut roots.subscription] {
                root.take_if(|name| !reached.contains(name));
            }
            true
        }
        _ => true,
    });
    document
}

/// Takes out of a type what belongs to larger contracts; `false` when nothing is left of it, or every schema has it.
fn keep_fields(schema: &ApiSchema, contract: Contract, definition: &mut TypeDefinition) -> bool {
    let name = definition.name().to_owned();
    if name.starts_with("__") || BUILT_IN.contains(&name.as_str()) {
        return false;
    }
    let keeps = |field: &Field| !field.name.starts_with("__") && schema.facts(&name, &field.name).contract <= contract;
    match definition {
        TypeDefinition::Object(object) => {
            object.fields.retain(keeps);
            object.directives.retain(is_standard);
            object.fields.iter_mut().for_each(plain);
            return !object.fields.is_empty();
        }
        TypeDefinition::Interface(interface) => {
            interface.fields.retain(keeps);
            interface.directives.retain(is_standard);
            interface.fields.iter_mut().for_each(plain);
            return !interface.fields.is_empty();
        }
        TypeDefinition::Union(union) => union.directives.retain(is_standard),
        TypeDefinition::Scalar(scalar) => scalar.directives.retain(is_standard),
        TypeDefinition::Enum(of) => {
            of.directives.retain(is_standard);
            of.values.iter_mut().for_each(|value| value.directives.retain(is_standard));
        }
        TypeDefinition::InputObject(input) => {
            input.directives.retain(is_standard);
            input.fields.iter_mut().for_each(|field| field.directives.retain(is_standard));
        }
    }
    true
}

const BUILT_IN: [&str; 5] = ["ID", "String", "Int", "Float", "Boolean"];

fn plain(field: &mut Field) {
    field.directives.retain(is_standard);
    field.arguments.iter_mut().for_each(|argument| argument.directives.retain(is_standard));
}

/// Whether a directive is one of GraphQL itself, and so means something to every client.
fn is_standard(directive: &Directive) -> bool {
    matches!(directive.name.as_str(), "deprecated" | "specifiedBy" | "oneOf")
}

/// The names of all types a client can meet, beginning with the roots.
fn reached(schema: &ApiSchema, document: &Document) -> HashSet<String> {
    let types = document.definitions.iter().filter_map(|definition| match definition {
        Definition::TypeDefinition(definition) => Some((definition.name(), definition)),
        _ => None,
    });
    let types: HashMap<&str, &TypeDefinition> = types.collect();
    let kinds = [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription];
    let mut waiting: Vec<String> = kinds.into_iter().filter_map(|kind| schema.root(kind)).map(str::to_owned).collect();
    let mut reached = HashSet::new();
    while let Some(name) = waiting.pop() {
        let Some(definition) = types.get(name.as_str()) else { continue };
        if !reached.insert(name.clone()) {
            continue;
        }
        match definition {
            TypeDefinition::Object(object) => {
                waiting.extend(object.implements_interfaces.iter().cloned());
                waiting.extend(object.fields.iter().flat_map(mentioned));
            }
            TypeDefinition::Interface(interface) => {
                waiting.extend(schema.possible(&name).into_iter().flat_map(|types| types.iter().cloned()));
                waiting.extend(interface.implements_interfaces.iter().cloned());
                waiting.extend(interface.fields.iter().flat_map(mentioned));
            }
            TypeDefinition::Union(union) => waiting.extend(union.types.iter().cloned()),
            TypeDefinition::InputObject(input) => {
                waiting.extend(input.fields.iter().map(|field| inner(&field.value_type).to_owned()));
            }
            TypeDefinition::Enum(_) | TypeDefinition::Scalar(_) => {}
        }
    }
    reached
}

/// The types a field's result and arguments are made of.
fn mentioned(field: &Field) -> impl Iterator<Item = String> {
    let arguments = field.arguments.iter().map(|argument| &argument.value_type);
    arguments.chain([&field.field_type]).map(|of| inner(of).to_owned())
}

fn inner(of: &Type) -> &str {
    match of {
        Type::NamedType(name) => name,
        Type::ListType(of) | Type::NonNullType(of) => inner(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::Catalog;

    const SUPERGRAPH: &str = r#"
        schema { query: Query mutation: Mutation }
        interface Node { id: ID! }
        type Account implements Node { id: ID! owner: User secret: Machine @tag(name: "internal") }
        type User { name: String @deprecated(reason: "use `id`") @cost(weight: 3) }
        type Machine { state: State! }
        type Finding implements Node @tag(name: "staff") { id: ID! severity: Severity! }
        enum Severity { LOW HIGH }
        enum State { ON OFF }
        input Order { state: State }
        type Query {
            node: Node @tag(name: "customer")
            users: [User!]! @tag(name: "staff")
            machine: Machine @tag(name: "internal")
        }
        type Mutation { switch(order: Order!): Machine @tag(name: "internal") }
    "#;

    fn written(contract: Contract) -> String {
        let document = graphql_tools::parser::parse_schema::<String>(SUPERGRAPH).expect("a schema").into_static();
        let schema = ApiSchema::new(&document, Catalog::of(&document));
        sdl(&schema, contract)
    }

    #[test]
    fn fields_of_a_larger_contract_go_with_everything_that_only_they_lead_to() {
        let customer = written(Contract::Customer);
        for gone in ["users", "machine", "Machine", "State", "Order", "secret", "switch"] {
            assert!(!customer.contains(gone), "{gone}: {customer}");
        }
        for there in ["interface Node", "type Account implements Node", "owner: User", "type User"] {
            assert!(customer.contains(there), "{there}: {customer}");
        }
        assert!(written(Contract::Staff).contains("users: [User!]!"));
        let internal = written(Contract::Internal);
        for there in ["machine: Machine", "enum State", "input Order", "switch(order: Order!): Machine"] {
            assert!(internal.contains(there), "{there}: {internal}");
        }
    }

    #[test]
    fn an_interface_of_everybody_leads_to_nothing_that_is_a_larger_contracts() {
        let customer = written(Contract::Customer);
        assert!(!customer.contains("Finding") && !customer.contains("Severity"), "{customer}");
        let staff = written(Contract::Staff);
        assert!(staff.contains("type Finding implements Node") && staff.contains("enum Severity"), "{staff}");
    }

    #[test]
    fn a_root_type_without_fields_is_not_declared() {
        let customer = written(Contract::Customer);
        assert!(!customer.contains("Mutation") && !customer.contains("mutation"), "{customer}");
    }

    #[test]
    fn only_the_directives_of_graphql_itself_are_told() {
        let internal = written(Contract::Internal);
        assert!(internal.contains("@deprecated"));
        assert!(!internal.contains("@tag") && !internal.contains("@cost"), "{internal}");
    }
}
