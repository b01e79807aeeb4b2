//! Committed SDL: one file per module, and the supergraph composed from them.
//!
//! Composition needs Node and happens when a sub-schema changes (`schema/compose/compose.mjs`). Whether the committed
//! files belong to the code is checked without it: each file against what the code writes, and the supergraph by the
//! fingerprint of its subgraphs in its first line.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The folder beside the subgraphs with what each audience sees, `<contract>.graphql`.
pub const API: &str = "api";

/// The file name of the composed schema.
pub const SUPERGRAPH: &str = "supergraph.graphql";

const FIRST_LINE: &str = "# subgraphs sha256:";

/// Set this variable to write the files instead of comparing them.
const UPDATE: &str = "UPDATE_GOLDEN";

/// The committed supergraph was composed from other subgraphs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the supergraph is stale: it was composed from subgraphs with sha256 {committed}, the code's are {expected}; \
     run `npm ci && npm run compose` in schema/compose"
)]
pub struct Stale {
    committed: String,
    expected: String,
}

/// SHA-256 in hex over name and text of each subgraph, in the order of their names. `compose.mjs` computes the same.
pub fn fingerprint(subgraphs: &[(&str, String)]) -> String {
    let mut sorted: Vec<_> = subgraphs.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut hash = Sha256::new();
    for (name, sdl) in sorted {
        hash.update(name);
        hash.update([0]);
        hash.update(sdl);
        hash.update([0]);
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Whether `supergraph` was composed from exactly these subgraphs.
///
/// # Errors
/// [`Stale`] with both fingerprints and the way out.
pub fn check_fresh(supergraph: &str, subgraphs: &[(&str, String)]) -> Result<(), Stale> {
    let committed = supergraph.lines().next().and_then(|line| line.strip_prefix(FIRST_LINE)).unwrap_or("none");
    let expected = fingerprint(subgraphs);
    if committed == expected { Ok(()) } else { Err(Stale { committed: committed.to_owned(), expected }) }
}

/// For tests: every `<name>.graphql` in `folder` is what the code writes, no further subgraph lies there, and the
/// supergraph is fresh. With `UPDATE_GOLDEN=1` the subgraph files are written first.
///
/// # Panics
/// With the name of the file that differs and the way out.
#[track_caller]
pub fn assert_committed(folder: &Path, subgraphs: &[(&str, String)]) {
    assert_files(folder, subgraphs);
    let supergraph = std::fs::read_to_string(folder.join(SUPERGRAPH)).unwrap_or_default();
    if let Err(stale) = check_fresh(&supergraph, subgraphs) {
        panic!("{}: {stale}", folder.display());
    }
}

/// For tests: every `<name>.graphql` in `folder` is what the code writes, and there is no other but a supergraph. With
/// `UPDATE_GOLDEN=1` they are written first.
///
/// # Panics
/// With the name of the file that differs and the way out.
#[track_caller]
pub fn assert_files(folder: &Path, schemas: &[(&str, String)]) {
    let update = std::env::var_os(UPDATE).is_some();
    for (name, sdl) in schemas {
        let file = folder.join(format!("{name}.graphql"));
        if update && let Err(error) = std::fs::write(&file, sdl) {
            panic!("{}: {error}", file.display());
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == *sdl, "{} is not what the code writes; run the test with {UPDATE}=1", file.display());
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let known = schemas.iter().any(|(name, _)| file == format!("{name}.graphql"));
        assert!(known || file == SUPERGRAPH || !file.ends_with(".graphql"), "{file} is written by nobody");
    }
}
