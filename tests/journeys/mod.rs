mod banking;
mod operations;
mod refusals;
mod subscriptions;
