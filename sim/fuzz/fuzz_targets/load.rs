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
mod programs;

static PROGRAMS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let read = |path| std::fs::read(path).expect("it can be read");
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes).expect("it is JSON");
    programs::paths().into_iter().map(read).map(parse).collect()
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
