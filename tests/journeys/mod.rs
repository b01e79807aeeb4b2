mod banking;
mod demo;
mod operating;
mod operations;
mod refusals;
mod subscriptions;
