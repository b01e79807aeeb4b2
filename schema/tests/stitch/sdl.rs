//! What is generated is committed, and stale text is found without Node.

use std::path::PathBuf;
use std::sync::Arc;

use vostro_schema::stitch::{sdl, subgraph};

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
