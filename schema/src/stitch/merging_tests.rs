//! Field merging against the specification's own words, and how much work it is.

use std::collections::HashMap;

use graphql_tools::static_graphql::query::{Definition, Field, Selection, TypeCondition};
use graphql_tools::static_graphql::query::{Document, FragmentDefinition, SelectionSet};
use graphql_tools::static_graphql::schema::Type;
use graphql_tools::validation::rules::OverlappingFieldsCanBeMerged;
use graphql_tools::validation::validate::{ValidationPlan, validate};
use proptest::prelude::*;

use super::api_schema::ApiSchema;
use super::catalog::Catalog;
use super::limits::Limits;
use super::merging::{check, selections_looked_at};
use crate::faults::FaultCode;
use crate::hostile::work_grows_with_the_text;

const SCHEMA: &str = "
    schema { query: Query }
    interface Named { id: ID! name: String friend(of: [Int!], by: By): Named }
    type A implements Named { id: ID! name: String friend(of: [Int!], by: By): Named x: Int! y: [A!] z: String }
    type B implements Named { id: ID! name: String friend(of: [Int!], by: By): Named x: Int y: [B!] z: B }
    union U = A | B
    input By { one: Int two: Int }
    type Query { a: A b: B named: Named u: U text: String! }
    scalar Int scalar String scalar ID
";

fn schema() -> ApiSchema {
    let document = graphql_tools::parser::parse_schema::<String>(SCHEMA).expect("a schema").into_static();
    ApiSchema::new(&document, Catalog::default())
}

fn document(text: &str) -> Document {
    graphql_tools::parser::parse_query::<String>(text).expect("a document").into_static()
}

/// Why the fields of this document cannot be merged.
fn conflicts(text: &str) -> Vec<String> {
    let errors = check(&schema(), &document(text), &Limits::default()).err().unwrap_or_default();
    errors.into_iter().map(|error| error.message).collect()
}

#[track_caller]
fn merges(text: &str) {
    assert_eq!(conflicts(text), Vec::<String>::new(), "{text}");
}

#[track_caller]
fn conflict(text: &str, why: &str) {
    match &conflicts(text)[..] {
        [only] => assert!(only.contains(why), "{text}: {only}"),
        others => panic!("{text}: {others:?}"),
    }
}

#[test]
fn the_same_field_with_the_same_arguments_becomes_one() {
    merges("{ a { id id id } }");
    merges("{ a { x: id x: id } }");
    merges("{ a { friend(of: [1], by: {one: 1, two: 2}) { id } friend(by: {two: 2, one: 1}, of: [1]) { name } } }");
}

#[test]
fn different_fields_of_one_key_conflict() {
    conflict("{ a { k: id k: name } }", r#"Fields "k" conflict because "id" and "name" are different fields."#);
    conflict("{ a { name: id ...f } } fragment f on A { name }", r#""id" and "name" are different fields"#);
}

#[test]
fn different_arguments_conflict() {
    let differ = r#"Fields "friend" conflict because they have differing arguments."#;
    conflict("{ a { friend { id } friend(of: []) { id } } }", differ);
    conflict("{ a { friend(of: [1]) { id } friend(of: [2]) { id } } }", differ);
    conflict("query($v: [Int!], $w: [Int!]) { a { friend(of: $v) { id } friend(of: $w) { id } } }", differ);
    conflict("{ a { friend(by: {one: 1}) { id } friend(by: {two: 1}) { id } } }", differ);
}

#[test]
fn a_list_is_another_than_one_that_it_begins() {
    let text = "{ a { friend(of: [1]) { id } friend(of: [1, 2]) { id } } }";
    conflict(text, "they have differing arguments");
    assert_eq!(of_the_library(text), 0, "the library knows better by now");
}

#[test]
fn objects_of_different_types_may_differ_in_fields_but_not_in_shape() {
    merges("{ u { ... on A { k: id } ... on B { k: id } } }");
    merges("{ named { ... on A { k: friend(of: [1]) { id } } ... on B { k: friend(of: [2]) { id } } } }");
    conflict("{ u { ... on A { x } ... on B { x } } }", r#"they return conflicting types "Int!" and "Int""#);
    conflict("{ u { ... on A { k: z } ... on B { k: z { id } } } }", r#"conflicting types "String" and "B""#);
    conflict("{ u { ... on A { y { x } } ... on B { y { x } } } }", r#"Fields "x" conflict because they return"#);
    conflict("{ u { ... on A { k: __typename } ... on B { k: x } } }", r#"conflicting types "String!" and "Int""#);
}

#[test]
fn a_field_of_an_interface_may_be_of_the_same_object_as_any() {
    conflict("{ named { k: id ... on A { k: id } ... on B { k: name } } }", "different fields");
    conflict("{ named { k: friend { id } ... on A { k: friend(of: [1]) { id } } } }", "differing arguments");
}

#[test]
fn what_is_below_fields_that_become_one_meets() {
    conflict("{ a { friend { k: id } } a { friend { k: name } } }", r#"Fields "k" conflict"#);
    merges("{ a { friend { k: id } } b { friend { k: name } } }");
}

#[test]
fn a_conflict_behind_a_fragment_that_others_spread_is_found() {
    let text = "{ a { ...f ...g } } fragment f on A { ...h k: id } fragment g on A { ...h ...i } fragment h on A { id }
        fragment i on A { k: name }";
    conflict(text, r#""id" and "name" are different fields"#);
}

#[test]
fn fragments_that_nobody_spreads_are_checked_and_a_conflict_in_one_is_told_once() {
    conflict("{ a { id } } fragment f on A { k: id k: name }", "different fields");
    conflict("{ a { ...f friend { ... on A { ...f } } } } fragment f on A { k: id k: name }", "different fields");
}

#[test]
fn types_fields_and_fragments_that_do_not_exist_are_for_other_rules() {
    merges("{ nothing { id } a { ...nothing ... on Nothing { id } no no } }");
}

#[test]
fn many_operations_together_expand_to_no_more_than_one_may() {
    let operations: String = (0..60).map(|number| format!("query q{number} {{ ...f }} ")).collect();
    let fields: String = (0..100).map(|number| format!("a{number} ")).collect();
    let errors =
        check(&schema(), &document(&format!("{operations} fragment f on Query {{ {fields} }}")), &Limits::default());
    let refused = errors.expect_err("6,000 selections");
    assert_eq!(refused[0].code, FaultCode::ComplexityLimitExceeded);
    assert!(refused[0].message.contains("in all its operations"), "{}", refused[0].message);
}

#[test]
fn twice_the_document_is_twice_the_work() {
    let schema = schema();
    work_grows_with_the_text(|document| selections_looked_at(&schema, document));
}

/// How many conflicts the library's rule sees.
fn of_the_library(text: &str) -> usize {
    let plan = ValidationPlan::from(vec![Box::new(OverlappingFieldsCanBeMerged::new())]);
    validate(schema().document(), &document(text), &plan).len()
}

/// The rule as the specification words it: each field with each other, again for what is below each two.
struct Specification<'a> {
    schema: &'a ApiSchema,
    fragments: HashMap<&'a str, &'a FragmentDefinition>,
}

type Sets<'a> = Vec<(&'a str, &'a SelectionSet)>;

impl<'a> Specification<'a> {
    fn allows(schema: &'a ApiSchema, document: &'a Document) -> bool {
        let fragments = document.definitions.iter().filter_map(|definition| match definition {
            Definition::Fragment(fragment) => Some((fragment.name.as_str(), fragment)),
            Definition::Operation(_) => None,
        });
        let specification = Self { schema, fragments: fragments.collect() };
        document.definitions.iter().all(|definition| match definition {
            Definition::Operation(operation) => specification.each_set("Query", operation.selection_set()),
            Definition::Fragment(fragment) => {
                specification.each_set(condition(&fragment.type_condition), &fragment.selection_set)
            }
        })
    }

    /// "For each selection set defined anywhere in the document".
    fn each_set(&self, parent: &'a str, set: &'a SelectionSet) -> bool {
        self.fields_in_set_can_merge(&vec![(parent, set)])
            && set.items.iter().all(|selection| match selection {
                Selection::Field(field) => {
                    let below = self.of(parent, field).map(Type::inner_type);
                    below.is_none_or(|below| self.each_set(below, &field.selection_set))
                }
                Selection::InlineFragment(fragment) => {
                    let parent = fragment.type_condition.as_ref().map_or(parent, condition);
                    self.each_set(parent, &fragment.selection_set)
                }
                Selection::FragmentSpread(_) => true,
            })
    }

    fn fields_in_set_can_merge(&self, sets: &Sets<'a>) -> bool {
        self.each_two(sets, |one, other| {
            let objects =
                [one, other].map(|(parent, _)| self.schema.named(parent).is_some_and(|of| of.is_object_type()));
            let same_object = one.0 == other.0 || objects != [true, true];
            let (this, that) = (one.1, other.1);
            self.same_response_shape(one, other)
                && (!same_object
                    || this.name == that.name
                        && written(&this.arguments) == written(&that.arguments)
                        && self.fields_in_set_can_merge(&self.merged(one, other)))
        })
    }

    fn same_response_shape(&self, one: (&'a str, &'a Field), other: (&'a str, &'a Field)) -> bool {
        let mut types = (self.of(one.0, one.1), self.of(other.0, other.1));
        loop {
            types = match types {
                (Some(Type::NonNullType(one)), Some(Type::NonNullType(other)))
                | (Some(Type::ListType(one)), Some(Type::ListType(other))) => (Some(&**one), Some(&**other)),
                (Some(Type::NamedType(one)), Some(Type::NamedType(other))) => {
                    let leaf = |name| self.schema.named(name).is_some_and(|of| of.is_leaf_type());
                    if leaf(one) || leaf(other) {
                        return one == other;
                    }
                    break;
                }
                _ => return false,
            };
        }
        self.each_two(&self.merged(one, other), |one, other| self.same_response_shape(one, other))
    }

    fn merged(&self, one: (&'a str, &'a Field), other: (&'a str, &'a Field)) -> Sets<'a> {
        let below =
            |(parent, field): (&'a str, &'a Field)| Some((self.of(parent, field)?.inner_type(), &field.selection_set));
        [below(one), below(other)].into_iter().flatten().collect()
    }

    /// Whether it holds for each two fields of one key in these sets, fragments included.
    fn each_two(&self, sets: &Sets<'a>, holds: impl Fn((&'a str, &'a Field), (&'a str, &'a Field)) -> bool) -> bool {
        let mut fields = Vec::new();
        for (parent, set) in sets {
            self.collect(parent, set, &mut fields);
        }
        let key = |field: &'a Field| field.alias.as_ref().unwrap_or(&field.name);
        fields.iter().enumerate().all(|(index, one)| {
            fields[index + 1..].iter().filter(|other| key(one.1) == key(other.1)).all(|other| holds(*one, *other))
        })
    }

    fn collect(&self, parent: &'a str, set: &'a SelectionSet, fields: &mut Vec<(&'a str, &'a Field)>) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) => fields.push((parent, field)),
                Selection::InlineFragment(fragment) => {
                    let parent = fragment.type_condition.as_ref().map_or(parent, condition);
                    self.collect(parent, &fragment.selection_set, fields);
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.fragments[spread.fragment_name.as_str()];
                    self.collect(condition(&fragment.type_condition), &fragment.selection_set, fields);
                }
            }
        }
    }

    fn of(&self, parent: &str, field: &Field) -> Option<&'a Type> {
        let (parent, name) = match field.name.as_str() {
            // No type declares it; this one is of the same type.
            "__typename" => ("Query", "text"),
            name => (parent, name),
        };
        Some(&self.schema.field(parent, name)?.field_type)
    }
}

fn condition(condition: &TypeCondition) -> &str {
    let TypeCondition::On(name) = condition;
    name
}

/// Arguments in an order of their own.
fn written(arguments: &[(String, graphql_tools::static_graphql::query::Value)]) -> Vec<String> {
    let mut written: Vec<_> = arguments.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    written.sort();
    written
}

/// Writes a document that fits the schema, each decision a byte: few keys and arguments, so that many of them meet.
struct Writer<'a> {
    decisions: std::slice::Iter<'a, u8>,
}

impl Writer<'_> {
    fn decide(&mut self, among: usize) -> usize {
        usize::from(*self.decisions.next().unwrap_or(&0)) % among
    }

    fn document(&mut self) -> String {
        let fragments = [("f", "A"), ("g", "B"), ("h", "Named")];
        let mut text = format!("{{ {} }}", self.set("Query", 3, &["f", "g", "h"]));
        for (index, (name, on)) in fragments.iter().enumerate() {
            // Each spreads those behind it, so that there is no circle.
            let behind: Vec<&str> = fragments[index + 1..].iter().map(|(name, _)| *name).collect();
            text += &format!(" fragment {name} on {on} {{ {} }}", self.set(on, 2, &behind));
        }
        text
    }

    fn set(&mut self, of: &str, depth: usize, fragments: &[&str]) -> String {
        let selections = 1 + self.decide(3);
        (0..selections).map(|_| self.selection(of, depth, fragments) + " ").collect()
    }

    fn selection(&mut self, of: &str, depth: usize, fragments: &[&str]) -> String {
        match self.decide(if of == "Query" { 2 } else { 5 }) {
            3 if !fragments.is_empty() => format!("...{}", fragments[self.decide(fragments.len())]),
            4 if depth > 0 => {
                let on = ["A", "B", "Named"][self.decide(3)];
                format!("... on {on} {{ {} }}", self.set(on, depth - 1, fragments))
            }
            _ => self.field(of, depth, fragments),
        }
    }

    fn field(&mut self, of: &str, depth: usize, fragments: &[&str]) -> String {
        let fields: &[(&str, &str)] = match of {
            "Query" => &[("a", "A"), ("b", "B"), ("named", "Named"), ("u", "U")],
            "Named" => &[("id", ""), ("name", ""), ("friend", "Named")],
            "A" => &[("id", ""), ("name", ""), ("x", ""), ("z", ""), ("friend", "Named"), ("y", "A")],
            "B" => &[("id", ""), ("name", ""), ("x", ""), ("friend", "Named"), ("y", "B"), ("z", "B")],
            _ => &[("__typename", "")],
        };
        let (name, below) = fields[self.decide(fields.len())];
        let alias = ["", "", "k: ", "id: "][self.decide(4)];
        let arguments = match name {
            "friend" => ["", "(of: [1])", "(of: [1, 2])", "(by: {one: 1, two: 2}, of: [1])"][self.decide(4)],
            _ => "",
        };
        let below = match below {
            "" => String::new(),
            _ if depth == 0 => "{ __typename }".to_owned(),
            below => format!("{{ {} }}", self.set(below, depth - 1, fragments)),
        };
        format!("{alias}{name}{arguments}{below}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn it_refuses_what_the_words_of_the_specification_refuse(
        decisions in proptest::collection::vec(any::<u8>(), 0..160),
    ) {
        let text = Writer { decisions: decisions.iter() }.document();
        let (schema, document) = (schema(), document(&text));
        let found = check(&schema, &document, &Limits::default());
        prop_assert_eq!(found.is_ok(), Specification::allows(&schema, &document), "{} {:?}", text, found);
    }
}
