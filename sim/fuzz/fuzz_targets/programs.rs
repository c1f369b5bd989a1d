//! The programs that the targets start from.

use std::path::PathBuf;

/// The compiled documents of `sim/tests/programs`, by name.
pub fn paths() -> Vec<PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/programs");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the programs are there")
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    paths
}
