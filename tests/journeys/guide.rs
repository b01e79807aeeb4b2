//! The guide shows what is run: its flows are played, and its pages hold nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::example::{Setting, play};
use crate::support::people::PASSWORD;
use crate::support::{Staff, World};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const OPERATOR: &str = "operator@bank.example";
const OFFICER: &str = "compliance_officer@bank.example";

/// One whose banks know the documents of @vostro/client.
async fn world() -> World {
    let mut world = World::create().await;
    world.config.graphql.documents_folder = Some(root().join("clients/typescript/src/generated"));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flows_of_the_guide_work_in_rust() {
    let world = world().await;
    let bank = world.open_bank().await;
    Staff::hire(&world).await;
    let setting = Setting {
        url: format!("http://{}/graphql", world.config.http.address),
        operator: OPERATOR.to_owned(),
        officer: OFFICER.to_owned(),
        staff_password: PASSWORD.to_owned(),
        run: "guide".to_owned(),
    };
    play(&setting).await.expect("the guide is right");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flows_of_the_guide_work_with_curl() {
    let world = world().await;
    let bank = world.open_bank().await;
    Staff::hire(&world).await;
    let output = Command::new("bash")
        .arg(root().join("docs/guide.sh"))
        .env("VOSTRO_URL", format!("http://{}/graphql", world.config.http.address))
        .envs([("VOSTRO_OPERATOR", OPERATOR), ("VOSTRO_OFFICER", OFFICER), ("VOSTRO_STAFF_PASSWORD", PASSWORD)])
        .env("RUN", "guide")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("bash and curl are there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for line in
        ["\"status\":\"COMPLETED\"", "\"replayed\":true", "IDEMPOTENCY_KEY_REUSED", "\"ok\":true", "DOCUMENT_NOT_FOUND"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    bank.stop().await;
}

/// The files that are run, by the language their blocks have in the guide.
const SOURCES: [(&str, &str); 3] =
    [("sh", "docs/guide.sh"), ("ts", "clients/typescript/examples/guide.ts"), ("rust", "examples/guide.rs")];

/// The parts of a file between `--- name` and `---` in comments, without the indentation they share.
fn parts(source: &str) -> HashMap<String, String> {
    let mut parts = HashMap::new();
    let mut open: Option<(String, Vec<&str>)> = None;
    for line in source.lines() {
        let comment = line.trim().trim_start_matches(['#', '/']).trim();
        match (comment.strip_prefix("---").map(str::trim), &mut open) {
            (Some(""), Some(_)) => parts.extend(open.take().map(|(name, lines)| (name, without_indentation(&lines)))),
            (Some(name), None) => open = Some((name.to_owned(), Vec::new())),
            (Some(name), Some((inside, _))) => panic!("{name} begins inside {inside}"),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a part does not end");
    parts
}

fn without_indentation(lines: &[&str]) -> String {
    let filled = lines.iter().filter(|line| !line.trim().is_empty());
    let shared = filled.map(|line| line.len() - line.trim_start().len()).min().unwrap_or_default();
    lines.iter().map(|line| line.get(shared..).unwrap_or_default().trim_end()).collect::<Vec<_>>().join("\n")
}

/// Language and text of the code blocks of a page.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(language, lines)| (language, lines.join("\n")))),
            (Some(language), None) => open = Some((language, Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn every_block_of_the_guide_is_a_part_of_a_program_that_is_run() {
    let guide = read(&root().join("docs/guide.md"));
    let sources = SOURCES.map(|(language, file)| (language, file, parts(&read(&root().join(file)))));
    let shown = blocks(&guide);
    for (language, text) in shown.iter().filter(|(language, _)| !language.is_empty()) {
        let source = sources.iter().find(|(known, ..)| known == language);
        let (_, file, parts) = source.unwrap_or_else(|| panic!("nothing runs the blocks of {language}"));
        assert!(parts.values().any(|part| part == text), "{file} has no such part:\n{text}");
    }
    for (language, file, parts) in &sources {
        for (name, part) in parts {
            let is_shown = shown.iter().any(|(known, text)| known == language && text == part);
            assert!(is_shown, "the guide does not show part `{name}` of {file}");
        }
    }
}
