mod banking;
mod benchmarks;
mod demo;
#[path = "../../examples/guide.rs"]
mod example;
mod guide;
mod operating;
mod operations;
mod payee;
mod refusals;
mod subscriptions;
mod traces;
pub mod upload;
