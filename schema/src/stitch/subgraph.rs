//! How a module's schema is finished and written down.

use async_graphql::registry::SDLExportOptions;
use async_graphql::{ObjectType, Schema, SchemaBuilder, SubscriptionType, ValidationMode};

use super::null_boundary::NullBoundary;

/// Finishes a module's schema with everything a subgraph of the bank has: federation (subscriptions included) and the
/// [`NullBoundary`].
///
/// The stitch engine has validated every operation against the composed schema and coerced its variables before a
/// module sees it, so the module's own validation is reduced to what execution itself checks. It costs more than a
/// small mutation's resolvers otherwise.
pub fn finish<Q, M, S>(builder: SchemaBuilder<Q, M, S>) -> Schema<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    builder
        .enable_federation()
        .enable_subscription_in_federation()
        .validation_mode(ValidationMode::Fast)
        .extension(NullBoundary)
        .finish()
}

/// The module's schema as a federation subgraph, in the order its code declares, for `schema/sdl/<module>.graphql` and the composer.
pub fn sdl<Q, M, S>(schema: &Schema<Q, M, S>) -> String
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    let options =
        SDLExportOptions::new().federation().include_specified_by().prefer_single_line_descriptions().use_space_ident();
    let mut text = schema.sdl_with_options(options).trim_end().to_owned();
    text.push('\n');
    text
}
