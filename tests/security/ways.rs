//! The ways by which questions reach the objects of the API, and what the declarations of its fields refuse on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use graphql_tools::static_graphql::schema::{Field, TypeDefinition};
use vostro_schema::stitch::{ApiSchema, OperationKind};

use super::arguments::{Arguments, Ids};

/// Selected beside every field, to see that it stays when the field is refused.
pub const SIBLING: &str = "sibling";

/// With what a field is refused to somebody with this role; to somebody with none when it is empty.
pub fn refusal(schema: &ApiSchema, of: &str, field: &str, role: &str) -> Option<&'static str> {
    let facts = schema.facts(of, field);
    if !facts.authenticated {
        return None;
    }
    if role.is_empty() {
        return Some("UNAUTHENTICATED");
    }
    let is_open = facts.scopes.is_empty() || facts.scopes.iter().any(|scope| scope == role);
    (!is_open).then_some("FORBIDDEN")
}

/// The fields of objects, not of roots, that declare who may ask for them, by their type.
pub fn declared(schema: &ApiSchema) -> BTreeMap<&str, Vec<&Field>> {
    let kinds = [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription];
    let roots = kinds.map(|kind| schema.root(kind));
    let objects = schema.all().filter_map(|definition| match definition {
        TypeDefinition::Object(object) if !roots.contains(&Some(object.name.as_str())) => Some(object.name.as_str()),
        _ => None,
    });
    let declaring = objects.map(|name| {
        let declare = |field: &&Field| schema.facts(name, &field.name).authenticated;
        (name, fields(schema, name).filter(declare).collect::<Vec<_>>())
    });
    declaring.filter(|(_, fields)| !fields.is_empty()).collect()
}

/// The fields that declare something and are on no way: only commands or subscriptions lead to them.
pub fn left_out(schema: &ApiSchema) -> Vec<String> {
    let reached = shortest(schema, |_| true);
    let missing = declared(schema).into_iter().filter(|(name, _)| !reached.contains_key(name));
    missing.flat_map(|(name, fields)| fields.into_iter().map(move |field| format!("{name}.{}", field.name))).collect()
}

/// One field on a way, and the object it leads to.
#[derive(Clone, Copy)]
struct Step<'a> {
    of: &'a str,
    field: &'a Field,
    to: &'a str,
}

/// A way from a query to an object type.
#[derive(Clone)]
pub struct Way<'a> {
    steps: Vec<Step<'a>>,
    pub to: &'a str,
}

/// The ways somebody with this role asks along: to each type one, the shortest that is open to them or else, to be refused,
/// the shortest of all; to a type with fields that declare something, one through each field that leads to it.
pub fn ways<'a>(schema: &'a ApiSchema, role: &str) -> Vec<Way<'a>> {
    let mut to_each = shortest(schema, |_| true);
    to_each.extend(shortest(schema, |step| refusal(schema, step.of, &step.field.name, role).is_none()));
    let declared = declared(schema);
    let through_each = to_each.values().flat_map(|way| way.further(schema));
    let through_each: Vec<_> = through_each.filter(|way| declared.contains_key(way.to)).collect();
    let plain = to_each.into_values().filter(|way| !way.steps.is_empty() && !declared.contains_key(way.to));
    plain.chain(through_each).collect()
}

/// The ways to objects of this type by nothing but their id.
pub fn by_id<'a>(schema: &'a ApiSchema, of: &str) -> Vec<Way<'a>> {
    let takes_an_id = |field: &Field| {
        field.arguments.iter().any(|argument| argument.is_required() && argument.value_type.inner_type() == "ID")
    };
    let ways = Way::root(schema).further(schema).into_iter();
    ways.filter(|way| way.to == of && way.steps.iter().all(|step| takes_an_id(step.field))).collect()
}

/// The shortest way to each type, of those whose steps are all open. The root itself is among them, without any.
fn shortest<'a>(schema: &'a ApiSchema, is_open: impl Fn(&Step<'a>) -> bool) -> BTreeMap<&'a str, Way<'a>> {
    let root = Way::root(schema);
    let mut open = VecDeque::from([root.to]);
    let mut found = BTreeMap::from([(root.to, root)]);
    while let Some(to) = open.pop_front() {
        for way in found[to].further(schema) {
            if way.steps.last().is_some_and(&is_open) && !found.contains_key(way.to) {
                open.push_back(way.to);
                found.insert(way.to, way);
            }
        }
    }
    found
}

/// What clients may select of an object.
fn fields<'a>(schema: &'a ApiSchema, type_name: &str) -> impl Iterator<Item = &'a Field> + use<'a> {
    let fields = match schema.named(type_name) {
        Some(TypeDefinition::Object(object)) => &object.fields[..],
        _ => &[],
    };
    fields.iter().filter(|field| !field.name.starts_with("__"))
}

impl<'a> Way<'a> {
    fn root(schema: &'a ApiSchema) -> Self {
        Self { steps: Vec::new(), to: schema.root(OperationKind::Query).expect("the API has queries") }
    }

    /// The ways that are one step longer.
    fn further(&self, schema: &'a ApiSchema) -> Vec<Self> {
        let of = self.to;
        let leading = fields(schema, of).flat_map(|field| {
            let possible = schema.possible(field.field_type.inner_type()).into_iter();
            possible.flat_map(|types| types.iter()).map(move |to| Step { of, field, to })
        });
        leading.map(|step| Way { steps: self.steps.iter().copied().chain([step]).collect(), to: step.to }).collect()
    }

    /// Asks for every field of the object, and for a sibling beside each field.
    pub fn question(&self, schema: &ApiSchema, ids: &Ids) -> String {
        let mut text = "query {".to_owned();
        for step in &self.steps {
            let is_narrowed = step.field.field_type.inner_type() != step.to;
            let about: &str = if is_narrowed { step.to } else { &step.field.name };
            let call = Arguments { schema, about, key: "matrix", ids }.call(step.field);
            let _ = write!(text, " {SIBLING}: __typename {call} {{");
            if is_narrowed {
                let _ = write!(text, " ... on {} {{", step.to);
            }
        }
        let _ = write!(text, " {SIBLING}: __typename");
        for field in fields(schema, self.to) {
            let call = Arguments { schema, about: &field.name, key: "matrix", ids }.call(field);
            let is_composite =
                schema.named(field.field_type.inner_type()).is_some_and(TypeDefinition::is_composite_type);
            let _ = write!(text, " {call}{}", if is_composite { " { __typename }" } else { "" });
        }
        let open = text.matches('{').count() - text.matches('}').count();
        text + &" }".repeat(open)
    }

    /// Where the object is in an answer, without the places in lists.
    pub fn path(&self) -> Vec<&'a str> {
        self.steps.iter().map(|step| &*step.field.name).collect()
    }

    /// What is refused to somebody with this role, by the path without places in lists: the first step that is closed, or
    /// else the closed fields of the object.
    pub fn refusals(&self, schema: &ApiSchema, role: &str) -> BTreeSet<(String, &'static str)> {
        let path = self.path();
        for (index, step) in self.steps.iter().enumerate() {
            if let Some(code) = refusal(schema, step.of, &step.field.name, role) {
                return BTreeSet::from([(path[..=index].join("."), code)]);
            }
        }
        let closed = fields(schema, self.to).filter_map(|field| {
            let code = refusal(schema, self.to, &field.name, role)?;
            Some((format!("{}.{}", path.join("."), field.name), code))
        });
        closed.collect()
    }

    /// Whether somebody with this role gets as far as the object.
    pub fn is_open(&self, schema: &ApiSchema, role: &str) -> bool {
        self.steps.iter().all(|step| refusal(schema, step.of, &step.field.name, role).is_none())
    }

    /// How many fields are asked for.
    pub fn asked(&self, schema: &ApiSchema) -> usize {
        fields(schema, self.to).count()
    }
}

#[cfg(test)]
mod tests {
    use vostro_schema::stitch::Engine;

    use super::*;

    /// Three modules of another bank, whose objects have fields for some roles only.
    const OTHER: &str = include_str!("../../schema/tests/fixtures/supergraph.graphql");

    fn engine(supergraph: &str) -> Engine {
        Engine::over(supergraph).expect("a supergraph").build().expect("an engine")
    }

    #[test]
    fn a_field_that_declares_something_where_no_query_leads_is_found() {
        let schema = engine(OTHER);
        assert_eq!(left_out(schema.planner().api_schema()), Vec::<String>::new());
        let (before, after) = ("  number: Int!\n}", "  number: Int @authenticated\n}");
        let schema =
            engine(&OTHER.replace(&format!("  account: Account\n{before}"), &format!("  account: Account\n{after}")));
        assert_eq!(left_out(schema.planner().api_schema()), ["PayPayload.number"]);
    }

    #[test]
    fn an_object_whose_fields_declare_something_is_asked_for_through_every_field_that_leads_to_it() {
        let other = engine(OTHER);
        let schema = other.planner().api_schema();
        let ways = ways(schema, "CUSTOMER");
        let paths: Vec<_> = ways.iter().filter(|way| way.to == "User").map(|way| way.path().join(".")).collect();
        assert!(paths.contains(&"me".to_owned()) && paths.contains(&"account.owner".to_owned()), "{paths:?}");
        let document =
            ways.iter().find(|way| way.path() == ["account", "owner"]).map(|way| way.question(schema, &Ids::new()));
        let expected = "query { sibling: __typename account(id: \"acc_01890a5d-ac96-774b-bcce-b302099a8057\") { \
            sibling: __typename owner { sibling: __typename id name email } } }";
        assert_eq!(document.as_deref(), Some(expected));
    }

    #[test]
    fn what_a_role_may_not_see_of_an_object_is_refused_at_that_field_and_what_it_may_not_reach_before_it() {
        let other = engine(OTHER);
        let schema = other.planner().api_schema();
        let of = |role| {
            let ways = ways(schema, role).into_iter().filter(|way| way.to == "User");
            ways.map(|way| (way.path().join("."), way.refusals(schema, role))).collect::<Vec<_>>()
        };
        for (path, refusals) in of("CUSTOMER") {
            assert_eq!(refusals, BTreeSet::from([(format!("{path}.email"), "FORBIDDEN")]));
        }
        assert!(of("ADMIN").iter().all(|(_, refusals)| refusals.is_empty()));
        let nobody: BTreeMap<_, _> = of("").into_iter().collect();
        assert_eq!(nobody["me"], BTreeSet::from([("me".to_owned(), "UNAUTHENTICATED")]));
        let expected = BTreeSet::from([("account.owner.email".to_owned(), "UNAUTHENTICATED")]);
        assert_eq!(nobody["account.owner"], expected);
    }
}
