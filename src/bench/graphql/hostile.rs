use std::time::Instant;

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde_json::json;
use vostro_schema::hostile::{Hostile, kilobyte};
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::Engine;

use crate::bench::figures::{histogram, micros};
use crate::client::Connection;
use crate::config::Config;
use crate::demo::bar;

/// How long refusals of one class took.
pub struct Refused {
    pub class: &'static str,
    pub bytes: usize,
    /// By the engine alone.
    pub engine: Histogram<u64>,
    /// From the request to the answer, as the attacker sees it.
    pub door: Histogram<u64>,
}

/// Has documents of every class refused, in this process and by the running bank. The classes take turns, so that what else the
/// machine does for a few milliseconds is in the figures of all of them and does not make one of them the worst.
pub async fn refusals(config: &Config, rounds: u32) -> anyhow::Result<Vec<Refused>> {
    let engine = Engine::over(SUPERGRAPH)?.build()?;
    let mut connection = Connection::open(config.http.address).await?;
    let classes = kilobyte();
    let measured = |Hostile { class, document, .. }: &Hostile| Refused {
        class,
        bytes: document.len(),
        engine: histogram(),
        door: histogram(),
    };
    let mut refused: Vec<Refused> = classes.iter().map(measured).collect();
    let progress = bar("Hostile documents of a kilobyte", classes.len() * usize::try_from(rounds)?);
    for _ in 0..rounds {
        for (Hostile { class, document, code }, refused) in classes.iter().zip(&mut refused) {
            let started = Instant::now();
            let prepared = engine.prepare(document, None);
            refused.engine.saturating_record(micros(started.elapsed()));
            let told = prepared.err().and_then(|errors| Some(errors.first()?.code));
            ensure!(told == Some(*code), "the engine says {told:?} to {class}, not {code:?}");
            let started = Instant::now();
            let answer = connection.answer(document, json!({})).await?;
            refused.door.saturating_record(micros(started.elapsed()));
            let told = &answer["errors"][0]["extensions"]["code"];
            ensure!(told == code.as_str(), "the bank says {answer} to {class}, not {code:?}");
            progress.inc(1);
        }
    }
    progress.finish();
    Ok(refused)
}
