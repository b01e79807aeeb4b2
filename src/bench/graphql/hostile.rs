use std::fmt::Write as _;
use std::time::Instant;

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde_json::json;
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::Engine;

use crate::bench::figures::{histogram, micros};
use crate::client::Connection;
use crate::config::Config;
use crate::demo::bar;

/// What an attacker gets into this much.
const BYTES: usize = 1024;

/// A way to do harm with a document.
struct Hostile {
    class: &'static str,
    document: String,
    /// The code it is refused with.
    code: &'static str,
}

/// How long refusals of one class took.
pub struct Refused {
    pub class: &'static str,
    pub bytes: usize,
    /// By the engine alone.
    pub engine: Histogram<u64>,
    /// From the request to the answer, as the attacker sees it.
    pub door: Histogram<u64>,
}

/// Has documents of every class refused, in this process and by the running bank.
pub async fn refusals(config: &Config, rounds: u32) -> anyhow::Result<Vec<Refused>> {
    let engine = Engine::over(SUPERGRAPH)?.build()?;
    let mut connection = Connection::open(config.http.address).await?;
    let classes = corpus();
    let progress = bar("Hostile documents of a kilobyte", classes.len() * usize::try_from(rounds)?);
    let mut refused = Vec::new();
    for Hostile { class, document, code } in classes {
        let mut measured = Refused { class, bytes: document.len(), engine: histogram(), door: histogram() };
        for _ in 0..rounds {
            let started = Instant::now();
            let prepared = engine.prepare(&document, None);
            measured.engine.saturating_record(micros(started.elapsed()));
            let told = prepared.err().and_then(|errors| Some(errors.first()?.code.as_str()));
            ensure!(told == Some(code), "the engine says {told:?} to {class}, not {code}");
            let started = Instant::now();
            let answer = connection.answer(&document, json!({})).await?;
            measured.door.saturating_record(micros(started.elapsed()));
            let told = &answer["errors"][0]["extensions"]["code"];
            ensure!(told == code, "the bank says {answer} to {class}, not {code}");
            progress.inc(1);
        }
        refused.push(measured);
    }
    progress.finish();
    Ok(refused)
}

/// As often as it fits between the two, so that the whole has a kilobyte.
fn filled(before: &str, with: impl Fn(usize) -> String, after: &str) -> String {
    let mut document = before.to_owned();
    for number in 0.. {
        let next = with(number);
        if document.len() + next.len() + after.len() > BYTES {
            break;
        }
        document.push_str(&next);
    }
    document + after
}

/// As deep as it fits.
fn nested(before: &str, open: &str, core: &str, close: &str, after: &str) -> String {
    let depth = (BYTES - before.len() - core.len() - after.len()) / (open.len() + close.len());
    format!("{before}{}{core}{}{after}", open.repeat(depth), close.repeat(depth))
}

/// Fragments that each spread the next one twice: 2ⁿ selections.
fn bomb() -> String {
    let mut document = "{...f0}".to_owned();
    for fragment in 0.. {
        let next = format!("fragment f{fragment} on Query{{...f{0} ...f{0}}}", fragment + 1);
        let last = format!("fragment f{} on Query{{__typename}}", fragment + 1);
        if document.len() + next.len() + last.len() > BYTES {
            // Writing into a string cannot fail.
            let _ = write!(document, "fragment f{fragment} on Query{{__typename}}");
            break;
        }
        document.push_str(&next);
    }
    document
}

/// Fragments that each spread all behind them, just within the limits, and a field that does not exist in the last: the
/// whole has to be validated.
fn web() -> String {
    const FRAGMENTS: usize = 11;
    let mut document = "{accounts{nodes{...f0}}}".to_owned();
    for fragment in 0..FRAGMENTS {
        let spreads: String = (fragment + 1..FRAGMENTS).map(|other| format!("...f{other} ")).collect();
        let _ = write!(document, "fragment f{fragment} on Account{{id {spreads}}}");
    }
    document.truncate(document.len() - 1);
    filled(&document, |_| "#".to_owned(), "\nnothing}")
}

/// As many comparisons of fields as the limits allow, each with the most to compare, and one that fails.
fn discord() -> String {
    let fields = "id ".repeat(75);
    filled(&format!("{{accounts{{nodes{{id:number {fields}}}}}}}"), |_| "#".to_owned(), "")
}

fn corpus() -> Vec<Hostile> {
    const COMPLEX: &str = "COMPLEXITY_LIMIT_EXCEEDED";
    const DEEP: &str = "DEPTH_LIMIT_EXCEEDED";
    const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";
    let hostile = |class, code, document| Hostile { class, document, code };
    vec![
        hostile("fragments that double", COMPLEX, bomb()),
        hostile("fragments that spread all others", INVALID, web()),
        hostile("aliases", COMPLEX, filled("{", |number| format!("a{number}:me{{id}}"), "}")),
        hostile("one field again and again", COMPLEX, filled("{", |_| "me{id}".to_owned(), "}")),
        hostile("directives", COMPLEX, filled("{me", |_| "@skip(if:false)".to_owned(), "{id}}")),
        hostile("fields below each other", DEEP, nested("", "{a", "{a}", "}", "")),
        hostile("fields the parser gives up at", DEEP, nested("", "{a ", "", "}", "")),
        hostile("a list in a list", DEEP, nested("{account(id:", "[", "1", "]", "){id}}")),
        hostile("introspection in circles", DEEP, nested("{__schema{types", "{fields{type", "{name}", "}}", "}}")),
        hostile("a circle of fragments", INVALID, filled("{...f0}fragment f0 on Query{...f0}", |_| "#".to_owned(), "")),
        hostile("fields that do not exist", INVALID, filled("{accounts{nodes{", |n| format!("numbr{n} "), "}}}")),
        hostile(
            "fields that cannot be one",
            COMPLEX,
            filled("{accounts{nodes{id:number ", |_| "id ".to_owned(), "}}}"),
        ),
        hostile("the same, just within the limits", INVALID, discord()),
        hostile("variables nobody uses", INVALID, filled("query(", |n| format!("$v{n}:Int "), "){me{id}}")),
        hostile("a text without an end", "GRAPHQL_PARSE_FAILED", filled("{account(id:\"", |_| "x".to_owned(), "")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_refused_for_what_it_is_and_fills_a_kilobyte() {
        let engine = Engine::over(SUPERGRAPH).expect("the supergraph").build().expect("an engine");
        for Hostile { class, document, code } in corpus() {
            assert!((BYTES - 100..=BYTES).contains(&document.len()), "{class}: {} bytes", document.len());
            let errors = engine.prepare(&document, None).map(|_| ()).expect_err(class);
            assert_eq!(errors[0].code.as_str(), code, "{class}: {}", errors[0].message);
        }
    }
}
