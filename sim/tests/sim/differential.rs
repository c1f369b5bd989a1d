//! The switch does what the reference interpreter does, whatever its tables hold and whatever
//! comes.
//!
//! `SIM_DIFFERENTIAL_CASES` sets the number of histories of each program (300), and
//! `SIM_DIFFERENTIAL_DIR` names a directory of BMv2 JSON documents for [`any_program`], which
//! reads none otherwise.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

use sim::Pipeline;

use crate::scenario::{Case, Outcome, Subject, play};

fn cases() -> u32 {
    let given = std::env::var("SIM_DIFFERENTIAL_CASES").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(300)
}

/// `SIM_DIFFERENTIAL_SEED`, or any.
fn seed() -> RngSeed {
    let given = std::env::var("SIM_DIFFERENTIAL_SEED").ok();
    match given.and_then(|given| given.parse().ok()) {
        Some(seed) => RngSeed::Fixed(seed),
        None => RngSeed::Random,
    }
}

fn case() -> impl Strategy<Value = Case> {
    let tape = |most| prop::collection::vec(any::<u8>(), 0..most);
    let writes = prop::collection::vec(tape(40), 0..24);
    let packets = prop::collection::vec(tape(240), 1..6);
    (writes, packets).prop_map(|(writes, packets)| Case { writes, packets })
}

/// What a failure may cost until it is short.
const SHRINKS: u32 = 20_000;

/// How the histories of one program ended.
#[derive(Debug, Default)]
struct Tally {
    agreed: usize,
    left: usize,
    open: usize,
    last_open: String,
    /// Entries hit, by table.
    hits: BTreeMap<String, u64>,
}

/// The histories of one program; an error is the least of those that show a difference.
fn compare(subject: &Subject, cases: u32, shrinks: u32, seed: RngSeed) -> Result<Tally, String> {
    let tally = std::cell::RefCell::new(Tally::default());
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: shrinks,
        rng_seed: seed,
        ..ProptestConfig::default()
    });
    let result = runner.run(&case(), |case| {
        let mut tally = tally.borrow_mut();
        match play(subject, &case) {
            Ok(Outcome::Agreed { left, hits }) => {
                tally.agreed += 1;
                tally.left += left;
                for (table, hits) in hits.into_iter().filter(|(_, hits)| *hits > 0) {
                    *tally.hits.entry(table).or_default() += hits;
                }
            }
            Ok(Outcome::Open(stop)) => {
                tally.open += 1;
                tally.last_open = format!("{stop:?}");
            }
            Err(difference) => return Err(TestCaseError::fail(difference)),
        }
        Ok(())
    });
    match result {
        Ok(()) => Ok(tally.into_inner()),
        Err(TestError::Fail(reason, _)) => Err(reason.to_string()),
        Err(TestError::Abort(reason)) => Err(reason.to_string()),
    }
}

/// Compares one of the programs here. Most histories must end, and frames must leave.
fn agree(path: &Path) {
    let json = std::fs::read(path).expect("the document is there");
    let name = path.file_stem().expect("a name").to_string_lossy();
    let subject = Subject::load(&name, &json).expect("the program loads");
    match compare(&subject, cases(), SHRINKS, seed()) {
        Ok(tally) => {
            assert!(tally.agreed > tally.open, "{name}: {tally:?}");
            assert!(tally.left > 0, "{name}: {tally:?}");
            println!("{name}: {tally:?}");
        }
        Err(difference) => panic!("{difference}"),
    }
}

fn here(program: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("tests/programs").join(format!("{program}.json"))
}

fn documents(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<_> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    paths
}

macro_rules! programs {
    ($($name:ident: $program:literal;)*) => {
        $(#[test]
        fn $name() {
            agree(&here($program));
        })*

        /// What has no test of its own.
        #[test]
        fn all_other_programs_agree_with_the_reference() {
            let own = [$(here($program)),*];
            let directory = here("any").with_file_name("");
            let mut others = documents(&directory);
            others.extend(documents(&directory.join("stf")));
            others.retain(|path| !own.contains(path));
            others.iter().for_each(|path| agree(path));
        }
    };
}

programs! {
    expressions_agree_with_the_reference: "arithmetic";
    checksums_agree_with_the_reference: "checksums";
    everything_agrees_with_the_reference: "everything";
    parsers_agree_with_the_reference: "parser";
    tables_agree_with_the_reference: "tables";
    the_traffic_manager_agrees_with_the_reference: "traffic";
}

#[test]
fn our_own_program_agrees_with_the_reference() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    agree(&here.join("../p4src/compiled/mqttsn.json"));
}

#[test]
fn bytes_as_a_fuzzer_writes_them_agree_too() {
    let json = std::fs::read(here("traffic")).expect("the document is there");
    let subject = Subject::load("traffic", &json).expect("the program loads");
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    };
    let mut runner = TestRunner::new(config);
    let bytes = prop::collection::vec(any::<u8>(), 0..1500);
    let result = runner.run(&bytes, |bytes| match play(&subject, &Case::cut(&bytes)) {
        Ok(_) => Ok(()),
        Err(difference) => Err(TestCaseError::fail(difference)),
    });
    if let Err(TestError::Fail(reason, _)) = result {
        panic!("{reason}");
    }
}

/// Gives `sim` another program than the reference: the least change must be found out.
fn is_found_out(path: &Path, from: &str, to: &str) {
    let json = std::fs::read(path).expect("the document is there");
    let mut subject = Subject::load("changed", &json).expect("the program loads");
    let document = subject.program.document.to_string();
    let changed = document.replacen(from, to, 1);
    assert_ne!(document, changed, "{from} is in the document");
    let changed = Pipeline::load(changed.as_bytes()).expect("the changed program loads");
    subject.pipeline = Arc::new(changed);
    let difference = compare(&subject, 4_000, 0, RngSeed::Fixed(1)).expect_err(from);
    assert!(difference.contains("expected"), "{difference}");
}

#[test]
fn a_change_of_the_program_is_found_out() {
    let changes = [
        ("arithmetic", r#""op":"+""#, r#""op":"|""#),
        ("arithmetic", r#""op":">>""#, r#""op":"<<""#),
        ("checksums", r#""algo":"csum16""#, r#""algo":"crc16""#),
        ("parser", r#""value":"0x09""#, r#""value":"0x08""#),
        ("parser", r#""mask":"0xf0""#, r#""mask":"0xe0""#),
        (
            "tables",
            r#""action_data":["0x3"]"#,
            r#""action_data":["0x4"]"#,
        ),
        ("traffic", r#""value":"0xcccc""#, r#""value":"0xcccd""#),
    ];
    for (program, from, to) in changes {
        is_found_out(&here(program), from, to);
    }
}

/// Tells of every program of a directory how its comparison ended; all must agree.
#[test]
fn any_program() {
    let Ok(directory) = std::env::var("SIM_DIFFERENTIAL_DIR") else {
        return;
    };
    let paths = documents(Path::new(&directory));
    let mut different = Vec::new();
    for path in &paths {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let json = std::fs::read(path).expect("it can be read");
        let compared = std::panic::catch_unwind(|| {
            let subject = Subject::load(&name, &json).map_err(|error| format!("LOAD {error}"))?;
            compare(&subject, cases(), SHRINKS, seed())
        });
        match compared {
            Ok(Ok(tally)) => println!("AGREES {name} {tally:?}"),
            Ok(Err(difference)) => {
                println!("DIFFERS {name} {difference}");
                different.push(name);
            }
            Err(_) => {
                println!("PANICS {name}");
                different.push(name);
            }
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} differ: {different:?}",
        different.len(),
        paths.len()
    );
}
