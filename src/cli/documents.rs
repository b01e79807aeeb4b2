//! Registering the documents of clients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use vostro_schema::door::{TrustedDocuments, manifest};
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::{Engine, Limits};

use super::output;

#[derive(Debug, Subcommand)]
pub enum DocumentsCommand {
    /// Check a client's manifest (of Relay, Apollo or Hive) against the schema and the limits, and add it to a folder.
    #[command(after_help = "Example:\n  vostro documents import persisted.json --client mobile --folder documents\n\n\
        Then set graphql.documents_folder, and graphql.documents = \"registered\" to take nothing else \
        (graphql.id_only_clients to take nothing else from some clients).")]
    Import {
        /// The manifest the client's build wrote.
        manifest: PathBuf,
        /// The client's name; its documents go to <folder>/<client>.json.
        #[arg(long, value_name = "NAME")]
        client: String,
        #[arg(long, default_value = "documents", value_name = "FOLDER")]
        folder: PathBuf,
    },
}

/// # Errors
/// When a file cannot be read or written. A document that cannot be registered is printed, and nothing is written.
pub fn run(command: &DocumentsCommand) -> anyhow::Result<bool> {
    let DocumentsCommand::Import { manifest, client, folder } = command;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if client.is_empty() || !client.bytes().all(is_name) {
        bail!("--client: letters, digits, - and _ only");
    }
    let new = read(manifest)?;
    let problems = problems(&new)?;
    for problem in &problems {
        output::text(problem);
    }
    if !problems.is_empty() {
        return Ok(false);
    }
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    // With those of all clients, as the bank reads them: it would not start with a contradiction.
    TrustedDocuments::of_folder(folder)?.register(client, new.clone())?;
    let file = folder.join(format!("{client}.json"));
    let mut all: BTreeMap<String, String> =
        if file.exists() { read(&file)?.into_iter().collect() } else { BTreeMap::new() };
    let known = all.len();
    for (id, text) in new {
        all.insert(id, text);
    }
    let json = serde_json::to_string_pretty(&all)?;
    std::fs::write(&file, json + "\n").with_context(|| format!("writing {}", file.display()))?;
    output::text(&format!("{}: {} documents, {} of them new.", file.display(), all.len(), all.len() - known));
    Ok(true)
}

fn read(file: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    manifest(&text).map_err(|reason| anyhow::anyhow!("{}: not a manifest: {reason}", file.display()))
}

/// What keeps documents from being registered. Introspection is off where registered documents matter.
fn problems(documents: &[(String, String)]) -> anyhow::Result<Vec<String>> {
    let engine = Engine::over(SUPERGRAPH)?.limits(Limits { introspection: false, ..Limits::default() }).build()?;
    let mut problems = Vec::new();
    for (id, text) in documents {
        if let Err(errors) = engine.prepare(text, None) {
            problems.extend(errors.iter().map(|error| format!("{id}: {error}")));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_checked_merged_and_never_changes_an_id() {
        let folder = std::env::temp_dir().join(format!("vostro-documents-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let import_as = |client: &str, text: &str| {
            let manifest = folder.join("manifest.txt");
            std::fs::write(&manifest, text).expect("the manifest can be written");
            run(&DocumentsCommand::Import { manifest, client: client.to_owned(), folder: folder.clone() })
        };
        let import = |text: &str| import_as("mobile", text);
        assert!(import(r#"{"a": "{ me { id } }"}"#).expect("a good manifest"));
        assert!(import(r#"{"b": "{ unreadCount }"}"#).expect("another one"));
        let written = std::fs::read_to_string(folder.join("mobile.json")).expect("the file is there");
        assert!(written.contains("\"a\"") && written.contains("\"b\""), "{written}");
        assert!(!import(r#"{"c": "{ nothing }"}"#).expect("it is read, and refused"));
        assert!(import(r#"{"a": "{ unreadCount }"}"#).is_err(), "an id never changes");
        let refused = import_as("web", r#"{"a": "{ unreadCount }"}"#).expect_err("nor does another client change it");
        assert!(refused.to_string().contains("mobile"), "{refused}");
        assert!(!folder.join("web.json").exists());
        assert!(import_as("web", r#"{"a": "{ me { id } }"}"#).expect("the same document"));
        assert!(import("[]").is_err());
        std::fs::remove_dir_all(&folder).expect("the folder is still there");
    }
}
