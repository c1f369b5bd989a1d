//! Any document: it loads, or the error says where it is wrong. It never panics, and what loads
//! carries frames.
//!
//! The first byte picks a program of `sim/tests/programs`, whose JSON the rest changes value by
//! value; 255 takes the rest as the document itself.
//!
//! `cargo fuzz run load` in `sim/`, on a nightly toolchain or with `RUSTC_BOOTSTRAP=1`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[path = "../../tests/sim/damage/mod.rs"]
mod damage;

static PROGRAMS: LazyLock<Vec<Value>> = LazyLock::new(|| {
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
    let read = |path| std::fs::read(path).expect("it can be read");
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes).expect("it is JSON");
    paths.into_iter().map(read).map(parse).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((&which, data)) = data.split_first() else {
        return;
    };
    if which == 255 {
        damage::check(data, None);
        return;
    }
    let mut document = PROGRAMS[usize::from(which) % PROGRAMS.len()].clone();
    damage::damage(&mut document, data);
    damage::check(document.to_string().as_bytes(), Some(&document));
});
