//! The GraphQL door over the five facades.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use vostro_kernel::{SystemClock, SystemIds};
use vostro_schema::door::{Door, DoorConfig};
use vostro_schema::stitch::subgraph::{finish, sdl};
use vostro_schema::stitch::{Engine, InProcess};
use vostro_schema::{account, auth, compliance, notification, transaction};

use crate::app::Modules;
use crate::config::Config;

/// What the planner plans over, composed from the subgraphs by `make gen`.
const SUPERGRAPH: &str = include_str!("../schema/sdl/supergraph.graphql");

/// The routes of the API. WebSocket connections are closed when `stop` is cancelled.
///
/// # Errors
/// When the committed supergraph cannot be planned over.
pub fn router(config: &Config, modules: &Modules, stop: CancellationToken) -> anyhow::Result<Router> {
    let engine = Engine::over(SUPERGRAPH)?
        .module("auth", InProcess(finish(auth::builder().data(modules.auth.clone()))))
        .module("account", InProcess(finish(account::builder().data(modules.account.clone()))))
        .module("transaction", InProcess(finish(transaction::builder().data(modules.transaction.clone()))))
        .module("notification", InProcess(finish(notification::builder().data(modules.notification.clone()))))
        .module("compliance", InProcess(finish(compliance::builder().data(modules.compliance.clone()))))
        .build()?;
    let authenticator = Arc::new(modules.auth.verifier());
    let door_config = DoorConfig { graphiql: config.http.graphiql, ..DoorConfig::default() };
    let door = Door::new(engine, authenticator, Arc::new(SystemIds), Arc::new(SystemClock), door_config);
    let router = door.router();
    tokio::spawn(async move {
        stop.cancelled().await;
        door.close_connections();
    });
    Ok(router)
}

/// Each module's sub-schema as a federation subgraph. `schema/compose` makes the supergraph of them.
pub fn subgraph_sdls() -> Vec<(&'static str, String)> {
    vec![
        ("auth", sdl(&finish(auth::builder()))),
        ("account", sdl(&finish(account::builder()))),
        ("transaction", sdl(&finish(transaction::builder()))),
        ("notification", sdl(&finish(notification::builder()))),
        ("compliance", sdl(&finish(compliance::builder()))),
    ]
}
