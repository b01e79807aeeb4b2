//! What an operation costs: an estimate before it runs, and the truth afterwards.
//!
//! The estimate takes every list to be as long as was asked for; it decides whether the operation may run at all, and is
//! charged to the caller's budget. What the answer did not need is paid back.

use std::time::Duration;

use async_graphql::{Name, Value, Variables};
use serde::Serialize;

use super::projection::{Field, Items, Object, Projection, Selection, truth};
use crate::connection::DEFAULT_PAGE;

/// The cost of one operation, in points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Charged before it ran.
    pub requested: u32,
    /// What it came to.
    pub actual: u32,
}

/// A caller's budget of points.
pub trait Charge: Send + Sync {
    /// Takes points for an operation that is about to run.
    ///
    /// # Errors
    /// When there are not enough, and then nothing is taken.
    fn charge(&self, points: u32) -> Result<(), Shortage>;

    /// Gives back what was not needed, and tells what is left.
    fn settle(&self, refund: u32) -> Throttle;
}

/// What the events of a caller's subscriptions come to.
pub trait Meter: Send + Sync {
    /// Notes an event that was told, and says for how long its stream has to pause then. Called once an event, of which there
    /// may be ten thousand at a time.
    fn note(&self, points: u32) -> Duration;
}

/// Whose points they are that limit an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Bucket {
    /// All that the caller has, with whatever client.
    Caller,
    /// What the caller may spend with this client.
    Client,
}

/// There are not enough points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Where.
    pub bucket: Bucket,
    /// How long until there are.
    pub wait: Duration,
}

/// The state of a budget: of the bucket with the least in it, where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttle {
    pub bucket: Bucket,
    pub maximum_available: u32,
    pub currently_available: u32,
    /// Points per second.
    pub restore_rate: u32,
}

impl Projection {
    /// The cost to be expected. Saturates.
    pub fn estimate(&self, variables: &Variables) -> u32 {
        below(&self.selection, variables)
    }

    /// The cost of an answer: lists as long as they are, nothing below what is `null`.
    pub fn actual(&self, data: &Object, variables: &Variables) -> u32 {
        of_object(&self.selection, data, variables)
    }
}

fn applies(field: &Field, variables: &Variables) -> bool {
    field.conditions.iter().all(|condition| truth(variables, &condition.variable) == condition.includes)
}

fn below(selection: &Selection, variables: &Variables) -> u32 {
    let fields = selection.fields.iter().filter(|field| applies(field, variables));
    fields.map(|field| expected(field, variables)).fold(0, u32::saturating_add)
}

fn expected(field: &Field, variables: &Variables) -> u32 {
    let items = match &field.price.items {
        Items::Fixed(items) => *items,
        Items::Page { variables: names, literal } => length(names, *literal, variables),
    };
    let each = field.price.item.saturating_add(below(&field.selection, variables));
    field.price.own.saturating_add(items.saturating_mul(each))
}

/// A page whose size is not given has the usual one; a negative one is refused by the module and costs nothing.
fn length(names: &[Name], literal: Option<u32>, variables: &Variables) -> u32 {
    let given = names.iter().filter_map(|name| match variables.get(name) {
        Some(Value::Number(number)) => Some(u32::try_from(number.as_u64().unwrap_or(0)).unwrap_or(u32::MAX)),
        _ => None,
    });
    given.chain(literal).max().unwrap_or(u32::try_from(DEFAULT_PAGE).unwrap_or(u32::MAX))
}

fn of_object(selection: &Selection, object: &Object, variables: &Variables) -> u32 {
    let fields = selection.fields.iter().filter(|field| applies(field, variables));
    let known = fields.filter_map(|field| object.get(&field.key).map(|value| (field, value)));
    known
        .map(|(field, value)| field.price.own.saturating_add(of_value(field, value, variables)))
        .fold(0, u32::saturating_add)
}

fn of_value(field: &Field, value: &Value, variables: &Variables) -> u32 {
    match value {
        Value::Object(object) => of_object(&field.selection, object, variables),
        Value::List(items) => {
            let each = |item| field.price.item.saturating_add(of_value(field, item, variables));
            items.iter().map(each).fold(0, u32::saturating_add)
        }
        _ => 0,
    }
}
