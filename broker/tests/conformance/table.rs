//! The tables of `docs/conformance*.md` name tests that exist, and each test here is in one of them.
//!
//! A test is named as `file::test` in backticks: `file` is a file of this directory, or of its `emqx`,
//! or `broker/…` of the broker's own tests, or `mqttsn/…` of the codec's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn here() -> PathBuf {
    root().join("broker/tests/conformance")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The entries of a directory, in order.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// The names of the test functions in a file.
fn tests_in(file: &Path) -> BTreeSet<String> {
    let source = read(file);
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line == "#[tokio::test]" {
            is_test = true;
        } else if is_test && let Some((_, rest)) = line.split_once("fn ") {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            tests.insert(name);
            is_test = false;
        }
    }
    tests
}

/// All tests of this directory, as (file, test).
fn tests_here(directory: &Path) -> BTreeSet<(PathBuf, String)> {
    let mut found = BTreeSet::new();
    for path in entries(directory) {
        if path.is_dir() {
            found.extend(tests_here(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let tests = tests_in(&path);
            found.extend(tests.into_iter().map(|test| (path.clone(), test)));
        }
    }
    found
}

/// What stands between backticks and looks like `file::test`.
fn references(table: &str) -> Vec<(String, String)> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once("::"))
        .filter(|(file, test)| {
            file.chars().all(|c| is_name(c) || c == '/') && test.chars().all(is_name)
        })
        .map(|(file, test)| (file.to_owned(), test.to_owned()))
        .collect()
}

/// Where the tests of a file may be.
fn places(file: &str) -> Vec<PathBuf> {
    let mut places = vec![here().join(file), here().join("emqx").join(file)];
    if let Some((krate, file)) = file.split_once('/') {
        match krate {
            "broker" => places.push(root().join("broker/tests/broker").join(file)),
            "mqttsn" => places.push(root().join("mqttsn/tests").join(file)),
            _ => {}
        }
    }
    places
        .into_iter()
        .map(|place| place.with_extension("rs"))
        .filter(|place| place.is_file())
        .collect()
}

/// The tables, by the names of their files.
fn tables() -> BTreeMap<String, String> {
    let docs = entries(&root().join("docs"));
    let tables: BTreeMap<_, _> = docs
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            // P4Runtime's table is held to its tests by the sim's own.
            let is_table = name.starts_with("conformance")
                && name.ends_with(".md")
                && name != "conformance-p4runtime.md";
            is_table.then(|| (name.to_owned(), read(&path)))
        })
        .collect();
    assert!(tables.contains_key("conformance.md"));
    tables
}

#[test]
fn each_test_that_a_table_names_exists() {
    let mut missing = Vec::new();
    for (table, text) in tables() {
        let references = references(&text);
        assert!(!references.is_empty(), "{table} names no test");
        for (file, test) in references {
            let exists = places(&file)
                .iter()
                .any(|place| tests_in(place).contains(&test));
            if !exists {
                missing.push(format!("{table}: {file}::{test}"));
            }
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

#[test]
fn each_test_of_conformance_is_in_a_table() {
    let mut named = BTreeSet::new();
    for text in tables().into_values() {
        for (file, test) in references(&text) {
            named.extend(places(&file).into_iter().map(|place| (place, test.clone())));
        }
    }
    let unnamed: Vec<String> = tests_here(&here())
        .difference(&named)
        .map(|(file, test)| format!("{}::{test}", file.display()))
        .collect();
    assert!(unnamed.is_empty(), "in no table:\n{}", unnamed.join("\n"));
}

/// The list of S3ler's cases is whole: the suite has 104.
#[test]
fn each_case_of_s3ler_has_its_row() {
    let table = read(&root().join("docs/conformance.md"));
    let rows: BTreeSet<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("`s3ler/"))
        .collect();
    assert_eq!(rows.len(), 104);
}
