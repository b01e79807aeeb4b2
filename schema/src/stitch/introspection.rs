//! `__schema` and `__type`, answered from the schema clients see. No module is asked.

use async_graphql::{Value, Variables};
use graphql_tools::static_graphql::query::Value as Literal;
use graphql_tools::static_graphql::schema::{
    Definition, Directive, DirectiveDefinition, EnumValue, Field as FieldDefinition, InputValue, Type, TypeDefinition,
};

use super::api_schema::ApiSchema;
use super::projection::{Argument, Field, Object, Selection};
use super::variables::constant;

/// Adds the answers to the introspection fields of a root selection to `data`.
pub fn answer(schema: &ApiSchema, selection: &Selection, variables: &Variables, data: &mut Object) {
    let introspection = Introspection { schema, variables };
    for field in &selection.fields {
        let value = match field.name.as_str() {
            "__schema" => {
                introspection.object("__Schema", &[&field.selection], &|name, field| introspection.schema(name, field))
            }
            "__type" => match introspection.argument(field, "name") {
                Some(Value::String(name)) => introspection.named(&name, &[&field.selection]),
                _ => Value::Null,
            },
            _ => continue,
        };
        // Two fields with the same key ask for parts of the same thing.
        match data.get_mut(&field.key) {
            Some(known) => super::entities::merge(known, value),
            None => {
                data.insert(field.key.clone(), value);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Introspection<'a> {
    schema: &'a ApiSchema,
    variables: &'a Variables,
}

type Selections<'s> = &'s [&'s Selection];

impl Introspection<'_> {
    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        let (_, argument) = field.arguments.iter().find(|(known, _)| *known == name)?;
        match argument {
            Argument::Constant(value) => Some(value.clone()),
            Argument::Variable(variable) => self.variables.get(variable).cloned(),
        }
    }

    fn with_deprecated(&self, field: &Field) -> bool {
        self.argument(field, "includeDeprecated") == Some(Value::Boolean(true))
    }

    /// An object of one of the introspection types; `resolve` answers each of its fields.
    fn object(&self, type_name: &str, selections: Selections<'_>, resolve: &dyn Fn(&str, &Field) -> Value) -> Value {
        let mut object = Object::new();
        for field in selections.iter().flat_map(|selection| &selection.fields) {
            if !field.applies(Some(type_name), self.variables) {
                continue;
            }
            let value = match field.name.as_str() {
                "__typename" => Value::from(type_name),
                name => resolve(name, field),
            };
            match object.get_mut(&field.key) {
                Some(known) => super::entities::merge(known, value),
                None => {
                    object.insert(field.key.clone(), value);
                }
            }
        }
        Value::Object(object)
    }

    fn schema(&self, name: &str, field: &Field) -> Value {
        use super::api_schema::OperationKind::{Mutation, Query, Subscription};
        let below: Selections<'_> = &[&field.selection];
        let root = |kind| self.schema.root(kind).map_or(Value::Null, |name| self.named(name, below));
        match name {
            "types" => self.schema.all().map(|definition| self.definition(definition, below)).collect(),
            "queryType" => root(Query),
            "mutationType" => root(Mutation),
            "subscriptionType" => root(Subscription),
            "directives" => self
                .schema
                .document()
                .definitions
                .iter()
                .filter_map(|definition| match definition {
                    Definition::DirectiveDefinition(directive) => Some(self.directive(directive, below)),
                    _ => None,
                })
                .collect(),
            _ => Value::Null,
        }
    }

    fn named(&self, name: &str, selections: Selections<'_>) -> Value {
        self.schema.named(name).map_or(Value::Null, |definition| self.definition(definition, selections))
    }

    fn reference(&self, of: &Type, selections: Selections<'_>) -> Value {
        let (kind, inner) = match of {
            Type::NamedType(name) => return self.named(name, selections),
            Type::ListType(inner) => ("LIST", inner),
            Type::NonNullType(inner) => ("NON_NULL", inner),
        };
        self.object("__Type", selections, &|name, field| match name {
            "kind" => Value::from(kind),
            "ofType" => self.reference(inner, &[&field.selection]),
            _ => Value::Null,
        })
    }

    fn definition(&self, definition: &TypeDefinition, selections: Selections<'_>) -> Value {
        self.object("__Type", selections, &|name, field| {
            let below: Selections<'_> = &[&field.selection];
            match name {
                "kind" => Value::from(kind(definition)),
                "name" => Value::from(definition.name()),
                "description" => text(description(definition)),
                "specifiedByURL" => match definition {
                    TypeDefinition::Scalar(scalar) => argument_of(&scalar.directives, "specifiedBy", "url"),
                    _ => Value::Null,
                },
                "fields" => self.fields(definition, field),
                "interfaces" => match definition {
                    TypeDefinition::Object(object) => self.all_named(&object.implements_interfaces, below),
                    TypeDefinition::Interface(interface) => self.all_named(&interface.implements_interfaces, below),
                    _ => Value::Null,
                },
                "possibleTypes" => match definition {
                    TypeDefinition::Interface(_) | TypeDefinition::Union(_) => {
                        let possible = self.schema.possible(definition.name());
                        possible
                            .into_iter()
                            .flat_map(|names| names.iter())
                            .map(|name| self.named(name, below))
                            .collect()
                    }
                    _ => Value::Null,
                },
                "enumValues" => match definition {
                    TypeDefinition::Enum(of) => {
                        let all = self.with_deprecated(field);
                        let values = of.values.iter().filter(|value| all || !is_deprecated(&value.directives));
                        values.map(|value| self.enum_value(value, below)).collect()
                    }
                    _ => Value::Null,
                },
                "inputFields" => match definition {
                    TypeDefinition::InputObject(input) => self.inputs(&input.fields, field),
                    _ => Value::Null,
                },
                "isOneOf" => match definition {
                    TypeDefinition::InputObject(_) => Value::from(definition.is_one_of()),
                    _ => Value::Null,
                },
                _ => Value::Null,
            }
        })
    }

    fn all_named(&self, names: &[String], selections: Selections<'_>) -> Value {
        names.iter().map(|name| self.named(name, selections)).collect()
    }

    fn fields(&self, definition: &TypeDefinition, asked: &Field) -> Value {
        let fields = match definition {
            TypeDefinition::Object(object) => &object.fields,
            TypeDefinition::Interface(interface) => &interface.fields,
            _ => return Value::Null,
        };
        let all = self.with_deprecated(asked);
        let shown =
            fields.iter().filter(|field| !field.name.starts_with("__") && (all || !is_deprecated(&field.directives)));
        shown.map(|field| self.field(field, &[&asked.selection])).collect()
    }

    fn field(&self, of: &FieldDefinition, selections: Selections<'_>) -> Value {
        self.object("__Field", selections, &|name, field| match name {
            "name" => Value::from(of.name.as_str()),
            "description" => text(of.description.as_deref()),
            "args" => self.inputs(&of.arguments, field),
            "type" => self.reference(&of.field_type, &[&field.selection]),
            other => deprecation(other, &of.directives),
        })
    }

    fn inputs(&self, inputs: &[InputValue], asked: &Field) -> Value {
        let all = self.with_deprecated(asked);
        let shown = inputs.iter().filter(|input| all || !is_deprecated(&input.directives));
        shown.map(|input| self.input(input, &[&asked.selection])).collect()
    }

    fn input(&self, of: &InputValue, selections: Selections<'_>) -> Value {
        self.object("__InputValue", selections, &|name, field| match name {
            "name" => Value::from(of.name.as_str()),
            "description" => text(of.description.as_deref()),
            "type" => self.reference(&of.value_type, &[&field.selection]),
            "defaultValue" => of.default_value.as_ref().map_or(Value::Null, |default| Value::from(default.to_string())),
            other => deprecation(other, &of.directives),
        })
    }

    fn enum_value(&self, of: &EnumValue, selections: Selections<'_>) -> Value {
        self.object("__EnumValue", selections, &|name, _| match name {
            "name" => Value::from(of.name.as_str()),
            "description" => text(of.description.as_deref()),
            other => deprecation(other, &of.directives),
        })
    }

    fn directive(&self, of: &DirectiveDefinition, selections: Selections<'_>) -> Value {
        self.object("__Directive", selections, &|name, field| match name {
            "name" => Value::from(of.name.as_str()),
            "description" => text(of.description.as_deref()),
            "locations" => of.locations.iter().map(|location| Value::from(location.as_str())).collect(),
            "args" => self.inputs(&of.arguments, field),
            "isRepeatable" => Value::from(of.repeatable),
            _ => Value::Null,
        })
    }
}

fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::from)
}

fn kind(definition: &TypeDefinition) -> &'static str {
    match definition {
        TypeDefinition::Scalar(_) => "SCALAR",
        TypeDefinition::Object(_) => "OBJECT",
        TypeDefinition::Interface(_) => "INTERFACE",
        TypeDefinition::Union(_) => "UNION",
        TypeDefinition::Enum(_) => "ENUM",
        TypeDefinition::InputObject(_) => "INPUT_OBJECT",
    }
}

fn description(definition: &TypeDefinition) -> Option<&str> {
    match definition {
        TypeDefinition::Scalar(of) => of.description.as_deref(),
        TypeDefinition::Object(of) => of.description.as_deref(),
        TypeDefinition::Interface(of) => of.description.as_deref(),
        TypeDefinition::Union(of) => of.description.as_deref(),
        TypeDefinition::Enum(of) => of.description.as_deref(),
        TypeDefinition::InputObject(of) => of.description.as_deref(),
    }
}

fn named_directive<'a>(directives: &'a [Directive], name: &str) -> Option<&'a Directive> {
    directives.iter().find(|directive| directive.name == name)
}

fn argument_of(directives: &[Directive], directive: &str, argument: &str) -> Value {
    named_directive(directives, directive)
        .and_then(|directive| directive.arguments.iter().find(|(name, _)| name == argument))
        .map_or(Value::Null, |(_, value): &(String, Literal)| constant(value))
}

fn is_deprecated(directives: &[Directive]) -> bool {
    named_directive(directives, "deprecated").is_some()
}

fn deprecation(field: &str, directives: &[Directive]) -> Value {
    match field {
        "isDeprecated" => Value::from(is_deprecated(directives)),
        "deprecationReason" if is_deprecated(directives) => match argument_of(directives, "deprecated", "reason") {
            Value::Null => Value::from("No longer supported"),
            reason => reason,
        },
        _ => Value::Null,
    }
}
