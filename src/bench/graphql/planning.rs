use std::time::Instant;

use hdrhistogram::Histogram;
use vostro_schema::door::EXAMPLES;
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::Engine;

use super::stitching::THREE_MODULES;
use crate::bench::figures::{histogram, micros};
use crate::client::documents;
use crate::demo::bar;

/// Fragments with arguments and conditions, and both ways through the modules.
const FRAGMENTS: &str = "query Overview($first: Int!, $owners: Boolean!) { me { ...Person }
  accounts(first: $first) { nodes { ...Held entries(first: 3) { nodes { sequence amount { amount } } } } }
  transactions(first: $first) { nodes { id status source { ...Held } destination { ...Held } } } unreadCount }
  fragment Held on Account { id number balance { available { amount currency } } owner @include(if: $owners) { ...Person } }
  fragment Person on User { id displayName }";

/// What clients of the bank ask: one module and several, fragments, variables, mutations, subscriptions.
fn varied() -> anyhow::Result<Vec<String>> {
    let examples: Vec<serde_json::Value> = serde_json::from_str(EXAMPLES)?;
    let examples = examples.iter().filter_map(|example| example["document"].as_str());
    let ours = [
        documents::REGISTER,
        documents::LOGIN,
        documents::MY_ACCOUNTS,
        documents::ACCOUNTS_OF,
        documents::TRANSFER,
        documents::ENTRIES,
        documents::MY_NOTIFICATIONS,
        documents::AUDIT,
        THREE_MODULES,
        FRAGMENTS,
    ];
    Ok(examples.chain(ours).map(str::to_owned).collect())
}

/// From the text of an operation that was not seen before to its plan.
pub struct ColdPlans {
    pub documents: usize,
    pub took: Histogram<u64>,
}

pub fn cold_plans(rounds: u32) -> anyhow::Result<ColdPlans> {
    let documents = varied()?;
    let engine = Engine::over(SUPERGRAPH)?.build()?;
    let prepare = |document: &str| {
        let prepared = engine.prepare(document, None).map(|_| ());
        prepared.map_err(|errors| anyhow::anyhow!("refused: {errors:?}: {document}"))
    };
    // The first time of code and allocator is nobody's operation.
    documents.iter().try_for_each(|document| prepare(document))?;
    let progress = bar("Documents never seen before", usize::try_from(rounds)?);
    let mut took = histogram();
    for (round, document) in (0..rounds).zip(documents.iter().cycle()) {
        // Documents are remembered by their text.
        let document = format!("{document}\n# {round}");
        let started = Instant::now();
        prepare(&document)?;
        took.saturating_record(micros(started.elapsed()));
        progress.inc(1);
    }
    progress.finish();
    Ok(ColdPlans { documents: documents.len(), took })
}
