use std::path::Path;

use super::{modules, root, sources};

/// What every module has, so that after one module a reader knows them all.
const ROOMS: [&str; 8] = [
    "README.md",
    "src/lib.rs",
    "src/config.rs",
    "src/error.rs",
    "src/manifest.rs",
    "src/publish.rs",
    "src/domain",
    "src/store",
];

fn missing_rooms(module: &Path) -> Vec<&'static str> {
    ROOMS.into_iter().filter(|room| !module.join(room).exists()).collect()
}

#[test]
fn every_module_has_the_same_rooms() {
    for module in modules() {
        assert_eq!(missing_rooms(&root().join("modules").join(&module)), Vec::<&str>::new(), "{module}");
        let migrations = root().join("migrations").join(&module);
        assert!(migrations.is_dir(), "{module} has no migrations");
    }
}

#[test]
fn a_missing_room_is_caught() {
    assert_eq!(missing_rooms(&root().join("modules")).len(), ROOMS.len());
}

/// Table names after SQL keywords that belong to another module's schema.
fn foreign_tables(module: &str, modules: &[String], text: &str) -> Vec<String> {
    let keywords = ["from ", "join ", "into ", "update "];
    let lower = text.to_lowercase();
    let others = modules.iter().filter(|other| *other != module);
    others
        .flat_map(|other| keywords.map(|keyword| format!("{keyword}{other}.")))
        .filter(|reference| lower.contains(reference.as_str()))
        .collect()
}

#[test]
fn modules_write_sql_on_their_own_schema_only() {
    let modules = modules();
    for module in &modules {
        for (path, text) in sources(&root().join("modules").join(module).join("src")) {
            assert_eq!(foreign_tables(module, &modules, &text), Vec::<String>::new(), "{}", path.display());
        }
    }
}

#[test]
fn sql_on_a_foreign_schema_is_caught() {
    let modules = modules();
    let found = foreign_tables("transaction", &modules, "SELECT posted FROM account.balance");
    assert_eq!(found, ["from account."]);
}
