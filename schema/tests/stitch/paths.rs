//! Every field is planned on every way to it, which is compared with what the schema alone says about ways.

use std::collections::BTreeSet;
use std::time::Duration;

use graphql_tools::parser::parse_query;
use graphql_tools::static_graphql::query::{Definition, OperationDefinition, Selection, SelectionSet, TypeCondition};
use graphql_tools::static_graphql::schema::TypeDefinition;
use vostro_schema::modules;
use vostro_schema::stitch::{ApiSchema, Engine, Limits, OperationKind, satisfiability};

use crate::harness;

const KINDS: [OperationKind; 3] = [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription];

/// A field below a root field: where it is asked depends on who answers the field that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    root: String,
    /// The field whose value has it, with its type; of a root field there is none.
    through: String,
    /// The field itself, with its type.
    field: String,
}

fn fields(schema: &ApiSchema, type_name: &str) -> Vec<(String, String)> {
    let fields = match schema.named(type_name) {
        Some(TypeDefinition::Object(object)) => &object.fields[..],
        Some(TypeDefinition::Interface(interface)) => &interface.fields[..],
        _ => &[],
    };
    let told = fields.iter().filter(|field| !field.name.starts_with("__"));
    told.map(|field| (field.name.clone(), field.field_type.inner_type().to_owned())).collect()
}

/// What a client can come to, found by following types and without writing an operation.
fn reachable(schema: &ApiSchema, kind: OperationKind) -> BTreeSet<Place> {
    let root_type = schema.root(kind).unwrap();
    let mut places = BTreeSet::new();
    for (root, of) in fields(schema, root_type) {
        let field = format!("{root_type}.{root}");
        places.insert(Place { root: root.clone(), through: String::new(), field: field.clone() });
        let mut known = BTreeSet::new();
        let mut open = vec![(field, of)];
        while let Some((through, of)) = open.pop() {
            let concrete = schema.possible(&of).into_iter().flat_map(|types| types.iter().cloned());
            for one in concrete.chain([of.clone()]) {
                if !known.insert((through.clone(), one.clone())) {
                    continue;
                }
                for (name, of) in fields(schema, &one) {
                    let field = format!("{one}.{name}");
                    places.insert(Place { root: root.clone(), through: through.clone(), field: field.clone() });
                    open.push((field, of));
                }
            }
        }
    }
    places
}

/// What an operation selects.
fn selected(schema: &ApiSchema, kind: OperationKind, operation: &str) -> BTreeSet<Place> {
    let document = parse_query::<String>(operation).unwrap().into_static();
    let selection = match &document.definitions[..] {
        [Definition::Operation(OperationDefinition::SelectionSet(set))] => set,
        [Definition::Operation(OperationDefinition::Query(query))] => &query.selection_set,
        [Definition::Operation(OperationDefinition::Mutation(mutation))] => &mutation.selection_set,
        [Definition::Operation(OperationDefinition::Subscription(subscription))] => &subscription.selection_set,
        _ => panic!("one operation: {operation}"),
    };
    let mut places = BTreeSet::new();
    below(schema, schema.root(kind).unwrap(), selection, ("", ""), &mut places);
    places
}

fn below(
    schema: &ApiSchema,
    type_name: &str,
    selection: &SelectionSet,
    (root, through): (&str, &str),
    into: &mut BTreeSet<Place>,
) {
    for item in &selection.items {
        match item {
            Selection::Field(field) if field.name.starts_with("__") => {}
            Selection::Field(field) => {
                let root = if root.is_empty() { &field.name } else { root };
                let place = format!("{type_name}.{}", field.name);
                let of = schema.field(type_name, &field.name).unwrap().field_type.inner_type();
                below(schema, of, &field.selection_set, (root, &place), into);
                into.insert(Place { root: root.to_owned(), through: through.to_owned(), field: place });
            }
            Selection::InlineFragment(fragment) => {
                let narrowed = match &fragment.type_condition {
                    Some(TypeCondition::On(name)) => name,
                    None => type_name,
                };
                below(schema, narrowed, &fragment.selection_set, (root, through), into);
            }
            Selection::FragmentSpread(_) => panic!("ways need no named fragments"),
        }
    }
}

/// Over this supergraph, whatever clients may do.
fn engine(supergraph: &str) -> Engine {
    // Whether a plan exists is the question here, not how fast a busy machine finds it, nor whether clients may go so deep.
    let limits = Limits { planning: Duration::from_secs(30), depth: usize::MAX, ..Limits::default() };
    Engine::over(supergraph).unwrap().limits(limits).build().unwrap()
}

/// Plans all operations, and compares what they select with what is reachable.
fn assert_all_is_planned(supergraph: &str) {
    let engine = engine(supergraph);
    let schema = engine.planner().api_schema();
    for kind in KINDS {
        let mut planned = BTreeSet::new();
        for operation in satisfiability::every_path(schema, kind) {
            let prepared = engine.prepare(&operation, None);
            assert!(prepared.is_ok(), "{operation}: {:?}", prepared.err());
            planned.append(&mut selected(schema, kind, &operation));
        }
        let reachable = reachable(schema, kind);
        let missing: Vec<_> = reachable.difference(&planned).collect();
        let kind = kind.as_str();
        assert!(missing.is_empty(), "{kind}: {} of {} are not planned: {missing:#?}", missing.len(), reachable.len());
        assert_eq!(planned, reachable, "{kind}");
    }
}

#[test]
fn every_field_of_the_bank_can_be_planned_after_every_field_that_leads_to_it_from_every_root() {
    assert_all_is_planned(modules::SUPERGRAPH);
}

#[test]
fn every_field_of_the_fixture_can_be_planned_after_every_field_that_leads_to_it_from_every_root() {
    assert_all_is_planned(harness::SUPERGRAPH);
}

#[test]
fn a_field_that_can_be_planned_on_one_path_and_not_on_another_is_found() {
    let people = "@join__type(graph: PEOPLE, key: \"id\"";
    assert_eq!(harness::SUPERGRAPH.matches(people).count(), 1, "the module that tells of people");
    let engine = engine(&harness::SUPERGRAPH.replace(people, &format!("{people}, resolvable: false")));
    let paths = satisfiability::every_path(engine.planner().api_schema(), OperationKind::Query);
    let (planned, lost): (Vec<_>, Vec<_>) = paths.iter().partition(|path| engine.prepare(path, None).is_ok());
    assert!(planned.iter().any(|path| path.starts_with("query { me {")), "its own module answers it");
    assert!(lost.iter().any(|path| path.contains("source { owner {")), "{lost:#?}");
    assert!(lost.iter().all(|path| path.contains("owner {")), "only as the owner of something: {lost:#?}");
}
