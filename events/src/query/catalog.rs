use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::Query;
use super::account::{self, PostingDecisionsV1};
use super::auth::NameCheckV1;
use super::claim::{ClaimAnswerV1, ClaimV1};
use crate::catalog::close;

/// What is known about a question without asking it.
pub struct QueryDescription {
    /// `<module>.<question>.v<major>`.
    pub query: &'static str,
    /// JSON Schema of the question as callers write it.
    pub question: Value,
    /// JSON Schema of the answer as the callee writes it.
    pub answer: Value,
}

impl QueryDescription {
    fn of<Q: Query + JsonSchema>() -> Self
    where
        Q::Answer: JsonSchema,
    {
        Self { query: Q::TYPE, question: schema_of::<Q>(), answer: schema_of::<Q::Answer>() }
    }

    /// Claims are asked for in the same words, whoever has them.
    fn of_claim(query: &'static str) -> Self {
        Self { query, question: schema_of::<ClaimV1>(), answer: schema_of::<ClaimAnswerV1>() }
    }
}

/// Without definitions of its own to refer to, as it is put into other documents.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(close));
    let schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.to_value()
}

/// Every version of every question.
pub fn queries() -> Vec<QueryDescription> {
    vec![
        QueryDescription::of::<PostingDecisionsV1>(),
        QueryDescription::of::<NameCheckV1>(),
        QueryDescription::of_claim(account::CLAIM),
    ]
}
