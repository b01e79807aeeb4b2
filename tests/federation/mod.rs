//! The bank in several processes behind a gateway: the same answers as in one.

mod alike;
mod cancellation;
mod commands;
mod generate;
mod hive;
mod live;
mod partial;
pub mod parts;
