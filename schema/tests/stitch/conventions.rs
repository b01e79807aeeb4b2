//! What the API promises about its own form: whoever knows one module's part knows every module's.

use graphql_tools::static_graphql::schema::{Directive, Field, Type, TypeDefinition, Value};
use vostro_schema::reference::root_fields;
use vostro_schema::stitch::{ApiSchema, Engine, OperationKind};

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
