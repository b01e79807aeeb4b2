//! How a module's schema is finished and written down.

use std::collections::HashMap;

use async_graphql::registry::SDLExportOptions;
use async_graphql::{ObjectType, Schema, SchemaBuilder, SubscriptionType, ValidationMode};

use super::boundary::{Boundary, Rules};
use super::numbering::Numbered;
use crate::access::Access;

/// A module's schema, to which whoever wires the bank adds the module itself.
pub type Builder<Q, M, S> = SchemaBuilder<Numbered<Q>, M, S>;

/// A module's schema, ready to answer.
pub type Subgraph<Q, M, S> = Schema<Numbered<Q>, M, S>;

/// Begins a module's schema.
pub fn begin<Q, M, S>(query: Q, mutation: M, subscription: S) -> Builder<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    Schema::build(Numbered(query), mutation, subscription)
}

/// Finishes a module's schema with everything a subgraph of the bank has: federation (subscriptions included) and the
/// [`Boundary`], which enforces what its fields declare.
///
/// The stitch engine has validated every operation against the composed schema and coerced its variables before a
/// module sees it, so the module's own validation is reduced to what execution itself checks. It costs more than a
/// small mutation's resolvers otherwise.
pub fn finish<Q, M, S>(builder: Builder<Q, M, S>) -> Subgraph<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    let boundary = Boundary::default();
    let schema = builder
        .enable_federation()
        .enable_subscription_in_federation()
        .validation_mode(ValidationMode::Fast)
        .extension(boundary.clone())
        .finish();
    boundary.enforce(Rules::of(&schema.sdl()));
    schema
}

/// async-graphql writes the header of federation 2.5, which has no prices and no `@authenticated`.
const HEADER: [(&str, &str); 2] = [
    ("https://specs.apollo.dev/federation/v2.5", "https://specs.apollo.dev/federation/v2.9"),
    ("\"@requiresScopes\"]", "\"@requiresScopes\", \"@authenticated\", \"@cost\", \"@listSize\"]"),
];

/// The module's schema as a federation subgraph, in the order its code declares, for `schema/sdl/<module>.graphql` and
/// the composer.
pub fn sdl<Q, M, S>(schema: &Subgraph<Q, M, S>) -> String
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    let options =
        SDLExportOptions::new().federation().include_specified_by().prefer_single_line_descriptions().use_space_ident();
    let text = Access::to_federation(schema.sdl_with_options(options).trim_end());
    let mut text: String = text
        .lines()
        .filter(|line| !line.starts_with("directive @access"))
        .fold(String::new(), |text, line| text + line + "\n");
    for (before, after) in HEADER {
        text = text.replace(before, after);
    }
    tag_ways_to_tagged(&text)
}

/// Tags each field that leads to a tagged type like that type, unless it has a tag of its own: an audience that does not
/// have the type cannot have the field. Connections, whose types nobody writes, are no exception with this.
fn tag_ways_to_tagged(sdl: &str) -> String {
    const TAG: &str = " @tag(";
    let types = sdl.lines().filter_map(|line| line.strip_prefix("type ")?.strip_suffix(" {")?.split_once(' '));
    let tagged: HashMap<&str, &str> =
        types.filter_map(|(name, rest)| Some((name, &rest[rest.find(TAG.trim_start())?..]))).collect();
    let mut described = false;
    let mut text = String::with_capacity(sdl.len());
    for line in sdl.lines() {
        text.push_str(line);
        described ^= line.trim() == "\"\"\"";
        if !described
            && !line.contains(TAG)
            && let Some(tags) = leads_to(line).and_then(|of| tagged.get(of))
        {
            text.push(' ');
            text.push_str(tags);
        }
        text.push('\n');
    }
    text
}

/// The type a field is of, if the line declares one.
fn leads_to(line: &str) -> Option<&str> {
    let field = line.strip_prefix("  ").filter(|field| field.starts_with(|first: char| first.is_ascii_alphabetic()))?;
    let (_, of) = field.rsplit_once("): ").or_else(|| field.split_once(": "))?;
    of.split(' ').next().map(|of| of.trim_matches(['[', ']', '!']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_a_tagged_type_is_tagged_like_it_and_what_has_a_tag_keeps_it() {
        let sdl = concat!(
            "type Finding @key(fields: \"id\") @tag(name: \"staff\") {\n",
            "  id: ID!\n",
            "}\n",
            "type FindingEdge @shareable {\n",
            "  \"One: Finding\"\n",
            "  node: Finding!\n",
            "  \"\"\"\n",
            "  about: Finding\n",
            "  \"\"\"\n",
            "  cursor: String!\n",
            "}\n",
            "type Query {\n",
            "  findings(first: Int): [Finding!] @cost(weight: 1)\n",
            "  worst(of: [ID!]): Finding @tag(name: \"internal\")\n",
            "}\n",
        );
        let tagged = sdl
            .replace("node: Finding!", "node: Finding! @tag(name: \"staff\")")
            .replace("@cost(weight: 1)", "@cost(weight: 1) @tag(name: \"staff\")");
        assert_eq!(tag_ways_to_tagged(sdl), tagged);
    }
}
