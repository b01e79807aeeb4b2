//! Documents that mean harm: one corpus for the tests that promise how soon they are refused and for the benchmark that
//! measures it at a running bank.
//!
//! They are written for the bank's own [supergraph](crate::modules::SUPERGRAPH), because what passes the limits is validated
//! against it.

use std::fmt::Write as _;

#[cfg(test)]
use graphql_tools::static_graphql::query::Document;

use crate::faults::FaultCode;

/// What the promise is about: the worst that an attacker gets into this much.
pub const KILOBYTE: usize = 1024;

/// A way to do harm with a document.
pub struct Hostile {
    pub class: &'static str,
    pub document: String,
    /// What it is refused with.
    pub code: FaultCode,
}

/// Every class in a kilobyte, and the [bomb of 900 bytes](bomb_of_900_bytes).
pub fn kilobyte() -> Vec<Hostile> {
    let mut documents = corpus(KILOBYTE);
    documents.push(bomb_of_900_bytes());
    documents
}

/// One document of every class, as large as this allows. Those that are as bad as the limits let them be do not become worse
/// by being larger; what is left of their bytes is a comment.
pub fn corpus(bytes: usize) -> Vec<Hostile> {
    use FaultCode::{
        ComplexityLimitExceeded as Complex, DepthLimitExceeded as Deep, GraphqlParseFailed as NotGraphql,
        GraphqlValidationFailed as Invalid,
    };
    let filled = |before: &str, with: &dyn Fn(usize) -> String, after: &str| filled(bytes, before, with, after);
    let circles = format!("{{__schema{{types{}{{kind", "{fields{type".repeat(20));
    let hostile = |class, code, document| Hostile { class, document, code };
    vec![
        hostile("fragments that double", Complex, bomb(bytes)),
        hostile("fragments that spread all others", Invalid, web(bytes)),
        hostile("aliases", Complex, filled("{", &|number| format!("a{number}:me{{id}}"), "}")),
        hostile("one field again and again", Complex, filled("{", &|_| "me{id}".to_owned(), "}")),
        hostile("directives", Complex, filled("{me", &|_| "@skip(if:false)".to_owned(), "{id}}")),
        hostile("fields below each other", Deep, filled(&"{a".repeat(40), &|_| " field".to_owned(), &"}".repeat(40))),
        hostile("fields the parser gives up at", Deep, nested(bytes, ["", "{a ", "", "}", ""])),
        hostile("a list in a list", Deep, nested(bytes, ["{account(id:", "[", "1", "]", "){id}}"])),
        hostile("introspection in circles", Deep, filled(&circles, &|_| " name".to_owned(), &"}".repeat(43))),
        hostile(
            "a circle of fragments",
            Invalid,
            filled("{...f0}fragment f0 on Query{...f0}", &|_| "#".to_owned(), ""),
        ),
        hostile("fields that do not exist", Invalid, filled("{accounts{nodes{", &|n| format!("numbr{n} "), "}}}")),
        hostile(
            "fields that cannot be one",
            Invalid,
            filled("{accounts{nodes{id:number ", &|_| "id ".to_owned(), "}}}"),
        ),
        hostile("variables nobody uses", Invalid, filled("query(", &|n| format!("$v{n}:Int "), "){me{id}}")),
        hostile("a text without an end", NotGraphql, filled("{account(id:\"", &|_| "x".to_owned(), "")),
    ]
}

/// Sixteen million selections. async-graphql alone computes for eleven seconds before its own limits refuse it.
pub fn bomb_of_900_bytes() -> Hostile {
    Hostile {
        class: "fragments that double, 900 bytes",
        document: doubling(24),
        code: FaultCode::ComplexityLimitExceeded,
    }
}

/// A chain of fragments that each spread the next one twice: 2ⁿ selections for this many links.
pub fn doubling(links: usize) -> String {
    let mut document = "{...f0}".to_owned();
    for link in 0..links {
        // Writing into a string cannot fail.
        let _ = write!(document, "fragment f{link} on Query{{...f{0} ...f{0}}} ", link + 1);
    }
    document + &format!("fragment f{links} on Query{{__typename}}")
}

/// As many links as fit.
fn bomb(bytes: usize) -> String {
    let fit = (1..).map(doubling).take_while(|document| document.len() <= bytes);
    fit.last().unwrap_or_default()
}

/// As often as it fits between the two.
fn filled(bytes: usize, before: &str, with: impl Fn(usize) -> String, after: &str) -> String {
    let mut document = before.to_owned();
    for number in 0.. {
        let next = with(number);
        if document.len() + next.len() + after.len() > bytes {
            break;
        }
        document.push_str(&next);
    }
    document + after
}

/// As deep as it fits: before, what opens, the core, what closes, after.
fn nested(bytes: usize, [before, open, core, close, after]: [&str; 5]) -> String {
    let depth = bytes.saturating_sub(before.len() + core.len() + after.len()) / (open.len() + close.len());
    format!("{before}{}{core}{}{after}", open.repeat(depth), close.repeat(depth))
}

/// Fragments that each spread all behind them, just within the limits, and a field that does not exist in the last: the
/// whole has to be validated.
fn web(bytes: usize) -> String {
    const FRAGMENTS: usize = 11;
    let mut document = "{accounts{nodes{...f0}}}".to_owned();
    for fragment in 0..FRAGMENTS {
        let spreads: String = (fragment + 1..FRAGMENTS).map(|other| format!("...f{other} ")).collect();
        let _ = write!(document, "fragment f{fragment} on Account{{id {spreads}}}");
    }
    document.truncate(document.len() - 1);
    filled(bytes, &document, |_| "#".to_owned(), "\nnothing}")
}

/// Twice the document is twice the work, and not more: `looked_at` tells how many selections a walk without limits looks at.
///
/// # Panics
/// With the class for which it is more.
#[cfg(test)]
pub(crate) fn work_grows_with_the_text(looked_at: impl Fn(&Document) -> Option<usize>) {
    let work = |hostile: &Hostile| {
        let document = graphql_tools::parser::parse_query::<String>(&hostile.document).ok()?.into_static();
        looked_at(&document)
    };
    let mut counted = 0;
    for (one, two) in corpus(KILOBYTE).iter().zip(&corpus(2 * KILOBYTE)) {
        let (Some(once), Some(twice)) = (work(one), work(two)) else { continue };
        assert!(twice <= 3 * once, "{}: {once} selections looked at, {twice} for twice the text", one.class);
        counted += 1;
    }
    assert!(counted >= 10, "only {counted} classes are GraphQL");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_fills_a_kilobyte() {
        for Hostile { class, document, .. } in corpus(KILOBYTE) {
            assert!((KILOBYTE - 100..=KILOBYTE).contains(&document.len()), "{class}: {} bytes", document.len());
        }
    }

    #[test]
    fn two_links_of_the_bomb_are_74_bytes() {
        assert_eq!([22, 24, 26].map(|links| doubling(links).len()), [826, 900, 974]);
        assert_eq!(bomb_of_900_bytes().document.len(), 900);
    }
}
