//! One declaration per field: who may ask for it, and what it costs.
//!
//! ```text
//! #[graphql(directive = Access::apply(signed_in().page()))]
//! async fn accounts(&self, …) -> Result<Option<Page<Account>>>
//! ```
//!
//! From it follow what the module enforces ([`crate::stitch::boundary`]), the federation directives of the module's
//! SDL (`@authenticated`, `@requiresScopes`, `@cost`, `@listSize`, `@tag`), with them the supergraph, the price of an
//! operation ([`crate::stitch`]), the API's schema for each audience ([`crate::contract`]), and the reference in
//! `docs/graphql-api.md`. Every field of a root type has one, and is nullable
//! unless anybody may ask for it: a forbidden field is `null`, and its siblings stay.
//!
//! Somebody else's *object* is absent (`null`, or a user error `…_NOT_FOUND`), never forbidden: a refusal would confirm
//! that it exists.

use async_graphql::registry::{__DirectiveLocation, MetaDirective, MetaDirectiveInvocation, Registry, location_traits};
use async_graphql::{TypeDirective, Value};
use vostro_kernel::{Actor, Role};

use crate::contract::Contract;
use crate::faults::{forbidden, unauthenticated};
use crate::upload::UploadLimit;

/// Who may ask for a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Anybody, also without a token.
    Anyone,
    /// Whoever is logged in. The resolver still narrows to the caller's own objects.
    SignedIn,
    /// Whoever holds one of these roles.
    Roles(Vec<Role>),
}

/// How many objects a field leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    One,
    /// A connection: as many nodes as `first` says.
    Page,
    /// A plain list of about this many items.
    About(u32),
}

/// What a field's declaration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub audience: Audience,
    /// Whether the module's facade refuses whoever lacks a role, so that the attempt reaches the audit log. The door
    /// then only asks for somebody who is logged in.
    pub recorded: bool,
    /// Whether it is about the machinery, and so in no schema but the one of those who run the bank.
    pub internal: bool,
    /// Points for the field itself, without what is selected below it.
    pub cost: u32,
    pub size: Size,
    /// The files that come with a mutation.
    pub upload: UploadLimit,
}

const fn rule(audience: Audience) -> Rule {
    Rule { audience, recorded: false, internal: false, cost: 1, size: Size::One, upload: UploadLimit::NONE }
}

/// Anybody, also without a token: registering, logging in.
pub const fn anyone() -> Rule {
    rule(Audience::Anyone)
}

/// Whoever is logged in.
pub const fn signed_in() -> Rule {
    rule(Audience::SignedIn)
}

/// Whoever holds one of these roles.
pub fn only(roles: &[Role]) -> Rule {
    rule(Audience::Roles(roles.to_vec()))
}

impl Rule {
    pub const fn cost(mut self, points: u32) -> Self {
        self.cost = points;
        self
    }

    pub const fn page(mut self) -> Self {
        self.size = Size::Page;
        self
    }

    pub const fn about(mut self, items: u32) -> Self {
        self.size = Size::About(items);
        self
    }

    pub const fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    pub const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Takes so many files with the request, of so many bytes each: for mutations with an [`Upload`](crate::upload::Upload).
    pub const fn upload(mut self, files: usize, bytes: usize) -> Self {
        self.upload = UploadLimit { files, bytes };
        self
    }

    /// The smallest of the API's contracts that has the field.
    pub const fn contract(&self) -> Contract {
        match &self.audience {
            _ if self.internal => Contract::Internal,
            Audience::Anyone | Audience::SignedIn => Contract::Customer,
            Audience::Roles(_) => Contract::Staff,
        }
    }

    /// Whether the module lets this actor in at all; the facade decides about the rest.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when nobody is logged in, `FORBIDDEN` without any of the roles.
    pub fn check(&self, actor: &Actor) -> async_graphql::Result<()> {
        match &self.audience {
            Audience::Anyone => Ok(()),
            _ if actor.id.is_none() => Err(unauthenticated()),
            Audience::Roles(roles) if !self.recorded && !actor.has_any(roles) => Err(forbidden()),
            Audience::SignedIn | Audience::Roles(_) => Ok(()),
        }
    }

    /// The form the declaration has in the registry of async-graphql, which knows no directives but its own.
    fn encode(&self) -> String {
        let audience = match &self.audience {
            Audience::Anyone => "anyone".to_owned(),
            Audience::SignedIn => "signed-in".to_owned(),
            Audience::Roles(roles) => roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join("|"),
        };
        let size = match self.size {
            Size::One => "one".to_owned(),
            Size::Page => "page".to_owned(),
            Size::About(items) => items.to_string(),
        };
        let recorded = if self.recorded { "recorded" } else { "-" };
        let internal = if self.internal { "internal" } else { "-" };
        format!("{audience} {} {size} {recorded} {internal} {}", self.cost, self.upload.tag())
    }

    fn decode(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [audience, cost, size, recorded, internal, upload] = parts[..] else { return None };
        let audience = match audience {
            "anyone" => Audience::Anyone,
            "signed-in" => Audience::SignedIn,
            roles => Audience::Roles(roles.split('|').map(str::parse).collect::<Result<_, _>>().ok()?),
        };
        let size = match size {
            "one" => Size::One,
            "page" => Size::Page,
            items => Size::About(items.parse().ok()?),
        };
        let (recorded, internal) = (recorded == "recorded", internal == "internal");
        Some(Self {
            audience,
            recorded,
            internal,
            cost: cost.parse().ok()?,
            size,
            upload: UploadLimit::of_tag(upload)?,
        })
    }

    /// The declaration in the words of federation.
    fn sdl(&self) -> String {
        let mut text = match &self.audience {
            Audience::Anyone => String::new(),
            Audience::SignedIn => "@authenticated ".to_owned(),
            Audience::Roles(roles) => {
                let scopes: Vec<_> = roles.iter().map(|role| format!("[\"{role}\"]")).collect();
                format!("@authenticated @requiresScopes(scopes: [{}]) ", scopes.join(", "))
            }
        };
        text.push_str(&format!("@cost(weight: {})", self.cost));
        match self.size {
            Size::One => {}
            Size::Page => {
                let arguments = "slicingArguments: [\"first\", \"last\"], sizedFields: [\"edges\", \"nodes\"]";
                text.push_str(&format!(" @listSize({arguments}, requireOneSlicingArgument: false)"));
            }
            Size::About(items) => {
                text.push_str(&format!(" @listSize(assumedSize: {items}, requireOneSlicingArgument: false)"));
            }
        }
        text.push_str(&format!(" @tag(name: \"{}\")", self.contract().as_str()));
        if self.recorded {
            text.push_str(&format!(" @tag(name: \"{RECORDED}\")"));
        }
        if self.upload.files > 0 {
            text.push_str(&format!(" @tag(name: \"{}\")", self.upload.tag()));
        }
        text
    }
}

/// The tag of a field whose refusals its module records, so that the engine leaves them to it.
pub(crate) const RECORDED: &str = "recorded";

/// The directive that carries a [`Rule`] from the field's attribute into the module's registry.
#[derive(Debug, Clone, Copy)]
pub struct Access;

const NAME: &str = "access";
const OPEN: &str = " @access(rule: \"";
const CLOSE: &str = "\")";

impl Access {
    /// Declares a field.
    pub fn apply(rule: Rule) -> MetaDirectiveInvocation {
        let args = [("rule".to_owned(), Value::String(rule.encode()))].into_iter().collect();
        MetaDirectiveInvocation { name: NAME.to_owned(), args }
    }

    /// The rule of a field by its `@access` argument.
    pub(crate) fn rule_of(
        directives: &[graphql_tools::static_graphql::schema::Directive],
    ) -> Option<Result<Rule, &str>> {
        let access = directives.iter().find(|directive| directive.name == NAME)?;
        let (_, value) = access.arguments.first()?;
        let graphql_tools::static_graphql::schema::Value::String(text) = value else { return Some(Err(NAME)) };
        Some(Rule::decode(text).ok_or(text.as_str()))
    }

    /// Writes the declarations of an SDL text in the words of federation.
    pub(crate) fn to_federation(sdl: &str) -> String {
        let mut out = String::with_capacity(sdl.len());
        let mut rest = sdl;
        while let Some((before, after)) = rest.split_once(OPEN) {
            out.push_str(before);
            let Some((text, after)) = after.split_once(CLOSE) else { break };
            if let Some(rule) = Rule::decode(text) {
                out.push(' ');
                out.push_str(&rule.sdl());
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

impl TypeDirective for Access {
    fn name(&self) -> std::borrow::Cow<'static, str> {
        NAME.into()
    }

    fn register(&self, registry: &mut Registry) {
        registry.add_directive(MetaDirective {
            name: NAME.to_owned(),
            description: None,
            locations: vec![__DirectiveLocation::FIELD_DEFINITION],
            args: Default::default(),
            is_repeatable: false,
            // It is written as federation's own directives instead.
            visible: Some(|_| false),
            composable: None,
        });
    }
}

impl location_traits::Directive_At_FIELD_DEFINITION for Access {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_back_as_it_was_declared() {
        let staff = [Role::ComplianceOfficer, Role::Operator];
        let recorded = only(&staff).recorded().cost(20).about(100);
        for rule in [anyone().cost(0), signed_in().page(), recorded, only(&staff).internal()] {
            assert_eq!(Rule::decode(&rule.encode()), Some(rule));
        }
        assert_eq!(Rule::decode("nobody 1 one - -"), None);
    }

    #[test]
    fn a_declaration_becomes_the_directives_of_federation() {
        let sdl = format!("  a: Int{OPEN}{}{CLOSE}\n  b: Int\n", only(&[Role::Operator]).cost(5).encode());
        assert_eq!(
            Access::to_federation(&sdl),
            "  a: Int @authenticated @requiresScopes(scopes: [[\"OPERATOR\"]]) @cost(weight: 5) @tag(name: \"staff\")\n  b: Int\n"
        );
    }

    #[test]
    fn a_refusal_that_is_recorded_is_said_to_be() {
        let sdl = only(&[Role::Admin]).recorded().sdl();
        assert!(sdl.ends_with("@cost(weight: 1) @tag(name: \"staff\") @tag(name: \"recorded\")"), "{sdl}");
        assert!(!only(&[Role::Admin]).sdl().contains(RECORDED));
    }

    #[test]
    fn who_may_ask_decides_in_whose_schema_a_field_is() {
        let staff = only(&[Role::Operator]);
        let contracts = [anyone(), signed_in(), staff.clone(), staff.internal()].map(|rule| rule.contract());
        assert_eq!(contracts, [Contract::Customer, Contract::Customer, Contract::Staff, Contract::Internal]);
    }
}
