use std::path::Path;

use super::{modules, root, sources};

/// What a domain rule may not do: wait, do I/O, ask what time it is, throw dice.
const FORBIDDEN: [&str; 12] = [
    "async ",
    ".await",
    "sqlx",
    "tokio",
    "Utc::now",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::env",
    "rand::",
    "now_v7",
    "tracing::",
];

/// The forbidden words of a file, apart from its tests.
fn impurities(text: &str) -> Vec<&'static str> {
    let rules = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = rules.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    FORBIDDEN.into_iter().filter(|word| code.contains(word)).collect()
}

fn in_test_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn domain_rules_are_functions_of_their_arguments() {
    for module in modules() {
        let files = sources(&root().join("modules").join(&module).join("src/domain"));
        assert!(!files.is_empty(), "{module} has no domain");
        for (path, text) in files.iter().filter(|(path, _)| !in_test_file(path)) {
            assert_eq!(impurities(text), Vec::<&str>::new(), "{}", path.display());
        }
    }
}

#[test]
fn an_impure_rule_is_caught() {
    assert_eq!(impurities("fn late() -> bool { Utc::now() > deadline }"), ["Utc::now"]);
    assert_eq!(impurities("async fn decide() {}"), ["async "]);
    assert_eq!(impurities("// sqlx is not allowed here\nfn decide() {}"), Vec::<&str>::new());
}
