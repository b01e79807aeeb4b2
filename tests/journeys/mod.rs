mod banking;
mod benchmarks;
mod demo;
mod operating;
mod operations;
mod payee;
mod refusals;
mod subscriptions;
