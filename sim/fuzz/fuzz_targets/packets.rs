//! Any history: entries, groups and frames drawn from the bytes, through the switch and through the
//! reference interpreter of the tests. Nothing panics, and both do the same.
//!
//! The first byte picks a program of `sim/tests/programs`.
//!
//! `cargo fuzz run packets` in `sim/`, on a nightly toolchain or with `RUSTC_BOOTSTRAP=1`.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

mod programs;
#[path = "../../tests/sim/reference/mod.rs"]
mod reference;
#[path = "../../tests/sim/scenario/mod.rs"]
mod scenario;

use scenario::{Case, Subject, play};

fn subjects() -> Vec<Subject> {
    let mut paths = programs::paths();
    paths.push(
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../p4src/compiled/mqttsn.json"
        )
        .into(),
    );
    paths.sort();
    let subjects = paths.iter().map(|path| {
        let json = std::fs::read(path).expect("it can be read");
        Subject::load(&path.display().to_string(), &json).expect("the program loads")
    });
    subjects.collect()
}

thread_local! {
    static SUBJECTS: Vec<Subject> = subjects();
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, data)) = data.split_first() else {
        return;
    };
    SUBJECTS.with(|subjects| {
        let subject = &subjects[usize::from(which) % subjects.len()];
        if let Err(difference) = play(subject, &Case::cut(data)) {
            panic!("{difference}");
        }
    });
});
