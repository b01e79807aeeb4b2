//! All subgraphs of the bank.

use crate::stitch::subgraph::{finish, sdl};
use crate::{account, auth, compliance, node, notification, operations, transaction};

/// What the planner plans over, composed from the subgraphs by `make gen`.
pub const SUPERGRAPH: &str = include_str!("../sdl/supergraph.graphql");

/// Each module's sub-schema as a federation subgraph. `schema/compose` makes the supergraph of them.
pub fn subgraph_sdls() -> Vec<(&'static str, String)> {
    vec![
        ("auth", sdl(&finish(auth::builder()))),
        ("account", sdl(&finish(account::builder()))),
        ("transaction", sdl(&finish(transaction::builder()))),
        ("notification", sdl(&finish(notification::builder()))),
        ("compliance", sdl(&finish(compliance::builder()))),
        ("node", sdl(&finish(node::builder()))),
        ("operations", sdl(&finish(operations::builder()))),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use graphql_tools::static_graphql::schema::{Definition, TypeDefinition};

    use super::*;
    use crate::access::{Access, Audience, Rule};
    use crate::stitch::Catalog;

    /// The rules of a module by field, in its own words.
    fn declared(sdl: &str) -> BTreeMap<(String, String), Rule> {
        let document = graphql_tools::parser::parse_schema::<String>(sdl).expect("a schema").into_static();
        let objects = document.definitions.into_iter().filter_map(|definition| match definition {
            Definition::TypeDefinition(TypeDefinition::Object(object)) => Some(object),
            _ => None,
        });
        let fields =
            objects.flat_map(|object| object.fields.into_iter().map(move |field| (object.name.clone(), field)));
        let rules = fields.filter_map(|(of, field)| {
            let rule = Access::rule_of(&field.directives)?.expect("a rule");
            Some(((of, field.name), rule))
        });
        rules.collect()
    }

    #[test]
    fn the_supergraph_says_of_every_field_what_its_module_enforces() {
        let document = graphql_tools::parser::parse_schema::<String>(SUPERGRAPH).expect("a schema").into_static();
        let catalog = Catalog::of(&document);
        let modules = [
            finish(auth::builder()).sdl(),
            finish(account::builder()).sdl(),
            finish(transaction::builder()).sdl(),
            finish(notification::builder()).sdl(),
            finish(compliance::builder()).sdl(),
            finish(node::builder()).sdl(),
            finish(operations::builder()).sdl(),
        ];
        let declared: BTreeMap<_, _> = modules.iter().flat_map(|sdl| declared(sdl)).collect();
        assert!(declared.len() > 50, "{}", declared.len());
        for ((of, field), rule) in declared {
            let enforced = (rule.audience != Audience::Anyone).then_some((rule.audience, rule.recorded));
            let told = catalog.facts(&of, &field).rule().map(|rule| (rule.audience, rule.recorded));
            assert_eq!(told, enforced, "{of}.{field}");
        }
    }
}
