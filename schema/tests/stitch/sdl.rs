//! What is generated is committed, and stale text is found without Node.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use graphql_tools::static_graphql::schema::{Definition, Document, TypeDefinition};
use vostro_schema::contract::{self, Contract};
use vostro_schema::stitch::{Engine, OperationKind, sdl, subgraph};

use crate::fixture::{Calls, accounts, payments, people};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn subgraphs() -> Vec<(&'static str, String)> {
    vec![
        ("accounts", subgraph::sdl(&accounts::schema(Arc::new(Calls::default())))),
        ("payments", subgraph::sdl(&payments::schema())),
        ("people", subgraph::sdl(&people::schema())),
    ]
}

#[test]
fn the_fixture_is_committed_as_its_code_writes_it() {
    sdl::assert_committed(&fixtures(), &subgraphs());
}

#[test]
fn a_changed_subgraph_makes_the_supergraph_stale() {
    let mut changed = subgraphs();
    changed[0].1.push('\n');
    let supergraph = std::fs::read_to_string(fixtures().join("supergraph.graphql")).unwrap();
    assert_eq!(sdl::check_fresh(&supergraph, &subgraphs()), Ok(()));
    assert!(sdl::check_fresh(&supergraph, &changed).is_err());
}

#[test]
fn the_banks_subgraphs_are_committed_as_their_code_writes_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sdl");
    sdl::assert_committed(&folder, &vostro_schema::modules::subgraph_sdls());
}

/// Compares a page of the documentation with what the code writes, or writes it.
fn assert_page(file: &str, page: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/{file} is not what the code writes; run the test with UPDATE_GOLDEN=1");
}

#[test]
fn the_page_of_errors_lists_every_code() {
    assert_page("errors.md", &vostro_schema::errors_page::page(vostro_schema::modules::SUPERGRAPH));
}

#[test]
fn the_reference_is_what_the_supergraph_says() {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    assert_page("graphql-api.md", &vostro_schema::reference::page(engine.planner().api_schema()));
}

#[test]
fn the_api_of_each_audience_is_committed() {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sdl").join(sdl::API);
    let schema = engine.planner().api_schema();
    sdl::assert_files(&folder, &Contract::ALL.map(|contract| (contract.as_str(), contract::sdl(schema, contract))));
}

#[test]
fn customers_are_told_of_nothing_that_takes_a_role_and_staff_of_no_machinery() {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    let schema = engine.planner().api_schema();
    let [customer, staff, internal] = Contract::ALL.map(|contract| fields(&contract::document(schema, contract)));
    assert!(customer.is_subset(&staff) && staff.is_subset(&internal));
    let scopes = |(of, field): &(String, String)| schema.facts(of, field).scopes;
    assert!(customer.iter().all(|field| scopes(field).is_empty()));
    assert!(staff.difference(&customer).any(|field| !scopes(field).is_empty()));
    assert!(staff.iter().all(|(of, field)| schema.facts(of, field).owners != ["operations"]));
    let whole = fields(schema.document());
    let lost: Vec<_> = whole.difference(&internal).collect();
    assert!(lost.is_empty(), "the whole API lacks {lost:?}");
}

/// Type and name of every field clients can select, without those of introspection.
fn fields(document: &Document) -> BTreeSet<(String, String)> {
    let types = document.definitions.iter().filter_map(|definition| match definition {
        Definition::TypeDefinition(TypeDefinition::Object(object)) => Some((&object.name, &object.fields)),
        Definition::TypeDefinition(TypeDefinition::Interface(interface)) => Some((&interface.name, &interface.fields)),
        _ => None,
    });
    types
        .filter(|(name, _)| !name.starts_with("__"))
        .flat_map(|(name, fields)| fields.iter().map(move |field| (name.clone(), field.name.clone())))
        .filter(|(_, field)| !field.starts_with("__"))
        .collect()
}

#[test]
fn every_root_field_declares_who_may_ask_and_stays_alone_when_they_may_not() {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    let schema = engine.planner().api_schema();
    for kind in [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription] {
        let root = schema.root(kind).unwrap();
        for field in vostro_schema::reference::root_fields(schema).iter().filter(|field| field.kind == kind.as_str()) {
            let facts = schema.facts(root, &field.name);
            assert!(facts.cost.is_some(), "{root}.{} has no declaration", field.name);
            // A subscription has one root field, and so no siblings.
            let alone = kind == OperationKind::Subscription || !field.signature.ends_with('!');
            assert!(alone, "{root}.{} would take its siblings with it", field.name);
        }
    }
}

#[test]
fn the_examples_of_the_start_page_fit_the_schema_and_cost_little() {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    for example in vostro_schema::door::examples(&engine) {
        assert!(example["access"].is_string(), "nobody may ask for all of {}", example["title"]);
        let prepared = engine.prepare(example["document"].as_str().unwrap(), None);
        let prepared = prepared.unwrap_or_else(|errors| panic!("{}: {errors:?}", example["title"]));
        assert!(prepared.planned.projection.estimate(&Default::default()) < 200, "{}", example["title"]);
    }
}

#[test]
fn the_start_page_has_an_example_and_a_subscription_for_everybody_of_the_bank() {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    let examples = vostro_schema::door::examples(&engine);
    for access in ["logged in", "COMPLIANCE_OFFICER or ADMIN", "OPERATOR or ADMIN"] {
        let documents: Vec<_> = examples.iter().filter(|example| example["access"] == access).collect();
        let live = documents.iter().filter(|example| example["document"].as_str().unwrap().starts_with("subscription"));
        assert_eq!((documents.len() > 2, live.count()), (true, 1), "{access}");
    }
}
