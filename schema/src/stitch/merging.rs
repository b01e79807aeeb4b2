//! How many comparisons it takes to find out whether the fields of a document can be merged.
//!
//! Fields with the same response key at the same place become one, and validation compares each of them with each
//! other: a kilobyte of `id id id …` makes fifty thousand comparisons, and the fifteen kilobytes of a document a
//! hundred times as many. They are counted first, in one walk over what the document expands to, which is bounded.

use std::collections::{HashMap, HashSet};

use graphql_tools::static_graphql::query::{Definition, Document, Selection, SelectionSet};

use super::error::RequestError;
use super::limits::{Limits, over};
use crate::faults::FaultCode;

struct Walk<'a> {
    limits: &'a Limits,
    fragments: HashMap<&'a str, &'a SelectionSet>,
    /// Fragments that were come by. The others are validated all the same.
    reached: HashSet<&'a str>,
    selections: usize,
    comparisons: usize,
}

/// Checks a document whose fragments do not contain themselves.
///
/// # Errors
/// When there are more comparisons or, over all its operations, more selections than the limits allow.
pub fn check(document: &Document, limits: &Limits) -> Result<(), RequestError> {
    Walk::over(document, limits).document(document)
}

impl<'a> Walk<'a> {
    fn over(document: &'a Document, limits: &'a Limits) -> Self {
        let fragments = document.definitions.iter().filter_map(|definition| match definition {
            Definition::Fragment(fragment) => Some((fragment.name.as_str(), &fragment.selection_set)),
            Definition::Operation(_) => None,
        });
        Self { limits, fragments: fragments.collect(), reached: HashSet::new(), selections: 0, comparisons: 0 }
    }

    fn document(&mut self, document: &'a Document) -> Result<(), RequestError> {
        for definition in &document.definitions {
            if let Definition::Operation(operation) = definition {
                self.root(operation.selection_set())?;
            }
        }
        for definition in &document.definitions {
            if let Definition::Fragment(fragment) = definition
                && self.reached.insert(&fragment.name)
            {
                self.root(&fragment.selection_set)?;
            }
        }
        Ok(())
    }

    fn root(&mut self, set: &'a SelectionSet) -> Result<(), RequestError> {
        let mut places = vec![vec![set]];
        while let Some(sets) = places.pop() {
            for below in self.place(sets)?.into_values() {
                self.comparisons = self.comparisons.saturating_add(below.len() * (below.len() - 1) / 2);
                over(self.comparisons, self.limits.comparisons, FaultCode::ComplexityLimitExceeded, "repeated fields")?;
                places.push(below);
            }
        }
        Ok(())
    }

    /// The fields at one place of the response by their keys, each with what is selected below it. A fragment that comes
    /// again at the same place adds nothing.
    fn place(
        &mut self,
        mut sets: Vec<&'a SelectionSet>,
    ) -> Result<HashMap<&'a str, Vec<&'a SelectionSet>>, RequestError> {
        let mut fields: HashMap<&str, Vec<&SelectionSet>> = HashMap::new();
        let mut entered = HashSet::new();
        while let Some(set) = sets.pop() {
            self.selections += set.items.len();
            over(
                self.selections,
                self.limits.expanded_selections,
                FaultCode::ComplexityLimitExceeded,
                "fields in all its operations",
            )?;
            for selection in &set.items {
                match selection {
                    Selection::Field(field) => {
                        let key = field.alias.as_deref().unwrap_or(&field.name);
                        fields.entry(key).or_default().push(&field.selection_set);
                    }
                    Selection::InlineFragment(fragment) => sets.push(&fragment.selection_set),
                    Selection::FragmentSpread(spread) => {
                        let name = spread.fragment_name.as_str();
                        self.reached.insert(name);
                        // An unknown fragment is for the validation to report, with its position.
                        if entered.insert(name) {
                            sets.extend(self.fragments.get(name));
                        }
                    }
                }
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::work_grows_with_the_text;

    fn comparisons(text: &str) -> usize {
        let document = graphql_tools::parser::parse_query::<String>(text).expect("a document").into_static();
        let allows = |comparisons| check(&document, &Limits { comparisons, ..Limits::default() }).is_ok();
        (0..1000).find(|comparisons| allows(*comparisons)).expect("a small number")
    }

    #[test]
    fn twice_the_document_is_twice_the_work() {
        work_grows_with_the_text(|document| {
            let limits = Limits::none();
            let mut walk = Walk::over(document, &limits);
            walk.document(document).ok()?;
            Some(walk.selections)
        });
    }

    #[test]
    fn fields_of_one_key_at_one_place_are_compared_with_each_other() {
        assert_eq!(comparisons("{ a b c }"), 0);
        assert_eq!(comparisons("{ a a a a }"), 6);
        assert_eq!(comparisons("{ a: b a: c }"), 1, "the key counts, not the name");
        assert_eq!(comparisons("{ a: b b: a }"), 0);
    }

    #[test]
    fn what_is_below_fields_of_one_key_is_at_one_place() {
        assert_eq!(comparisons("{ a { x } a { x } }"), 2);
        assert_eq!(comparisons("{ a { x } b { x } }"), 0);
        assert_eq!(comparisons("{ a { x } ... { a { x } } ...f } fragment f on T { a { x } }"), 6);
    }

    #[test]
    fn a_fragment_counts_once_at_each_place_and_also_when_nobody_spreads_it() {
        assert_eq!(comparisons("{ ...f ...f ...f } fragment f on T { a a }"), 1);
        assert_eq!(comparisons("{ a { ...f } b { ...f } } fragment f on T { a a }"), 2);
        assert_eq!(comparisons("{ a } fragment f on T { ...g b } fragment g on T { b }"), 1);
    }

    #[test]
    fn many_operations_together_expand_to_no_more_than_one_may() {
        let operations: String = (0..60).map(|number| format!("query q{number} {{ ...f }} ")).collect();
        let text =
            format!("{operations} fragment f on T {{ {} }}", (0..100).map(|n| format!("a{n} ")).collect::<String>());
        let document = graphql_tools::parser::parse_query::<String>(&text).expect("a document").into_static();
        let refused = check(&document, &Limits::default()).expect_err("6,000 selections");
        assert!(refused.message.contains("in all its operations"), "{}", refused.message);
    }
}
