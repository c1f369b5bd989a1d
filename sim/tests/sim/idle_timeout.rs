//! Idle timeouts.
use std::time::Duration;

use crate::programs::{Bench, run};
use sim::control::{EntryKey, TableAction, TableEntry};

const AGED: u8 = 20;

fn key() -> EntryKey {
    EntryKey::exact([&[1u8][..]])
}

fn entry(bench: &Bench, seconds: u64) -> TableEntry {
    let table = bench.table("aged");
    let mut entry = TableEntry::new(
        key(),
        TableAction::Direct(bench.call(table, "set_value", &[&[0, 9]])),
    );
    entry.idle_timeout = Duration::from_secs(seconds);
    entry.metadata = vec![1, 2, 3];
    entry
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_idle_entry_is_reported_once_per_timeout_until_it_is_hit_again() {
    let mut bench = run("traffic");
    let table = bench.table("aged");
    bench
        .control
        .write(at(5))
        .insert(table, entry(&bench, 10))
        .expect("insert");
    assert!(bench.control.expired(at(14)).is_empty());
    let expired = bench.control.expired(at(15));
    assert_eq!(expired.len(), 1);
    assert_eq!(
        (expired[0].table, &expired[0].entry),
        (table, &entry(&bench, 10))
    );
    assert!(
        bench.control.expired(at(24)).is_empty(),
        "the timer starts again with the report"
    );
    assert_eq!(bench.control.expired(at(25)).len(), 1);
    bench.now = at(40);
    assert_eq!(bench.send(&[AGED, 1, 0, 0])[19], 9, "it still works");
    assert_eq!(
        bench.control.time_since_last_hit(table, &key(), at(43)),
        Ok(at(3))
    );
    assert!(bench.control.expired(at(49)).is_empty());
    assert_eq!(bench.control.expired(at(50)).len(), 1);
    bench
        .control
        .write(at(60))
        .modify(table, entry(&bench, 5))
        .expect("modify");
    assert!(bench.control.expired(at(64)).is_empty());
    assert_eq!(bench.control.expired(at(65)).len(), 1);
}

#[test]
fn an_entry_without_timeout_never_expires() {
    let bench = run("traffic");
    let table = bench.table("aged");
    bench
        .control
        .write(at(0))
        .insert(table, entry(&bench, 0))
        .expect("insert");
    assert!(bench.control.expired(at(1_000_000)).is_empty());
}

#[test]
fn hits_keep_an_entry_alive() {
    let mut bench = run("traffic");
    let table = bench.table("aged");
    bench
        .control
        .write(at(0))
        .insert(table, entry(&bench, 10))
        .expect("insert");
    for seconds in (0..100).step_by(9) {
        bench.now = at(seconds);
        bench.send(&[AGED, 1, 0, 0]);
        assert!(bench.control.expired(at(seconds + 9)).is_empty());
    }
}
