use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::{modules, root};

/// Package to the workspace packages it is built with.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn graph() -> Graph {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |package: &serde_json::Value| package["name"].as_str().expect("a name").to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            // Test kits may stand on anything; what ships may not.
            let built_with = dependencies.filter(|dependency| dependency["kind"].is_null()).map(name);
            (name(package), built_with.filter(|dependency| ours.contains(dependency)).collect())
        })
        .collect()
}

/// Who may stand on whom: kernel ← events ← messaging ← modules ← schema ← vostro; rabbitmq on messaging, used by vostro.
fn violations(graph: &Graph, modules: &[String]) -> Vec<String> {
    let is_module = |package: &str| modules.iter().any(|module| package == format!("vostro-{module}"));
    let level = |package: &str| match package {
        "vostro-kernel" => 0,
        "vostro-events" => 1,
        "vostro-messaging" => 2,
        "vostro-rabbitmq" | "vostro-testkit" => 3,
        "vostro-schema" => 4,
        "vostro" => 5,
        package if is_module(package) => 3,
        _ => 6,
    };
    let mut violations = Vec::new();
    for (package, dependencies) in graph {
        for dependency in dependencies {
            if is_module(package) && is_module(dependency) {
                violations.push(format!("{package} knows another module: {dependency}"));
            } else if level(dependency) >= level(package) {
                violations.push(format!("{package} stands on {dependency}, which is not below it"));
            } else if dependency == "vostro-rabbitmq" && package != "vostro" {
                violations.push(format!("{package} knows the wire"));
            }
        }
    }
    violations
}

#[test]
fn dependencies_point_one_way() {
    assert_eq!(violations(&graph(), &modules()), Vec::<String>::new());
}

#[test]
fn a_dependency_that_points_the_wrong_way_is_caught() {
    let edge = |from: &str, to: &str| Graph::from([(from.to_owned(), BTreeSet::from([to.to_owned()]))]);
    for (from, to) in [
        ("vostro-account", "vostro-auth"),
        ("vostro-kernel", "vostro-events"),
        ("vostro-messaging", "vostro-rabbitmq"),
        ("vostro-schema", "vostro-rabbitmq"),
        ("vostro-account", "vostro-schema"),
    ] {
        assert_eq!(violations(&edge(from, to), &modules()).len(), 1, "{from} -> {to}");
    }
}

#[test]
fn the_dependency_graph_is_the_one_in_the_golden_file() {
    let text: String = graph()
        .iter()
        .map(|(package, dependencies)| {
            format!("{package}: {}\n", dependencies.iter().cloned().collect::<Vec<_>>().join(" "))
        })
        .collect();
    let path = root().join("tests/architecture/dependencies.golden");
    if std::env::var_os("VOSTRO_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the golden file is writable");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file exists");
    assert_eq!(text, golden, "the graph changed: decide, then run with VOSTRO_WRITE_GOLDEN=1");
}

#[test]
fn only_the_wire_knows_lapin_and_nobody_knows_openssl() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().expect("packages") {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let (package, name) = (package["name"].as_str(), dependency["name"].as_str().expect("a name"));
            let for_tests = dependency["kind"] == "dev";
            assert!(!["openssl", "native-tls", "ring"].contains(&name), "{package:?} depends on {name}");
            assert!(name != "lapin" || package == Some("vostro-rabbitmq") || for_tests, "{package:?} depends on lapin");
        }
    }
}
