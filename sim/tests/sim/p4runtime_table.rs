//! `docs/conformance-p4runtime.md` names tests that exist, and each test of the P4Runtime server is
//! in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the test functions in a file.
fn tests_in(file: &Path) -> BTreeSet<String> {
    let mut is_test = false;
    let mut tests = BTreeSet::new();
    for line in read(file).lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some((_, rest)) = line.split_once("fn ") {
            let name = rest.split('(').next().unwrap_or_default();
            tests.insert(name.to_owned());
            is_test = false;
        }
    }
    tests
}

/// What stands between backticks in the table and looks like `file::test`.
fn named() -> BTreeSet<(String, String)> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '/';
    let table = read(&root().join("docs/conformance-p4runtime.md"));
    table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once("::"))
        .filter(|(file, test)| file.chars().chain(test.chars()).all(is_name))
        .map(|(file, test)| (file.to_owned(), test.to_owned()))
        .collect()
}

fn file_of(name: &str) -> PathBuf {
    let path = match name.split_once('/') {
        Some((of, file)) => format!("{of}/tests/{file}.rs"),
        None => format!("sim/tests/sim/{name}.rs"),
    };
    root().join(path)
}

#[test]
fn each_test_that_the_table_names_exists() {
    let missing: Vec<String> = named()
        .iter()
        .filter(|(file, test)| {
            let path = file_of(file);
            !path.is_file() || !tests_in(&path).contains(test)
        })
        .map(|(file, test)| format!("{file}::{test}"))
        .collect();
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

#[test]
fn each_test_of_p4runtime_is_in_the_table() {
    let named = named();
    let here = root().join("sim/tests/sim");
    let mut unnamed = Vec::new();
    for entry in fs::read_dir(here).expect("a directory") {
        let path = entry.expect("an entry").path();
        let file = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !file.starts_with("p4runtime_") {
            continue;
        }
        let tests = tests_in(&path).into_iter();
        let missing = tests.filter(|test| !named.contains(&(file.clone(), test.clone())));
        unnamed.extend(missing.map(|test| format!("{file}::{test}")));
    }
    assert!(unnamed.is_empty(), "in no table:\n{}", unnamed.join("\n"));
}
