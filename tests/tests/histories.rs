//! The one law, in virtual time: random histories, and those that broke it once.
//!
//! `TOPICSWITCH_HISTORY` (first seed) and `TOPICSWITCH_HISTORIES` (how many) choose other histories
//! than those of every run; `TOPICSWITCH_SOAK` (seconds) draws new seeds until the time is over.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use system_tests::histories::{Checker, History, Outcome, Sabotage, history, shrink};
use system_tests::repository;
use tracing_subscriber::EnvFilter;

/// Histories of each run of this test.
const HISTORIES: u64 = 2000;
/// Histories that shrinking may try.
const TRIES: usize = 600;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// What many histories came to.
#[derive(Default)]
struct Sum {
    histories: u64,
    alone: u64,
    untagged: u64,
    tagged: u64,
    received: u64,
    standbys: u64,
    takeovers: u64,
    late: u64,
    failed: Vec<u64>,
}

/// Runs histories on all processors while `more` gives seeds; stops at the first that breaks the law.
fn run(more: impl Fn() -> Option<u64> + Sync) -> Sum {
    let stop = AtomicU64::new(0);
    let worker = || {
        let checker = Checker::default();
        let mut sum = Sum::default();
        while stop.load(Ordering::Relaxed) == 0
            && let Some(seed) = more()
        {
            let history = history(seed);
            let outcome = checker.check(&history);
            sum.histories += 1;
            sum.standbys += u64::from(history.standby.is_some());
            sum.takeovers += outcome.takeovers;
            sum.late += outcome.late;
            sum.alone += outcome.alone;
            sum.untagged += outcome.untagged;
            sum.tagged += outcome.tagged;
            sum.received += outcome.received;
            if !outcome.broken.is_empty() {
                sum.failed.push(seed);
                stop.store(1, Ordering::Relaxed);
            }
        }
        sum
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Sum::default();
        for worker in workers {
            let sum = worker.join().expect("no panic");
            all.histories += sum.histories;
            all.alone += sum.alone;
            all.untagged += sum.untagged;
            all.tagged += sum.tagged;
            all.received += sum.received;
            all.standbys += sum.standbys;
            all.takeovers += sum.takeovers;
            all.late += sum.late;
            all.failed.extend(sum.failed);
        }
        all
    })
}

/// The law was kept, and the data plane did some of the work.
fn expect_the_law(sum: &Sum) {
    if let Some(seed) = sum.failed.first() {
        let checker = Checker::default();
        let long = history(*seed);
        let fails = |history: &History| !checker.check(history).broken.is_empty();
        let short = shrink(&long, TRIES, fails);
        panic!(
            "history {seed} breaks the law ({} steps, {} when shrunk):\n  {}\n\
             # for tests/corpus:\n{short}\
             again: TOPICSWITCH_HISTORY={seed} TOPICSWITCH_HISTORIES=1 cargo test -p system-tests \
             --test histories random",
            long.len(),
            short.len(),
            checker.check(&short).broken.join("\n  "),
        );
    }
    let Sum {
        histories,
        alone,
        untagged,
        tagged,
        received,
        standbys,
        takeovers,
        late,
        ..
    } = sum;
    eprintln!(
        "{histories} histories, {received} messages received; PUBLISH at the broker: {alone} alone, \
         {untagged} and {tagged} tagged behind the switch; {standbys} with a standby, {takeovers} \
         takeovers, {late} writes after one"
    );
    // Otherwise nothing was compared with anything.
    assert!(untagged + tagged < *alone, "the data plane did nothing");
    assert!(
        *standbys < 100 || (takeovers * 2 >= *standbys && *late > 0),
        "standbys did next to nothing"
    );
}

#[test]
fn random_histories_are_observed_as_from_the_broker_alone() {
    let first = number("TOPICSWITCH_HISTORY").unwrap_or(1);
    let count = number("TOPICSWITCH_HISTORIES").unwrap_or(HISTORIES);
    let next = AtomicU64::new(first);
    let sum = run(|| {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        (seed < first + count).then_some(seed)
    });
    expect_the_law(&sum);
}

#[test]
#[ignore = "for `make soak`"]
fn histories_of_other_seeds_are_observed_as_from_the_broker_alone() {
    let time = Duration::from_secs(number("TOPICSWITCH_SOAK").unwrap_or(60));
    let start = Instant::now();
    let next = AtomicU64::new(rand::random::<u64>() >> 16);
    let sum = run(|| (start.elapsed() < time).then(|| next.fetch_add(1, Ordering::Relaxed)));
    expect_the_law(&sum);
}

/// The files of the corpus.
fn corpus() -> Vec<(PathBuf, History)> {
    let dir = repository().join("tests/corpus");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "history"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("text");
        let history = text.parse();
        let history = history.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, history)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn histories_that_broke_the_law_once_keep_it_now() {
    let checker = Checker::default();
    let corpus = corpus();
    assert!(!corpus.is_empty());
    for (path, history) in corpus {
        let broken = checker.check(&history).broken;
        assert!(
            broken.is_empty(),
            "{}:\n{}",
            path.display(),
            broken.join("\n")
        );
    }
}

/// Each sabotage breaks the law in one of the first `histories`.
fn expect_found_out(sabotages: &[Sabotage], histories: u64) {
    let checker = Checker::default();
    for sabotage in sabotages {
        // Only what the sabotage breaks counts.
        let breaks = |seed: &u64| {
            let history = history(*seed);
            let outcome = checker.check_sabotaged(&history, Some(*sabotage));
            !outcome.broken.is_empty() && checker.check(&history).broken.is_empty()
        };
        let seed = (1..=histories).find(breaks);
        eprintln!("{sabotage:?}: history {seed:?}");
        assert!(
            seed.is_some(),
            "{histories} histories do not see {sabotage:?}"
        );
    }
}

#[test]
fn a_system_that_is_broken_on_purpose_is_found_out() {
    expect_found_out(&Sabotage::SOON, 1000);
}

#[test]
#[ignore = "for `make soak`"]
fn a_system_that_is_broken_on_purpose_is_found_out_in_the_end() {
    expect_found_out(&Sabotage::RARE, 2000);
}

/// One history, of a file. `RUST_LOG` shows what the controller says of it.
#[test]
#[ignore = "by hand: TOPICSWITCH_HISTORY_FILE=path"]
fn a_history_of_a_file_keeps_the_law() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    let path = std::env::var("TOPICSWITCH_HISTORY_FILE").expect("TOPICSWITCH_HISTORY_FILE");
    let text = std::fs::read_to_string(&path).expect("text");
    let history: History = text
        .parse()
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let broken = Checker::default().check(&history).broken;
    assert!(broken.is_empty(), "{path}:\n{}", broken.join("\n"));
}

#[test]
fn a_history_is_the_same_each_time_it_runs() {
    // Among them those that were not, when the controller left to chance what it heard first.
    for seed in [3, 5, 8, 13, 21, 34, 36, 55, 77, 84, 89, 111, 149] {
        let run = || -> Outcome { Checker::default().check(&history(seed)) };
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn a_history_reads_back_from_its_text() {
    for seed in 0..200 {
        let history = history(seed);
        assert_eq!(history.to_string().parse(), Ok(history));
    }
    let wrong = "seed 1\nclients 1\nround\n  0 client 0 fly";
    let error = wrong.parse::<History>().expect_err("nobody can fly");
    assert_eq!(error.to_string(), "line 4: no client can `fly`");
}

/// The same of many.
#[test]
#[ignore = "by hand: TOPICSWITCH_HISTORY=first TOPICSWITCH_HISTORIES=count"]
fn histories_are_the_same_each_time_they_run() {
    let first = number("TOPICSWITCH_HISTORY").unwrap_or(1);
    let count = number("TOPICSWITCH_HISTORIES").unwrap_or(300);
    let checker = Checker::default();
    let twice = |seed: &u64| {
        let history = history(*seed);
        checker.check(&history) != checker.check(&history)
    };
    let other: Vec<u64> = (first..first + count).filter(twice).collect();
    assert!(other.is_empty(), "not the same twice: {other:?}");
}

/// What breaks the law, by seed, without shrinking: to see how many kinds of failures there are.
#[test]
#[ignore = "by hand: TOPICSWITCH_HISTORY=first TOPICSWITCH_HISTORIES=count"]
fn all_that_breaks_the_law() {
    let first = number("TOPICSWITCH_HISTORY").unwrap_or(1);
    let count = number("TOPICSWITCH_HISTORIES").unwrap_or(1000);
    let checker = Checker::default();
    let start = Instant::now();
    let mut failed = 0;
    for seed in first..first + count {
        let outcome = checker.check(&history(seed));
        if let Some(broken) = outcome.broken.first() {
            failed += 1;
            eprintln!("{seed}: {broken}");
            if count == 1 {
                eprintln!("{}", history(seed));
            }
        }
    }
    eprintln!("{failed} of {count} histories fail, {:?}", start.elapsed());
}
