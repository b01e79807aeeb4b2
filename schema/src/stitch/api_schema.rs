//! The schema clients see, indexed for what every request asks of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use graphql_tools::static_graphql::query::OperationDefinition;
use graphql_tools::static_graphql::schema::{Definition, Document, Field, InputValue, Type, TypeDefinition};

use super::catalog::{Catalog, FieldFacts};
use crate::upload::UploadLimit;

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    Query,
    Mutation,
    Subscription,
}

impl OperationKind {
    pub const fn of(operation: &OperationDefinition) -> Self {
        match operation {
            OperationDefinition::SelectionSet(_) | OperationDefinition::Query(_) => Self::Query,
            OperationDefinition::Mutation(_) => Self::Mutation,
            OperationDefinition::Subscription(_) => Self::Subscription,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

/// What a field costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Points {
    /// The field itself.
    pub own: u32,
    /// Each item, where it is a list.
    pub item: u32,
}

/// The composed schema without its federation machinery, with the introspection types.
pub struct ApiSchema {
    document: Document,
    types: HashMap<String, usize>,
    possible: HashMap<String, Arc<BTreeSet<String>>>,
    catalog: Catalog,
}

impl ApiSchema {
    pub fn new(document: &Document, catalog: Catalog) -> Self {
        let mut document = document.clone();
        // The planner's own list of what is federation's ends with version 0.3 of its directives.
        document.definitions.retain(|definition| match definition {
            Definition::TypeDefinition(definition) => !definition.name().starts_with("join__"),
            _ => true,
        });
        let mut types = HashMap::new();
        let mut possible: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (index, definition) in document.definitions.iter().enumerate() {
            let Definition::TypeDefinition(definition) = definition else { continue };
            types.insert(definition.name().to_owned(), index);
            match definition {
                TypeDefinition::Object(object) => {
                    for interface in &object.implements_interfaces {
                        possible.entry(interface.clone()).or_default().insert(object.name.clone());
                    }
                    possible.entry(object.name.clone()).or_default().insert(object.name.clone());
                }
                TypeDefinition::Union(union) => {
                    possible.entry(union.name.clone()).or_default().extend(union.types.iter().cloned());
                }
                _ => {}
            }
        }
        let possible = possible.into_iter().map(|(name, types)| (name, Arc::new(types))).collect();
        Self { document, types, possible, catalog }
    }

    pub fn document(&self) -> &Document {
        &self.document
    }

    /// What the supergraph says about a field beyond its type.
    pub fn facts(&self, type_name: &str, field: &str) -> FieldFacts<'_> {
        self.catalog.facts(type_name, field)
    }

    /// A field has the points it declares. Without a declaration an object with an id is a point, and a value that comes
    /// with the object it belongs to (an amount, a balance) is free. Each item of a list is a point besides; the edges of
    /// a connection are not, as their nodes are.
    pub fn points(&self, type_name: &str, field: &Field) -> Points {
        let inner = field.field_type.inner_type();
        let leaf = self.named(inner).is_some_and(TypeDefinition::is_leaf_type);
        let list = is_list(&field.field_type);
        // The node of an edge is an object of its own whatever it is called by.
        let is_object = self.field(inner, "id").is_some() || type_name.ends_with("Edge");
        let declared = self.facts(type_name, &field.name).cost;
        Points {
            own: declared.unwrap_or(u32::from(!leaf && !list && is_object)),
            item: u32::from(list && !leaf && !inner.ends_with("Edge")),
        }
    }

    /// The files that come with a mutation.
    pub fn upload(&self, mutation: &str) -> UploadLimit {
        self.root(OperationKind::Mutation).map_or(UploadLimit::NONE, |root| self.facts(root, mutation).upload)
    }

    /// Bytes of the files that come with any mutation at most.
    pub fn largest_upload(&self) -> usize {
        let root = self.root(OperationKind::Mutation).and_then(|root| self.named(root));
        let Some(TypeDefinition::Object(root)) = root else { return 0 };
        root.fields.iter().map(|field| self.upload(&field.name).bytes_in_all()).max().unwrap_or(0)
    }

    /// The definition of a type.
    pub fn named(&self, name: &str) -> Option<&TypeDefinition> {
        match self.document.definitions.get(*self.types.get(name)?)? {
            Definition::TypeDefinition(definition) => Some(definition),
            _ => None,
        }
    }

    /// All type definitions in the order of the schema.
    pub fn all(&self) -> impl Iterator<Item = &TypeDefinition> {
        self.document.definitions.iter().filter_map(|definition| match definition {
            Definition::TypeDefinition(definition) => Some(definition),
            _ => None,
        })
    }

    /// The name of the root type of this kind of operation.
    pub fn root(&self, kind: OperationKind) -> Option<&str> {
        let name = match kind {
            OperationKind::Query => self.document.query_type_name(),
            OperationKind::Mutation => self.document.mutation_type_name(),
            OperationKind::Subscription => self.document.subscription_type_name(),
        };
        name.map(String::as_str)
    }

    /// A field of an object or interface type.
    pub fn field(&self, type_name: &str, field: &str) -> Option<&Field> {
        self.named(type_name)?.field_by_name(field)
    }

    /// The object types a value of this type can have: itself for an object, the members of a union, the
    /// implementations of an interface.
    pub fn possible(&self, type_name: &str) -> Option<&Arc<BTreeSet<String>>> {
        self.possible.get(type_name)
    }

    /// The fields of an input object type.
    pub fn input_fields(&self, type_name: &str) -> Option<&[InputValue]> {
        match self.named(type_name)? {
            TypeDefinition::InputObject(input) => Some(&input.fields),
            _ => None,
        }
    }
}

/// How a type is written: `[Account!]!`.
pub fn type_text(of: &Type) -> String {
    of.to_string()
}

fn is_list(of: &Type) -> bool {
    match of {
        Type::ListType(_) => true,
        Type::NonNullType(inner) => is_list(inner),
        Type::NamedType(_) => false,
    }
}
