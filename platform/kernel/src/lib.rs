//! The words every part of the bank shares: money, identifiers, time, who is acting, which part of a list, and how
//! a refusal is said.
//!
//! Nothing in here does I/O. Time and randomness come in through [`Clock`] and [`Ids`], so that a domain rule is a
//! function of its arguments and a test can say what time it is.

mod actor;
mod clock;
mod context;
mod currency;
mod iban;
pub mod ids;
mod money;
mod page;
mod refusal;
mod slot;

pub use actor::{Actor, ActorKind, Role, Roles, UnknownRole};
pub use clock::{Clock, FixedClock, Ids, SystemClock, SystemIds};
pub use context::RequestContext;
pub use currency::{Currency, UnknownCurrency};
pub use iban::{Iban, InvalidIban};
pub use money::{Money, MoneyError};
pub use page::{Page, PageDirection};
pub use refusal::{Refusal, RefusalCode};
pub use slot::{SLOTS, Slot};
