//! All subgraphs of the bank.

use crate::stitch::subgraph::{finish, sdl};
use crate::{account, auth, compliance, node, notification, operations, transaction};

/// What the planner plans over, composed from the subgraphs by `make gen`.
pub const SUPERGRAPH: &str = include_str!("../sdl/supergraph.graphql");

/// Each module's sub-schema as a federation subgraph. `schema/compose` makes the supergraph of them.
pub fn subgraph_sdls() -> Vec<(&'static str, String)> {
    vec![
        ("auth", sdl(&finish(auth::builder()))),
        ("account", sdl(&finish(account::builder()))),
        ("transaction", sdl(&finish(transaction::builder()))),
        ("notification", sdl(&finish(notification::builder()))),
        ("compliance", sdl(&finish(compliance::builder()))),
        ("node", sdl(&finish(node::builder()))),
        ("operations", sdl(&finish(operations::builder()))),
    ]
}
