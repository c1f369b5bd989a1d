//! The one law, in virtual time: random histories, and those that broke it once.

use system_tests::histories::{Checker, History, history, shrink};

/// Runs the histories of these seeds; the first that breaks the law is shrunk and printed.
fn keep_the_law(seeds: impl Iterator<Item = u64>) {
    let checker = Checker::default();
    let (mut count, mut alone, mut untagged, mut tagged) = (0_u64, 0, 0, 0);
    for seed in seeds {
        let history = history(seed);
        let outcome = checker.check(&history);
        if !outcome.broken.is_empty() {
            let fails = |history: &History| !checker.check(history).broken.is_empty();
            let short = shrink(&history, 3000, fails);
            let broken = checker.check(&short).broken.join("\n  ");
            panic!(
                "the history of seed {seed} breaks the law ({} steps, {} when shrunk):\n  {broken}\n\
                 # as a file for tests/corpus:\n{short}\
                 again: TOPICSWITCH_HISTORY={seed} cargo test -p system-tests --test histories",
                history.len(),
                short.len(),
            );
        }
        count += 1;
        alone += outcome.alone;
        untagged += outcome.untagged;
        tagged += outcome.tagged;
    }
    eprintln!(
        "{count} histories: {alone} PUBLISH at the broker alone, {untagged} + {tagged} tagged"
    );
    assert!(
        untagged + tagged < alone,
        "the data plane took nothing off the broker"
    );
    assert!(tagged > 0, "nothing was served in part");
}

#[test]
fn random_histories_are_observed_as_from_the_broker_alone() {
    let seed = std::env::var("TOPICSWITCH_HISTORY").ok();
    let first = seed.map_or(1, |seed| seed.parse().expect("a number"));
    let count = std::env::var("TOPICSWITCH_HISTORIES").ok();
    let count: u64 = count.map_or(1, |count| count.parse().expect("a number"));
    keep_the_law(first..first + count);
}

/// Whatever breaks the law, by seed, without shrinking: to see how many kinds of failures there are.
#[test]
#[ignore = "by hand: TOPICSWITCH_HISTORY=first TOPICSWITCH_HISTORIES=count"]
fn all_that_breaks_the_law() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("TOPICSWITCH_HISTORY").unwrap_or(1);
    let count = number("TOPICSWITCH_HISTORIES").unwrap_or(1000);
    let checker = Checker::default();
    let start = std::time::Instant::now();
    let mut failed = 0;
    for seed in first..first + count {
        let outcome = checker.check(&history(seed));
        if let Some(broken) = outcome.broken.first() {
            failed += 1;
            eprintln!("{seed}: {broken}");
        }
    }
    eprintln!("{failed} of {count} histories fail, {:?}", start.elapsed());
}
