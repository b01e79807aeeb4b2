use std::collections::BTreeSet;

use anyhow::ensure;
use async_graphql::Variables;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::inside::Inside;
use crate::bench::figures::{histogram, micros};
use crate::demo::bar;

/// Ten payments, their accounts, and whom these belong to: three modules, each asked with what the one before answered.
pub const THREE_MODULES: &str = "query Payments($first: Int!) { transactions(first: $first) { nodes {
  id kind status amount { amount currency } initiatedAt
  source { id number name owner { id displayName } } destination { id number owner { id displayName } } }
  pageInfo { hasNextPage endCursor } } }";

/// What a client shows of one account.
const ONE_MODULE: &str = "query Account($id: ID!) { account(id: $id) { id number name status currency
  balance { posted { amount currency } available { amount } sequence }
  entries(first: 5) { nodes { sequence direction amount { amount } bookedAt } } } }";

/// Executions before anything is measured, in which plans, statements and caches get warm.
const WARM_UP: u32 = 20;

/// The same query over several modules through the engine and without it.
pub struct Overhead {
    pub modules: usize,
    pub stitched: Histogram<u64>,
    pub direct: Histogram<u64>,
    /// How long no module was being asked, of each execution.
    pub overhead: Histogram<u64>,
}

pub async fn overhead(inside: &Inside, rounds: u32) -> anyhow::Result<Overhead> {
    let variables: Variables = serde_json::from_value(json!({"first": 10}))?;
    let mut waves = inside.stitched(THREE_MODULES, &variables).await?.waves;
    let modules = waves.iter().flatten().map(|call| &call.module).collect::<BTreeSet<_>>().len();
    ensure!(modules == 3, "{modules} modules were asked: there are no payments to ask about");
    let progress = bar("A query over three modules", usize::try_from(rounds)?);
    let mut measured = Overhead { modules, stitched: histogram(), direct: histogram(), overhead: histogram() };
    for round in 0..WARM_UP + rounds {
        // By turns, so that neither always finds what the other has just warmed.
        let before = if round % 2 == 0 { Some(inside.directly(&waves).await?) } else { None };
        let stitched = inside.stitched(THREE_MODULES, &variables).await?;
        waves = stitched.waves;
        let direct = match before {
            Some(direct) => direct,
            None => inside.directly(&waves).await?,
        };
        if round >= WARM_UP {
            measured.stitched.saturating_record(micros(stitched.took));
            measured.overhead.saturating_record(micros(stitched.overhead));
            measured.direct.saturating_record(micros(direct));
            progress.inc(1);
        }
    }
    progress.finish();
    Ok(measured)
}

/// The same query of one module through the engine and by async-graphql alone.
pub struct Single {
    pub engine: Histogram<u64>,
    pub plain: Histogram<u64>,
}

impl Single {
    /// The engine's median, in thousandths of plain async-graphql's.
    pub fn ratio_per_mille(&self) -> u64 {
        self.engine.value_at_quantile(0.5) * 1000 / self.plain.value_at_quantile(0.5).max(1)
    }
}

pub async fn single(inside: &Inside, account: &str, rounds: u32) -> anyhow::Result<Single> {
    let variables: Variables = serde_json::from_value(json!({"id": account}))?;
    let plain = inside.plain();
    let ours = inside.stitched(ONE_MODULE, &variables).await?.reply.body;
    let theirs = plain.execute(ONE_MODULE, &variables).await?.0;
    let [ours, theirs] = [ours, theirs].map(|body| serde_json::from_slice::<Value>(&body));
    let (ours, theirs) = (ours?["data"].take(), theirs?["data"].take());
    ensure!(ours == theirs, "the engine answers {ours}, async-graphql {theirs}");
    let progress = bar("A query of one module", usize::try_from(rounds)?);
    let mut measured = Single { engine: histogram(), plain: histogram() };
    for round in 0..WARM_UP + rounds {
        let before = if round % 2 == 0 { Some(plain.execute(ONE_MODULE, &variables).await?.1) } else { None };
        let engine = inside.stitched(ONE_MODULE, &variables).await?.took;
        let plain = match before {
            Some(took) => took,
            None => plain.execute(ONE_MODULE, &variables).await?.1,
        };
        if round >= WARM_UP {
            measured.engine.saturating_record(micros(engine));
            measured.plain.saturating_record(micros(plain));
            progress.inc(1);
        }
    }
    progress.finish();
    Ok(measured)
}
