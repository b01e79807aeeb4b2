mod banking;
mod demo;
mod operations;
mod refusals;
mod subscriptions;
