//! Federation over the borders of processes: modules run in processes of their own, and a gateway answers the public API
//! by asking them over HTTP.
//!
//! ```text
//! client ── door ── engine ── Http ─ ─ ─ ─ ─ ─ ─ Entrance ── InProcess ── module
//!            │                  a caller statement, signed by the gateway, for this call alone
//!            └ RemoteAuthenticator ─ ─ ─ ─ ─ ─ ─ Entrance ── whoever reads access tokens
//! ```
//!
//! - [`Statement`], [`GatewayKey`], [`TrustedGateways`]: who is calling, and how a subgraph knows that it is true;
//! - [`Http`]: the gateway's way to a subgraph, with a deadline;
//! - [`Entrance`]: a process's subgraphs, for gateways;
//! - [`RemoteAuthenticator`]: reads access tokens where the keys are;
//! - [`addressed`]: the supergraph for a gateway that is not ours.

mod entrance;
mod events;
mod http;
mod identity;
mod statement;
mod supergraph;

pub use entrance::{Entrance, EntranceConfig};
pub use http::{Http, HttpError, HttpTimes};
pub use identity::RemoteAuthenticator;
pub use statement::{GatewayKey, KeyError, Statement, StatementFault, TrustedGateways};
pub use supergraph::addressed;

use axum::http::HeaderName;

/// Carries the [`Statement`] of a call.
pub const STATEMENT_HEADER: HeaderName = HeaderName::from_static("x-vostro-caller");

/// Where a process answers for a subgraph, below its base address.
pub fn subgraph_path(name: &str) -> String {
    format!("/subgraph/{name}")
}

/// Where a process that runs the auth module tells gateways whom an access token speaks for.
pub const IDENTITY_PATH: &str = "/federation/identity";

/// What statements for [`IDENTITY_PATH`] are addressed to. No subgraph has this name.
const IDENTITY_AUDIENCE: &str = "identity";
