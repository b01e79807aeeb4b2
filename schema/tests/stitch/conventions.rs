//! What the API promises about its own form: whoever knows one module's part knows every module's.

use graphql_tools::static_graphql::schema::{Directive, Field, Type, TypeDefinition, Value};
use vostro_kernel::Role;
use vostro_schema::reference::root_fields;
use vostro_schema::stitch::{ApiSchema, Engine, OperationKind};

use crate::harness::{code, person, scope};

fn with_schema(check: impl Fn(&ApiSchema) -> Vec<String>) {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    let broken = check(engine.planner().api_schema());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Types clients can name, without those of introspection.
fn own(schema: &ApiSchema) -> impl Iterator<Item = &TypeDefinition> {
    schema.all().filter(|definition| !definition.name().starts_with("__"))
}

fn fields(definition: &TypeDefinition) -> &[Field] {
    match definition {
        TypeDefinition::Object(object) => &object.fields,
        TypeDefinition::Interface(interface) => &interface.fields,
        _ => &[],
    }
}

fn all_fields(schema: &ApiSchema) -> impl Iterator<Item = (&str, &Field)> {
    own(schema)
        .flat_map(|of| fields(of).iter().map(move |field| (of.name(), field)))
        .filter(|(_, field)| !field.name.starts_with("__"))
}

fn is_camel(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_screaming(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn names_are_written_alike() {
    with_schema(|schema| {
        let types = own(schema).map(TypeDefinition::name).filter(|name| !is_pascal(name)).map(str::to_owned);
        let named = all_fields(schema).filter(|(_, field)| {
            !is_camel(&field.name) || field.arguments.iter().any(|argument| !is_camel(&argument.name))
        });
        let values = own(schema).filter_map(|of| match of {
            TypeDefinition::Enum(of) => of.values.iter().find(|value| !is_screaming(&value.name)),
            _ => None,
        });
        let named = named.map(|(of, field)| format!("{of}.{}", field.name));
        types.chain(named).chain(values.map(|value| value.name.clone())).collect()
    });
}

#[test]
fn a_mutation_takes_one_input_and_answers_with_a_payload_that_can_refuse() {
    with_schema(|schema| {
        let root =
            schema.root(OperationKind::Mutation).and_then(|name| schema.named(name)).map(fields).unwrap_or_default();
        let follows = |field: &&Field| {
            let input = match &field.arguments[..] {
                [] => true,
                [input] => input.name == "input" && matches!(&input.value_type, Type::NonNullType(_)),
                _ => false,
            };
            let Type::NamedType(payload) = &field.field_type else { return false };
            let refusals = schema.field(payload, "userErrors").map(|refusals| refusals.field_type.to_string());
            input
                && payload.ends_with("Payload")
                && refusals.is_some_and(|of| of.starts_with('[') && of.ends_with("UserError!]!"))
        };
        assert!(root.len() > 10);
        root.iter()
            .filter(|field| !field.name.starts_with("__") && !follows(field))
            .map(|field| field.name.clone())
            .collect()
    });
}

/// What the mutations of each module are about.
const OBJECTS: [(&str, &[&str]); 6] = [
    ("account", &["account", "overdraft", "statement"]),
    ("auth", &["user", "token", "profile", "role"]),
    ("compliance", &["compliance"]),
    ("notification", &["notification", "preferences"]),
    ("operations", &["parked", "parkingRequest", "consumption", "maintenanceJob"]),
    ("transaction", &["transfer", "deposit", "withdrawal"]),
];

/// Those that are called otherwise, for the reasons in ADR 33. A new one does not belong here.
const NAMED_OTHERWISE: [&str; 4] = ["login", "logout", "rebuildProjection", "republishOutbox"];

/// Whether a mutation's name is one of these objects and what is done with it.
fn is_about_one_of(objects: &[&str], name: &str) -> bool {
    let deeds = objects.iter().filter_map(|object| name.strip_prefix(object));
    deeds.into_iter().any(|deed| deed.starts_with(|first: char| first.is_ascii_uppercase()))
}

#[test]
fn a_mutation_is_named_after_an_object_of_its_module() {
    assert!(is_about_one_of(&["account", "statement"], "statementCancel"));
    for name in ["account", "accountant", "openAccount", "transferCreate"] {
        assert!(!is_about_one_of(&["account", "statement"], name), "{name}");
    }
    with_schema(|schema| {
        let root = schema.root(OperationKind::Mutation).expect("the API has mutations");
        let names = fields(schema.named(root).expect("its type")).iter().map(|field| field.name.as_str());
        let names: Vec<_> = names.filter(|name| !name.starts_with("__")).collect();
        let stale =
            NAMED_OTHERWISE.iter().filter(|name| !names.contains(name)).map(|name| format!("{name} is no more"));
        let is_wrong = |name: &&str| {
            let [owner] = schema.facts(root, name).owners else { return true };
            let objects = OBJECTS.iter().find(|(module, _)| module == owner).map(|(_, objects)| *objects);
            !NAMED_OTHERWISE.contains(name) && !is_about_one_of(objects.unwrap_or_default(), name)
        };
        names.iter().copied().filter(is_wrong).map(str::to_owned).chain(stale).collect()
    });
}

#[test]
fn no_node_of_a_connection_is_free() {
    with_schema(|schema| {
        let priced = |of: &str, name: &str| {
            let field = schema.field(of, name).unwrap_or_else(|| panic!("{of} has no {name}"));
            let points = schema.points(of, field);
            points.own + points.item
        };
        let of_kind = |suffix| own(schema).map(TypeDefinition::name).filter(move |name| name.ends_with(suffix));
        assert!(of_kind("Connection").count() > 5);
        let nodes = of_kind("Connection").filter(|name| priced(name, "nodes") == 0);
        let edges = of_kind("Edge").filter(|name| priced(name, "node") == 0);
        nodes.chain(edges).map(str::to_owned).collect()
    });
}

#[tokio::test]
async fn an_operation_that_could_return_more_than_ten_thousand_nodes_is_refused() {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().build().unwrap();
    for (pages, nodes) in [
        ("accounts(first: 100) { nodes { entries(last: 100) { nodes { amount { amount } } } } }", 10_100),
        (
            "accounts(first: 100) { edges { node { entries(first: 100) { edges { cursor node { amount { amount } } } } } } }",
            10_100,
        ),
        ("transactions(first: 100) { nodes { source { statements(first: 100) { nodes { status } } } } }", 10_200),
    ] {
        let prepared = engine.prepare(&format!("{{ {pages} }}"), None).unwrap();
        let points = prepared.planned.projection.estimate(&Default::default());
        assert!(points >= nodes, "{pages}: {points}");
        let reply = engine.execute(&prepared, Default::default(), scope(person(&[Role::Operator]))).await;
        let answer = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(code(&answer), "COST_LIMIT_EXCEEDED", "{pages}");
    }
}

#[test]
fn every_list_that_can_grow_is_asked_for_in_pages() {
    with_schema(|schema| {
        let connections = all_fields(schema)
            .filter(|(_, field)| field.field_type.to_string().trim_end_matches('!').ends_with("Connection"));
        let in_pages = |field: &Field| {
            let has = |name: &str, of: &str| {
                field.arguments.iter().any(|argument| argument.name == name && argument.value_type.to_string() == of)
            };
            [("first", "Int"), ("after", "String"), ("last", "Int"), ("before", "String")]
                .into_iter()
                .all(|(name, of)| has(name, of))
        };
        connections.filter(|(_, field)| !in_pages(field)).map(|(of, field)| format!("{of}.{}", field.name)).collect()
    });
}

#[test]
fn every_root_field_says_what_it_is_for() {
    with_schema(|schema| {
        let silent = root_fields(schema).into_iter().filter(|field| field.description.is_empty());
        silent.map(|field| field.name).collect()
    });
}

/// The reason of a deprecation, where there is one.
fn deprecated(directives: &[Directive]) -> Option<String> {
    let directive = directives.iter().find(|directive| directive.name == "deprecated")?;
    match directive.arguments.first() {
        Some((_, Value::String(reason))) => Some(reason.clone()),
        _ => Some(String::new()),
    }
}

fn is_month(text: &str) -> bool {
    let digits = |part: &str, length: usize| part.len() == length && part.chars().all(|c| c.is_ascii_digit());
    text.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2))
}

/// `` since 2026-11; remove after 2027-05; use `x` ``
fn says_when_and_what_instead(reason: &str) -> bool {
    let [since, until, instead] = reason.split("; ").collect::<Vec<_>>()[..] else { return false };
    since.strip_prefix("since ").is_some_and(is_month)
        && until.strip_prefix("remove after ").is_some_and(is_month)
        && instead.starts_with("use `")
}

#[test]
fn what_is_deprecated_says_until_when_and_what_to_use() {
    assert!(says_when_and_what_instead("since 2026-11; remove after 2027-05; use `after`"));
    assert!(
        !says_when_and_what_instead("no longer supported")
            && !says_when_and_what_instead("since soon; remove after 2027-05; use `x`")
    );
    with_schema(|schema| {
        let of_fields = all_fields(schema).flat_map(|(of, field)| {
            let arguments = field.arguments.iter().filter_map(|argument| deprecated(&argument.directives));
            arguments.chain(deprecated(&field.directives)).map(move |reason| (format!("{of}.{}", field.name), reason))
        });
        let vague = of_fields.filter(|(_, reason)| !says_when_and_what_instead(reason));
        vague.map(|(name, reason)| format!("{name}: {reason}")).collect()
    });
}
