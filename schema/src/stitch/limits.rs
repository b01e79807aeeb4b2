//! What a document may cost, decided in linear time before any engine looks at it.
//!
//! The planner's normaliser and the modules' engine both expand fragments; a chain of fragments that each spread the
//! next one twice makes a kilobyte of text into minutes of work. Here every fragment is measured once and its measure
//! reused, so the check itself cannot be made slow.

use std::collections::HashMap;
use std::time::Duration;

use graphql_tools::static_graphql::query::{Definition, Document, Selection, SelectionSet};

use super::error::RequestError;
use crate::faults::FaultCode;

/// How large, deep and wide an operation may be.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of document text.
    pub document_bytes: usize,
    /// Lexical tokens of a document.
    pub tokens: usize,
    /// Nested fields below the root, introspection apart.
    pub depth: usize,
    /// Nested fields of `__schema` and `__type`. The usual tools ask for a type reference nine levels deep.
    pub introspection_depth: usize,
    /// How often an introspection query may go through a list of fields or types; more is a cyclic bomb.
    pub introspection_lists: usize,
    /// Aliases, with fragments expanded.
    pub aliases: usize,
    /// Fields of the root type.
    pub root_fields: usize,
    /// Directives in the document.
    pub directives: usize,
    /// Directives on one field or fragment.
    pub directives_per_selection: usize,
    /// Selections after expanding all fragments.
    pub expanded_selections: usize,
    /// Points one operation may be expected to cost; see [`super::cost`].
    pub cost: u32,
    /// Time for planning an operation that was not seen before.
    pub planning: Duration,
    /// Time for executing a query or mutation, and for completing one event of a subscription.
    pub request: Duration,
    /// Operations that take longer are logged.
    pub slow: Duration,
    /// Documents whose plans are kept.
    pub cached_documents: u64,
    /// Whether clients may ask for the schema.
    pub introspection: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 15_360,
            tokens: 1_000,
            depth: 12,
            introspection_depth: 20,
            introspection_lists: 3,
            aliases: 30,
            root_fields: 10,
            directives: 50,
            directives_per_selection: 5,
            expanded_selections: 5_000,
            cost: 1_000,
            planning: Duration::from_millis(500),
            request: Duration::from_secs(10),
            slow: Duration::from_secs(1),
            cached_documents: 2_000,
            introspection: false,
        }
    }
}

#[cfg(test)]
impl Limits {
    /// Nothing is too large: how much work a check is, however long it goes on.
    pub fn none() -> Self {
        let most = usize::MAX;
        Self {
            depth: most,
            introspection_depth: most,
            introspection_lists: most,
            aliases: most,
            root_fields: most,
            directives: most,
            directives_per_selection: most,
            expanded_selections: most,
            ..Self::default()
        }
    }
}

/// What a selection set amounts to with all fragments expanded. All counts saturate.
#[derive(Debug, Clone, Copy, Default)]
struct Measure {
    selections: usize,
    /// Fields of the type itself, those of fragments included.
    fields: usize,
    depth: usize,
    aliases: usize,
    /// Nested fields with the names introspection gives its lists, wherever they occur.
    lists: usize,
    introspection_depth: usize,
    introspection_lists: usize,
}

impl Measure {
    fn add(&mut self, other: Self) {
        self.selections = self.selections.saturating_add(other.selections);
        self.fields = self.fields.saturating_add(other.fields);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.depth = self.depth.max(other.depth);
        self.lists = self.lists.max(other.lists);
        self.introspection_depth = self.introspection_depth.max(other.introspection_depth);
        self.introspection_lists = self.introspection_lists.max(other.introspection_lists);
    }
}

enum Fragment {
    InProgress,
    Measured(Measure),
}

struct Walk<'a> {
    limits: &'a Limits,
    fragments: HashMap<&'a str, &'a SelectionSet>,
    measured: HashMap<&'a str, Fragment>,
    directives: usize,
    /// Selections looked at: never more than the document has, whatever they expand to.
    steps: usize,
}

impl<'a> Walk<'a> {
    fn over(document: &'a Document, limits: &'a Limits) -> Self {
        let fragments = document.definitions.iter().filter_map(|definition| match definition {
            Definition::Fragment(fragment) => Some((fragment.name.as_str(), &fragment.selection_set)),
            Definition::Operation(_) => None,
        });
        Self { limits, fragments: fragments.collect(), measured: HashMap::new(), directives: 0, steps: 0 }
    }
}

/// Checks a parsed document against the limits.
///
/// # Errors
/// One error with the code of the limit that was exceeded first.
pub fn check(document: &Document, limits: &Limits) -> Result<(), RequestError> {
    Walk::over(document, limits).document(document)
}

/// # Errors
/// With this code when there are more than the limit.
pub fn over(count: usize, limit: usize, code: FaultCode, what: &str) -> Result<(), RequestError> {
    if count <= limit {
        return Ok(());
    }
    Err(RequestError::new(code, format!("The operation has too many {what}: at most {limit} are allowed.")))
}

impl<'a> Walk<'a> {
    fn document(&mut self, document: &'a Document) -> Result<(), RequestError> {
        for definition in &document.definitions {
            match definition {
                Definition::Operation(operation) => {
                    self.count_directives(operation.directives().len())?;
                    let root = operation.selection_set();
                    let measure = self.measure(root)?;
                    self.compare(measure)?;
                    over(measure.fields, self.limits.root_fields, FaultCode::ComplexityLimitExceeded, "root fields")?;
                }
                Definition::Fragment(fragment) => {
                    self.count_directives(fragment.directives.len())?;
                    self.fragment(&fragment.name)?;
                }
            }
        }
        Ok(())
    }

    fn compare(&self, measure: Measure) -> Result<(), RequestError> {
        let limits = self.limits;
        over(measure.selections, limits.expanded_selections, FaultCode::ComplexityLimitExceeded, "fields")?;
        over(measure.aliases, limits.aliases, FaultCode::ComplexityLimitExceeded, "aliases")?;
        over(measure.depth, limits.depth, FaultCode::DepthLimitExceeded, "nested fields")?;
        let (depth, lists) = (measure.introspection_depth, measure.introspection_lists);
        over(depth, limits.introspection_depth, FaultCode::DepthLimitExceeded, "nested introspection fields")?;
        over(lists, limits.introspection_lists, FaultCode::DepthLimitExceeded, "nested introspection lists")
    }

    fn count_directives(&mut self, on_this: usize) -> Result<(), RequestError> {
        self.directives += on_this;
        let code = FaultCode::ComplexityLimitExceeded;
        over(on_this, self.limits.directives_per_selection, code, "directives on one field")?;
        over(self.directives, self.limits.directives, code, "directives")
    }

    /// The parser bounds the nesting of a document, and each fragment is entered once: the recursion is bounded by
    /// both together.
    fn measure(&mut self, set: &'a SelectionSet) -> Result<Measure, RequestError> {
        let mut total = Measure::default();
        for selection in &set.items {
            self.steps += 1;
            self.count_directives(selection.directives().len())?;
            total.selections = total.selections.saturating_add(1);
            match selection {
                Selection::Field(field) => {
                    let below = self.measure(&field.selection_set)?;
                    total.add(
                        Measure { fields: 1, aliases: below.aliases + usize::from(field.alias.is_some()), ..below }
                            .under(&field.name),
                    );
                }
                Selection::InlineFragment(fragment) => {
                    let below = self.measure(&fragment.selection_set)?;
                    total.add(below);
                }
                Selection::FragmentSpread(spread) => total.add(self.fragment(&spread.fragment_name)?),
            }
        }
        Ok(total)
    }

    fn fragment(&mut self, name: &'a str) -> Result<Measure, RequestError> {
        match self.measured.get(name) {
            Some(Fragment::Measured(measure)) => return Ok(*measure),
            Some(Fragment::InProgress) => {
                let message = format!("Cannot spread fragment \"{name}\" within itself.");
                return Err(RequestError::new(FaultCode::GraphqlValidationFailed, message));
            }
            None => {}
        }
        // An unknown fragment is for the validation to report, with its position.
        let Some(set) = self.fragments.get(name).copied() else { return Ok(Measure::default()) };
        self.measured.insert(name, Fragment::InProgress);
        let measure = self.measure(set)?;
        self.measured.insert(name, Fragment::Measured(measure));
        Ok(measure)
    }
}

impl Measure {
    /// The measure of a field whose selection set has this measure.
    fn under(mut self, field: &str) -> Self {
        if matches!(field, "__schema" | "__type") {
            // What is below counts against the limits of introspection only.
            self.introspection_depth = self.introspection_depth.max(self.depth) + 1;
            self.introspection_lists = self.introspection_lists.max(self.lists);
            self.depth = 0;
            self.lists = 0;
        } else {
            self.depth += 1;
            self.lists += usize::from(matches!(field, "fields" | "inputFields" | "interfaces" | "possibleTypes"));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{bomb_of_900_bytes, doubling, work_grows_with_the_text};

    fn checked(text: &str) -> Result<(), FaultCode> {
        let document = graphql_tools::parser::parse_query::<String>(text).expect("a document").into_static();
        check(&document, &Limits::default()).map_err(|error| error.code)
    }

    #[test]
    fn a_fragment_bomb_is_measured_without_expanding_it() {
        assert_eq!(checked(&doubling(3)), Ok(()));
        for n in [12, 30, 60] {
            assert_eq!(checked(&doubling(n)), Err(FaultCode::ComplexityLimitExceeded), "{n}");
        }
    }

    #[test]
    fn each_selection_of_a_bomb_is_looked_at_once() {
        let written = 1 + 2 * 24 + 1;
        let bomb = bomb_of_900_bytes().document;
        let bomb = graphql_tools::parser::parse_query::<String>(&bomb).expect("GraphQL").into_static();
        assert_eq!(steps(&bomb), written, "sixteen million are not looked at");
    }

    /// How many selections are looked at when no limit ends it early.
    fn steps(document: &Document) -> usize {
        let limits = Limits::none();
        let mut walk = Walk::over(document, &limits);
        // A circle of fragments is refused all the same.
        let _ = walk.document(document);
        walk.steps
    }

    #[test]
    fn twice_the_document_is_twice_the_work() {
        work_grows_with_the_text(|document| Some(steps(document)));
    }

    #[test]
    fn root_fields_hidden_in_fragments_are_counted() {
        let hidden = format!("{{ ...a ... {{ ...a }} }} fragment a on Query {{ {} }}", "x ".repeat(6));
        assert_eq!(checked(&hidden), Err(FaultCode::ComplexityLimitExceeded));
    }

    #[test]
    fn a_fragment_that_spreads_itself_is_refused() {
        assert_eq!(
            checked("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }"),
            Err(FaultCode::GraphqlValidationFailed)
        );
    }

    #[test]
    fn depth_counts_fields_through_fragments() {
        let nested = |n: usize| format!("{}a{}", "{ a ".repeat(n - 1) + "{ ", " }".repeat(n));
        assert_eq!(checked(&nested(12)), Ok(()));
        assert_eq!(checked(&nested(13)), Err(FaultCode::DepthLimitExceeded));
        let split =
            "{ a { a { a { a { a { a { ...f } } } } } } } fragment f on T { a { a { a { a { a { a { a } } } } } } }";
        assert_eq!(checked(split), Err(FaultCode::DepthLimitExceeded));
    }

    #[test]
    fn aliases_root_fields_and_directives_are_counted() {
        let aliases = |n: usize| format!("{{ a {{ {} }} }}", (0..n).map(|i| format!("a{i}: b ")).collect::<String>());
        assert_eq!(checked(&aliases(30)), Ok(()));
        assert_eq!(checked(&aliases(31)), Err(FaultCode::ComplexityLimitExceeded));
        let roots = |n: usize| format!("{{ {} }}", "a ".repeat(n));
        assert_eq!(checked(&roots(10)), Ok(()));
        assert_eq!(checked(&roots(11)), Err(FaultCode::ComplexityLimitExceeded));
        assert_eq!(checked(&format!("{{ a {} }}", "@d ".repeat(6))), Err(FaultCode::ComplexityLimitExceeded));
    }

    #[test]
    fn introspection_has_limits_of_its_own() {
        let reference = format!("{}kind{}", "ofType { ".repeat(9), " }".repeat(9));
        let usual = format!("{{ __schema {{ types {{ fields {{ args {{ type {{ {reference} }} }} }} }} }} }}");
        assert_eq!(checked(&usual), Ok(()));
        let cyclic =
            "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }";
        assert_eq!(checked(cyclic), Err(FaultCode::DepthLimitExceeded));
    }
}
