//! Operations made up at random, the same for the same seed: every root field, entities across modules, aliases,
//! fragments, conditions, variables, and values that are wrong.

use std::fmt::Write as _;

use graphql_tools::static_graphql::schema::{Field, InputValue, Type, TypeDefinition};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};
use vostro_schema::stitch::{ApiSchema, OperationKind};

/// Stands in texts where each side has to have its own.
pub const KEY: &str = "own-key";

/// An operation and its variables.
#[derive(Debug, Clone)]
pub struct Operation {
    pub text: String,
    pub variables: Value,
}

pub struct Generator<'a> {
    schema: &'a ApiSchema,
    random: StdRng,
    /// Ids that lead somewhere, for whoever may see it.
    ids: Vec<String>,
    declared: Vec<String>,
    variables: Map<String, Value>,
    fragments: Vec<String>,
    aliases: usize,
}

impl<'a> Generator<'a> {
    pub fn new(schema: &'a ApiSchema, seed: u64, ids: &[String]) -> Self {
        Self {
            schema,
            random: StdRng::seed_from_u64(seed),
            ids: ids.to_vec(),
            declared: Vec::new(),
            variables: Map::new(),
            fragments: Vec::new(),
            aliases: 0,
        }
    }

    /// The names of the root fields of a kind.
    pub fn roots(&self, kind: OperationKind) -> Vec<String> {
        let fields = self.schema.root(kind).map(|root| self.fields(root));
        fields.into_iter().flatten().map(|field| field.name.clone()).collect()
    }

    /// A query that asks this root field among others.
    pub fn query(&mut self, root_field: &str) -> Operation {
        let mut roots = vec![root_field.to_owned()];
        let all = self.roots(OperationKind::Query);
        for _ in 0..self.random.random_range(0..3) {
            roots.push(all.choose(&mut self.random).expect("there are queries").clone());
        }
        self.operation(OperationKind::Query, &roots)
    }

    /// A mutation with values that have the right form.
    pub fn mutation(&mut self, root_field: &str) -> Operation {
        self.operation(OperationKind::Mutation, &[root_field.to_owned()])
    }

    fn operation(&mut self, kind: OperationKind, roots: &[String]) -> Operation {
        self.declared.clear();
        self.variables.clear();
        self.fragments.clear();
        self.aliases = 0;
        let root = self.schema.root(kind).expect("a root type");
        let mut selected = String::new();
        for (number, name) in roots.iter().enumerate() {
            let field = self.schema.field(root, name).expect("a root field");
            // Each under a key of its own, as a field may come twice with other arguments.
            let _ = write!(selected, " r{number}: ");
            self.field(field, 0, &mut selected);
        }
        let declared = if self.declared.is_empty() { String::new() } else { format!("({})", self.declared.join(", ")) };
        let text = format!("{} Made{declared} {{{selected} }}{}", kind.as_str(), self.fragments.concat());
        Operation { text, variables: Value::Object(std::mem::take(&mut self.variables)) }
    }

    /// What clients may select. Introspection is answered by every gateway itself, and an age is another one each time.
    fn fields(&self, type_name: &str) -> impl Iterator<Item = &'a Field> + use<'a> {
        let fields = match self.schema.named(type_name) {
            Some(TypeDefinition::Object(object)) => &object.fields[..],
            Some(TypeDefinition::Interface(interface)) => &interface.fields,
            _ => &[],
        };
        fields.iter().filter(|field| !field.name.starts_with("__") && !field.name.ends_with("AgeMillis"))
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn field(&mut self, field: &'a Field, depth: usize, out: &mut String) {
        out.push_str(&field.name);
        // Mostly one direction of a connection, as both are refused.
        let is_connection = field.arguments.iter().any(|argument| argument.name == "last");
        let left_out: &[&str] = match self.random.random_range(0..10) {
            1..=5 if is_connection => &["last", "before"],
            6..=9 if is_connection => &["first", "after"],
            _ => &[],
        };
        let wanted = field.arguments.iter().filter(|argument| !left_out.contains(&argument.name.as_str()));
        let arguments: Vec<String> = wanted.filter_map(|argument| self.argument(argument)).collect();
        if !arguments.is_empty() {
            let _ = write!(out, "({})", arguments.join(", "));
        }
        if depth > 0 && self.chance(8) {
            let (directive, variable) = if self.chance(50) { ("include", "yes") } else { ("skip", "no") };
            let value = self.random.random_bool(0.5);
            self.declare(variable, "Boolean!", json!(value));
            let _ = write!(out, " @{directive}(if: ${variable})");
        }
        let type_name = field.field_type.inner_type();
        if self.is_composite(type_name) {
            let selected = self.selection(type_name, depth + 1);
            let _ = write!(out, " {{{selected} }}");
        }
    }

    fn is_composite(&self, type_name: &str) -> bool {
        self.schema.named(type_name).is_some_and(TypeDefinition::is_composite_type)
    }

    fn selection(&mut self, type_name: &str, depth: usize) -> String {
        let mut out = String::from(" __typename");
        for field in self.fields(type_name) {
            let composite = self.is_composite(field.field_type.inner_type());
            let wanted = match (composite, depth) {
                (false, _) => 55,
                (true, 0..=2) => 70,
                (true, 3..=4) => 35,
                (true, _) => 0,
            };
            // What a mutation refuses, and why, is always asked for.
            if !self.chance(if field.name == "userErrors" { 100 } else { wanted }) {
                continue;
            }
            out.push(' ');
            if self.aliases < 20 && self.chance(15) {
                self.aliases += 1;
                let _ = write!(out, "a{}: ", self.aliases);
            }
            self.field(field, depth, &mut out);
        }
        if let Some(TypeDefinition::Interface(_) | TypeDefinition::Union(_)) = self.schema.named(type_name) {
            let possible: Vec<&'a String> =
                self.schema.possible(type_name).into_iter().flat_map(|types| types.iter()).collect();
            for name in possible {
                let selected = self.selection(name, depth + 1);
                let _ = write!(out, " ... on {name} {{{selected} }}");
            }
        }
        if !self.chance(15) {
            return out;
        }
        let name = format!("F{}", self.fragments.len());
        // Reserved before the next one is named.
        self.fragments.push(format!(" fragment {name} on {type_name} {{{out} }}"));
        format!(" ...{name}")
    }

    fn declare(&mut self, name: &str, of: &str, value: Value) {
        if self.variables.insert(name.to_owned(), value).is_none() {
            self.declared.push(format!("${name}: {of}"));
        }
    }

    fn argument(&mut self, input: &'a InputValue) -> Option<String> {
        if !input.is_required() && !self.chance(40) {
            return None;
        }
        if input.value_type.inner_type() == "ID"
            && !matches!(strip(&input.value_type), Type::ListType(_))
            && self.chance(40)
        {
            let name = format!("v{}", self.variables.len());
            let id = self.id();
            let of = if input.is_required() { "ID!" } else { "ID" };
            self.declare(&name, of, json!(id));
            return Some(format!("{}: ${name}", input.name));
        }
        let value = self.value(&input.name, &input.value_type);
        Some(format!("{}: {value}", input.name))
    }

    fn id(&mut self) -> String {
        let nowhere =
            ["acc_01890a5d-ac96-774b-bcce-b302099a8057", "usr_01890a5d-ac96-774b-bcce-b302099a8057", "nonsense"];
        if self.chance(25) {
            return (*nowhere.choose(&mut self.random).expect("three")).to_owned();
        }
        self.ids.choose(&mut self.random).expect("ids").clone()
    }

    fn value(&mut self, name: &str, of: &'a Type) -> String {
        match of {
            Type::NonNullType(inner) => self.value(name, inner),
            Type::ListType(item) => {
                let items: Vec<_> = (0..self.random.random_range(1..4)).map(|_| self.value(name, item)).collect();
                format!("[{}]", items.join(", "))
            }
            Type::NamedType(type_name) => self.named(name, type_name),
        }
    }

    fn named(&mut self, name: &str, type_name: &str) -> String {
        let one_of = |random: &mut StdRng, values: &[&str]| (*values.choose(random).expect("values")).to_owned();
        match type_name {
            "ID" => format!("\"{}\"", self.id()),
            "Int" => one_of(&mut self.random, &["1", "2", "2", "3", "3", "0", "-1", "1000"]),
            "Boolean" => one_of(&mut self.random, &["true", "false"]),
            "Decimal" => one_of(&mut self.random, &["\"1.00\"", "\"0.01\"", "\"1.001\"", "\"-1.00\""]),
            "CurrencyCode" => one_of(&mut self.random, &["\"EUR\"", "\"EUR\"", "\"JPY\"", "\"EURO\""]),
            "Date" => "\"2026-01-01\"".to_owned(),
            "DateTime" => one_of(&mut self.random, &["\"2026-01-01T00:00:00.000Z\"", "\"2099-01-01T00:00:00.000Z\""]),
            "IdempotencyKey" => format!("\"{KEY}\""),
            "Upload" => "\"no-file\"".to_owned(),
            "String" if matches!(name, "after" | "before") => "\"no-cursor\"".to_owned(),
            "String" => "\"text\"".to_owned(),
            other => match self.schema.named(other) {
                Some(TypeDefinition::Enum(values)) => {
                    values.values.choose(&mut self.random).expect("an enum has values").name.clone()
                }
                Some(TypeDefinition::InputObject(input)) => {
                    let fields: Vec<_> = input.fields.iter().filter_map(|field| self.argument(field)).collect();
                    format!("{{{}}}", fields.join(", "))
                }
                _ => panic!("no value is known for {other}"),
            },
        }
    }
}

fn strip(of: &Type) -> &Type {
    match of {
        Type::NonNullType(inner) => inner,
        other => other,
    }
}
