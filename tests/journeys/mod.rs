mod banking;
mod demo;
mod operations;
mod payee;
mod refusals;
mod subscriptions;
