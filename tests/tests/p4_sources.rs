//! What is compiled is what the sources say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};
use system_tests::{on_path, repository, require};

/// The manifest's sha256 sums by file name.
fn manifest(p4src: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(p4src.join("compiled/MANIFEST")).expect("the manifest");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (sum, name) = line.split_once("  ").expect("sum, two blanks, name");
            (name.to_owned(), sum.to_owned())
        })
        .collect()
}

fn sha256(file: &Path) -> String {
    let octets = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Sha256::digest(octets)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

#[test]
fn the_compiled_program_was_made_from_these_sources() {
    let p4src = repository().join("p4src");
    let manifest = manifest(&p4src);
    for (name, sum) in &manifest {
        let found = sha256(&p4src.join(name));
        assert_eq!(found, *sum, "{name} has changed: run p4src/compile.sh");
    }
    let sources: BTreeSet<_> = std::fs::read_dir(&p4src)
        .expect("p4src")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.ends_with(".p4"))
        .collect();
    let known: BTreeSet<_> = manifest
        .into_keys()
        .filter(|name| name.ends_with(".p4"))
        .collect();
    assert_eq!(
        sources, known,
        "a source came or went: run p4src/compile.sh"
    );
}

#[test]
fn the_compiler_makes_the_same_program_again() {
    let compiler = std::env::var_os("P4C")
        .map(Into::into)
        .or_else(|| on_path("p4c-bm2-ss"));
    if !require("p4c", compiler.is_some()) {
        return;
    }
    let version = |text: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix("# p4c "))
            .map(str::to_owned)
    };
    let p4src = repository().join("p4src");
    let committed = std::fs::read_to_string(p4src.join("compiled/MANIFEST")).expect("the manifest");

    let copy = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(&p4src).expect("p4src") {
        let file = entry.expect("an entry").path();
        if file.is_file() {
            let name = file.file_name().expect("a name");
            std::fs::copy(&file, copy.path().join(name)).expect("copied");
        }
    }
    let output = Command::new("sh")
        .arg(copy.path().join("compile.sh"))
        .env("P4C", compiler.expect("it is available"))
        .output()
        .expect("sh runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let compiled = std::fs::read_to_string(copy.path().join("compiled/MANIFEST")).expect("made");
    if version(&compiled) != version(&committed) {
        eprintln!("another p4c than the manifest's: its output may differ, and is not compared");
        return;
    }
    assert_eq!(compiled, committed);
}
