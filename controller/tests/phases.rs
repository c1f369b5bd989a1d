//! In which order rows are written: make before break.

mod bench;

use std::time::Duration;

use bench::{Bench, config, normal, topic};
use controller::apply::{Op, Update};
use controller::tables::{subscriber, topic as topic_table};

/// Positions of the batches that hold an update of the table.
fn batches_with(batches: &[Vec<Update>], table: &str, op: Op) -> Vec<usize> {
    let holds = |batch: &Vec<Update>| {
        let mut updates = batch.iter();
        updates.any(|update| update.key.table() == table && update.op == op)
    };
    let positions = batches.iter().enumerate();
    positions
        .filter(|(_, batch)| holds(batch))
        .map(|(i, _)| i)
        .collect()
}

#[test]
fn groups_and_subscribers_are_written_in_a_batch_before_their_topic() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[1, 2]));
    let batches = bench.run();
    let group = batches_with(&batches, "multicast group", Op::Insert);
    let rows = batches_with(&batches, subscriber::NAME, Op::Insert);
    let topics = batches_with(&batches, topic_table::NAME, Op::Insert);
    assert_eq!((group, rows, topics), (vec![0], vec![0], vec![1]));
}

#[test]
fn the_next_set_gets_a_new_group_and_the_old_one_goes_after_the_drain_time() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    let old = bench.topic_row(1).unwrap().groups()[0].unwrap();
    let revision = bench.set_topic(1, topic(2, &[1]));
    let batches = bench.run();
    assert_eq!(
        bench.installed(),
        Some(revision),
        "it does not wait for the drain"
    );
    assert_eq!(
        batches_with(&batches, topic_table::NAME, Op::Modify).len(),
        1
    );
    assert!(batches_with(&batches, "multicast group", Op::Modify).is_empty());
    assert!(batches_with(&batches, "multicast group", Op::Delete).is_empty());
    assert_eq!(bench.members(old).0.len(), 2, "the old group is as it was");
    let batches = bench.pass(Duration::from_millis(100));
    let group = batches_with(&batches, "multicast group", Op::Delete);
    let row = batches_with(&batches, subscriber::NAME, Op::Delete);
    assert!(
        group[0] < row[0],
        "a row goes after the group that leads to it"
    );
    assert_eq!(bench.count(subscriber::NAME), 1);
}

#[test]
fn the_drain_time_counts_from_the_write_that_leaves_the_group_however_slow_it_is() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let mut wanted = topic(1, &[1, 2]);
    wanted.aliases.insert(offload::SessionId(2), normal(9));
    bench.set_topic(1, wanted);
    bench.settle();
    bench.set_topic(1, topic(2, &[1]));
    let drain = Duration::from_millis(config().drain_ms);
    let mut left = None;
    let mut deletes = 0;
    for _ in 0..20 {
        let now = bench.now;
        let Some(batch) = bench.device.next_batch(now) else {
            bench.now += drain / 10;
            continue;
        };
        let deletes_something = batch.iter().any(|update| update.op == Op::Delete);
        if deletes_something {
            let left: std::time::Instant = left.expect("the topic has left its group");
            assert!(
                now >= left + drain,
                "{batch:?} {:?} too early",
                left + drain - now
            );
            deletes += batch.len();
        }
        let results = bench.state.write(&batch);
        bench.now += drain * 2; // The switch takes its time.
        bench.device.batch_done(bench.now, results);
        if batch
            .iter()
            .any(|update| update.key.table() == topic_table::NAME)
        {
            left = Some(bench.now);
        }
    }
    assert_eq!(deletes, 3, "the group, the alias and the row of client 2");
}

#[test]
fn a_change_of_many_topics_is_split_into_batches_but_keeps_its_phases() {
    let mut bench = Bench::new(controller::Config {
        batch: 3,
        ..config()
    });
    bench.learn(9);
    let changes = (0..20u32)
        .map(|i| {
            let topic = topic(1, &[(i % 9 + 1) as u8, (i % 7 + 2) as u8]);
            offload::Change::Topic(offload::TopicIndex(i), Some(topic))
        })
        .collect();
    bench.change(changes);
    let batches = bench.run();
    assert!(batches.iter().all(|batch| batch.len() <= 3));
    let last_group = batches_with(&batches, "multicast group", Op::Insert).pop();
    let topics = batches_with(&batches, topic_table::NAME, Op::Insert);
    assert!(last_group < topics.first().copied());
    assert_eq!(bench.count(topic_table::NAME), 20);
}

#[test]
fn nothing_is_written_for_a_revision_that_changes_nothing_here() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[1]));
    bench.settle();
    // A publication to a topic that is not of the intent stays in software.
    let revision = bench.set_publication(1, normal(9), 77);
    assert!(bench.run().is_empty());
    assert_eq!(bench.installed(), Some(revision));
}

#[test]
fn a_change_costs_what_it_changes() {
    let mut bench = Bench::new(config());
    bench.learn(9);
    for i in 0..200 {
        bench.set_topic(i, topic(1, &[(i % 9 + 1) as u8]));
    }
    bench.settle();
    bench.set_topic(5, topic(2, &[1, 2]));
    let batches = bench.run();
    let written: usize = batches.iter().map(Vec::len).sum();
    assert_eq!(written, 2, "one group and one topic: {batches:?}");
}

#[test]
fn what_comes_while_leftovers_are_deleted_is_written_right_after() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    bench.set_topic(1, topic(2, &[1]));
    bench.run();
    bench.now += Duration::from_millis(config().drain_ms);
    let batch = bench.device.next_batch(bench.now);
    let batch = batch.expect("the group before goes");
    assert!(batch.iter().all(|update| update.op == Op::Delete));
    let revision = bench.set_topic(2, topic(3, &[3]));
    let results = bench.state.write(&batch);
    bench.device.batch_done(bench.now, results);
    bench.run();
    assert_eq!(bench.installed(), Some(revision));
}
