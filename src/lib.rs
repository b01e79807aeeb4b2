//! The application: configuration, wiring, HTTP and the command line. No business rule lives here.

pub mod app;
pub mod asyncapi;
pub mod bench;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod database;
pub mod demo;
pub mod federation;
pub mod gateway;
mod graphql;
pub mod http;
pub mod rebuild;
pub mod telemetry;
