//! The bank in several processes behind a gateway: the same answers as in one.

mod alike;
mod cancellation;
mod generate;
mod hive;
mod partial;
pub mod parts;
