//! A bank of one's own for each test.

mod collector;
mod event_stream;
pub mod people;
mod port;
mod servers;
mod socket;
mod world;

pub use vostro_testkit::eventually;

pub use collector::{Collector, Span, traced_bank, traced_bank_without_room};
pub use event_stream::{EventStream, listen};
pub use people::{Person, Staff};
pub use port::Port;
pub use servers::{PrivateServers, Servers};
pub use socket::Socket;
pub use world::{BankProcess, World, at};
