//! A door over the bank's schema with no module behind it, for tools that test the transport: it validates, plans and
//! answers `__typename` and introspection, and every field that is for everybody says `MODULE_UNAVAILABLE`.
//!
//! Prints its address and serves until its standard input ends.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use vostro_kernel::{SystemClock, SystemIds};
use vostro_schema::door::{AuthFault, Authenticator, Door, DoorConfig, Principal};
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::{Engine, Limits};

/// Knows nobody.
struct Nobody;

#[async_trait::async_trait]
impl Authenticator for Nobody {
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, AuthFault> {
        bearer.map_or(Ok(Principal::ANONYMOUS), |_| Err(AuthFault::Forged))
    }
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "whoever started it reads the address there")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::over(SUPERGRAPH)?.limits(Limits { introspection: true, ..Limits::default() }).build()?;
    // A tool that says nothing is there to see what happens then.
    let config = DoorConfig { init_timeout: Duration::from_secs(1), graphiql: true, ..DoorConfig::default() };
    let door = Door::new(engine, Arc::new(Nobody), Arc::new(SystemIds), Arc::new(SystemClock), config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/graphql", listener.local_addr()?);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let serving = axum::serve(listener, door.router());
    serving.with_graceful_shutdown(async { drop(ended.await) }).await?;
    Ok(())
}
