//! What the supergraph says about fields beyond their types: who owns them, who may ask for them, what they cost.

use std::collections::HashMap;

use graphql_tools::static_graphql::schema::{Definition, Directive, Document, Field, TypeDefinition, Value};

use crate::access::{RECORDED, Rule, Size, only, signed_in};
use crate::contract::Contract;
use crate::upload::UploadLimit;

/// About one field.
#[derive(Debug, Clone, Copy)]
pub struct FieldFacts<'a> {
    /// The modules that answer it, in the order of their names.
    pub owners: &'a [String],
    /// Whether somebody has to be logged in.
    pub authenticated: bool,
    /// One of these scopes, which are roles, is needed; all may when there are none.
    pub scopes: &'a [String],
    /// Whether the module records who asks without such a role, and so has to be asked.
    pub recorded: bool,
    /// Points for the field itself, where they are declared.
    pub cost: Option<u32>,
    pub size: Size,
    /// The smallest contract that has the field and its type. A field without a tag goes wherever its type goes.
    pub contract: Contract,
    /// The files that come with a mutation.
    pub upload: UploadLimit,
}

impl FieldFacts<'_> {
    /// The rule by which the module lets people in; `None` where everybody may ask, or where the supergraph names a role
    /// that is none of the bank's.
    pub fn rule(&self) -> Option<Rule> {
        if !self.authenticated {
            return None;
        }
        let roles: Vec<_> = self.scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>().ok()?;
        let rule = if roles.is_empty() { signed_in() } else { only(&roles) };
        Some(if self.recorded { rule.recorded() } else { rule })
    }
}

#[derive(Debug)]
struct Stored {
    owners: Vec<String>,
    authenticated: bool,
    scopes: Vec<String>,
    recorded: bool,
    cost: Option<u32>,
    size: Size,
    contract: Contract,
    upload: UploadLimit,
}

/// All fields of all object and interface types.
#[derive(Debug, Default)]
pub struct Catalog(HashMap<String, HashMap<String, Stored>>);

impl Catalog {
    /// Reads a supergraph.
    pub fn of(supergraph: &Document) -> Self {
        let graphs = graphs(supergraph);
        let mut types = HashMap::new();
        for definition in &supergraph.definitions {
            let Definition::TypeDefinition(definition) = definition else { continue };
            let (name, directives, fields) = match definition {
                TypeDefinition::Object(object) => (&object.name, &object.directives, &object.fields),
                TypeDefinition::Interface(interface) => (&interface.name, &interface.directives, &interface.fields),
                _ => continue,
            };
            let all: Vec<String> = owners(directives, "join__type", &graphs);
            let least = contract(directives);
            let fields = fields.iter().map(|field| (field.name.clone(), Stored::of(field, &all, least, &graphs)));
            types.insert(name.clone(), fields.collect());
        }
        Self(types)
    }

    /// The facts of a field; of one that is not in the supergraph nothing is known.
    pub fn facts(&self, type_name: &str, field: &str) -> FieldFacts<'_> {
        match self.0.get(type_name).and_then(|fields| fields.get(field)) {
            Some(Stored { owners, authenticated, scopes, recorded, cost, size, contract, upload }) => FieldFacts {
                owners,
                authenticated: *authenticated,
                scopes,
                recorded: *recorded,
                cost: *cost,
                size: *size,
                contract: *contract,
                upload: *upload,
            },
            None => FieldFacts {
                owners: &[],
                authenticated: false,
                scopes: &[],
                recorded: false,
                cost: None,
                size: Size::One,
                contract: Contract::Customer,
                upload: UploadLimit::NONE,
            },
        }
    }
}

impl Stored {
    /// With the owners and the contract of the type it is a field of.
    fn of(field: &Field, all: &[String], least: Contract, graphs: &HashMap<String, String>) -> Self {
        let mut owners = owners(&field.directives, "join__field", graphs);
        if owners.is_empty() {
            owners = all.to_vec();
        }
        Self {
            owners,
            authenticated: named(&field.directives, "authenticated").next().is_some(),
            scopes: scopes(&field.directives),
            recorded: tags(&field.directives).any(|tag| tag == RECORDED),
            cost: named(&field.directives, "cost").find_map(|cost| number(cost, "weight")),
            size: size(&field.directives),
            contract: contract(&field.directives).max(least),
            upload: tags(&field.directives).find_map(UploadLimit::of_tag).unwrap_or(UploadLimit::NONE),
        }
    }
}

fn named<'a>(directives: &'a [Directive], name: &'a str) -> impl Iterator<Item = &'a Directive> {
    directives.iter().filter(move |directive| directive.name == name)
}

fn argument<'a>(directive: &'a Directive, name: &str) -> Option<&'a Value> {
    directive.arguments.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn number(directive: &Directive, name: &str) -> Option<u32> {
    match argument(directive, name)? {
        Value::Int(number) => number.as_i64().and_then(|number| u32::try_from(number).ok()),
        _ => None,
    }
}

fn scopes(directives: &[Directive]) -> Vec<String> {
    let mut scopes = Vec::new();
    for directive in named(directives, "requiresScopes") {
        let Some(Value::List(alternatives)) = argument(directive, "scopes") else { continue };
        for alternative in alternatives {
            let Value::List(all) = alternative else { continue };
            scopes.extend(all.iter().filter_map(|scope| match scope {
                Value::String(scope) => Some(scope.clone()),
                _ => None,
            }));
        }
    }
    scopes
}

fn tags(directives: &[Directive]) -> impl Iterator<Item = &str> {
    named(directives, "tag").filter_map(|tag| match argument(tag, "name") {
        Some(Value::String(name)) => Some(name.as_str()),
        _ => None,
    })
}

fn contract(directives: &[Directive]) -> Contract {
    tags(directives).filter_map(Contract::named).max().unwrap_or(Contract::Customer)
}

fn size(directives: &[Directive]) -> Size {
    let Some(directive) = named(directives, "listSize").next() else { return Size::One };
    match (number(directive, "assumedSize"), argument(directive, "slicingArguments")) {
        (Some(items), _) => Size::About(items),
        (None, Some(_)) => Size::Page,
        (None, None) => Size::One,
    }
}

/// The names of the subgraphs by what the join directives call them.
fn graphs(supergraph: &Document) -> HashMap<String, String> {
    let values = supergraph.definitions.iter().filter_map(|definition| match definition {
        Definition::TypeDefinition(TypeDefinition::Enum(graphs)) if graphs.name == "join__Graph" => {
            Some(&graphs.values)
        }
        _ => None,
    });
    let name = |directives: &[Directive]| {
        named(directives, "join__graph").find_map(|directive| match argument(directive, "name") {
            Some(Value::String(name)) => Some(name.clone()),
            _ => None,
        })
    };
    values.flatten().filter_map(|value| Some((value.name.clone(), name(&value.directives)?))).collect()
}

fn owners(directives: &[Directive], join: &str, graphs: &HashMap<String, String>) -> Vec<String> {
    let mut owners: Vec<String> = named(directives, join)
        .filter(|directive| !matches!(argument(directive, "external"), Some(Value::Boolean(true))))
        .filter_map(|directive| match argument(directive, "graph") {
            Some(Value::Enum(graph)) => graphs.get(graph).cloned(),
            _ => None,
        })
        .collect();
    owners.sort();
    owners.dedup();
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_scopes_cost_and_size_come_from_the_supergraph_of_the_bank() {
        let document = graphql_tools::parser::parse_schema::<String>(crate::modules::SUPERGRAPH);
        let catalog = Catalog::of(&document.expect("a schema").into_static());
        let accounts = catalog.facts("Query", "accounts");
        assert_eq!(
            (accounts.owners, accounts.authenticated, accounts.size),
            (&["account".to_owned()][..], true, Size::Page)
        );
        let deposit = catalog.facts("Mutation", "depositRecord");
        assert_eq!((deposit.scopes, deposit.cost), (&["OPERATOR".to_owned()][..], Some(10)));
        assert_eq!((accounts.contract, deposit.contract), (Contract::Customer, Contract::Staff));
        assert!(!catalog.facts("Mutation", "login").authenticated);
        assert!(deposit.recorded && !catalog.facts("Mutation", "parkedSkip").recorded);
        assert_eq!(catalog.facts("Account", "number").owners, ["account"]);
        assert_eq!(catalog.facts("Query", "internalAccounts").size, Size::About(30));
        assert!(catalog.facts("Nothing", "nothing").owners.is_empty());
    }
}
