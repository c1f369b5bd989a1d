//! Multicast groups, replication ids, aliases.

mod bench;

use std::time::Duration;

use bench::{Bench, config, normal, topic};
use controller::Config;
use controller::tables::topic::{Action, Offload};
use controller::tables::{Key, Value, subscriber_alias};
use offload::{Change, Refusal, RefusedItem, SessionId, TopicIndex};

fn offload_row(bench: &Bench, index: u32) -> Offload {
    match bench.topic_row(index) {
        Some(Action::Offload(offload)) => offload,
        other => panic!("not offloaded: {other:?}"),
    }
}

#[test]
fn topics_with_the_same_members_share_one_group() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.set_topic(2, topic(1, &[2, 1]));
    bench.settle();
    let (a, b) = (offload_row(&bench, 1), offload_row(&bench, 2));
    assert_eq!((a.group_q0, a.group_q1), (b.group_q0, b.group_q1));
    assert_eq!(a.group_q0, a.group_q1);
    bench.change(vec![Change::Topic(TopicIndex(1), None)]);
    bench.settle();
    assert_eq!(
        bench.members(b.group_q0).0.len(),
        2,
        "the other topic still uses it"
    );
    bench.change(vec![Change::Topic(TopicIndex(2), None)]);
    bench.settle();
    assert_eq!(
        bench.count("multicast group"),
        1,
        "the flood group alone is left"
    );
}

#[test]
fn a_group_that_drains_is_taken_up_again_when_its_set_comes_back() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    let first = offload_row(&bench, 1).group_q0;
    bench.set_topic(1, topic(2, &[1]));
    bench.run();
    bench.set_topic(1, topic(3, &[1, 2]));
    bench.run();
    assert_eq!(offload_row(&bench, 1).group_q0, first);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.members(first).0.len(), 2);
}

#[test]
fn a_copy_for_the_broker_is_a_member_of_the_group() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let mut with_copy = topic(1, &[1]);
    (with_copy.copy_q1, with_copy.ack_q1) = (true, false);
    bench.set_topic(1, with_copy);
    bench.settle();
    let row = offload_row(&bench, 1);
    assert!(!bench.members(row.group_q0).1);
    assert!(bench.members(row.group_q1).1);
}

#[test]
fn a_copy_where_nobody_is_served_needs_no_group() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let mut only_copy = topic(1, &[]);
    (only_copy.copy_q0, only_copy.copy_q1, only_copy.ack_q1) = (true, true, false);
    bench.set_topic(1, only_copy);
    bench.settle();
    let row = offload_row(&bench, 1);
    assert_eq!((row.group_q0, row.group_q1), (0, 0));
    assert!(row.copy_q0 && row.copy_q1);
}

#[test]
fn a_topic_without_subscribers_and_copies_is_discarded() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(4, &[]));
    bench.settle();
    assert_eq!(bench.topic_row(1), Some(Action::Discard { generation: 4 }));
}

#[test]
fn only_sessions_with_an_alias_of_their_own_have_a_row_for_it() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let mut aliased = topic(1, &[1, 2]);
    aliased.aliases.insert(SessionId(1), normal(99));
    aliased.aliases.insert(SessionId(2), aliased.home_alias);
    aliased.aliases.insert(SessionId(3), normal(98)); // Not served.
    bench.set_topic(1, aliased);
    bench.settle();
    assert!(offload_row(&bench, 1).aliased);
    let rid = bench.device.rid_of(SessionId(1)).unwrap();
    let topic_index = 1;
    let key = Key::SubscriberAlias(subscriber_alias::Key { topic_index, rid });
    let action = subscriber_alias::Action {
        copy_flags: 0,
        topic_id: 99,
    };
    assert_eq!(
        bench.state.rows.get(&key),
        Some(&Value::SubscriberAlias(action))
    );
    assert_eq!(bench.count(subscriber_alias::NAME), 1);
}

#[test]
fn an_alias_that_became_the_home_alias_is_gone_before_the_topic_is_switched() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let mut both = topic(1, &[1, 2]);
    both.aliases.insert(SessionId(1), normal(99));
    both.aliases.insert(SessionId(2), normal(98));
    bench.set_topic(1, both);
    bench.settle();
    let mut one = topic(2, &[1, 2]);
    one.aliases.insert(SessionId(2), normal(98));
    bench.set_topic(1, one);
    let batches = bench.run();
    let position = |table: &str| {
        let mut batches = batches.iter();
        batches.position(|batch| batch.iter().any(|update| update.key.table() == table))
    };
    assert!(position(subscriber_alias::NAME) < position("MqttsnIngress.topic"));
    assert_eq!(bench.count(subscriber_alias::NAME), 1);
}

#[test]
fn a_session_that_comes_back_from_another_port_is_reached_there_under_the_same_id() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    let rid = bench.device.rid_of(SessionId(1));
    let there = "10.0.1.1:6000".parse().unwrap();
    bench.change(vec![Change::Session(SessionId(1), Some(there))]);
    bench.settle();
    assert_eq!(bench.device.rid_of(SessionId(1)), rid);
    let row = offload_row(&bench, 1);
    assert!(bench.members(row.group_q0).0.contains(&there));
}

#[test]
fn a_topic_with_more_subscribers_behind_a_port_than_the_switch_can_queue_copies_stays_in_software()
{
    let config = Config {
        max_copies_per_port: 2,
        ..config()
    };
    let mut bench = Bench::new(config);
    bench.learn(9);
    bench.take_messages();
    // 1, 5 and 9 live behind port 3, the others elsewhere.
    bench.set_topic(1, topic(1, &[1, 2, 3, 4, 5, 6, 7, 8]));
    bench.settle();
    assert!(bench.topic_row(1).is_some(), "two behind each port");

    bench.set_topic(1, topic(2, &[1, 2, 3, 5, 9]));
    bench.settle();
    assert_eq!(bench.topic_row(1), None);
    let refused = bench.refused(RefusedItem::Topic(TopicIndex(1)));
    let Some(Some(Refusal::Unsupported(why))) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        why.starts_with("3 copies of one packet for port 3"),
        "{why}"
    );

    bench.set_topic(1, topic(3, &[1, 2, 3, 5]));
    bench.settle();
    assert!(bench.topic_row(1).is_some(), "one has left");
    let refused = bench.refused(RefusedItem::Topic(TopicIndex(1)));
    assert_eq!(refused, Some(None), "the refusal is taken back");
}
