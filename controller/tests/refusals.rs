//! What the switch or the data plane cannot do stays in software, and the broker is told.

mod bench;

use std::time::Duration;

use bench::{Bench, answer, call, config, normal, publication, topic};
use controller::Config;
use controller::apply::Op;
use controller::policy::Policy;
use controller::tables::{publication as publication_table, subscriber, topic as topic_table};
use controller::target::fake::Fault;
use offload::{Change, Refusal, RefusedItem, SessionId, TopicIndex};
use tonic::Code;

const TOPIC: RefusedItem = RefusedItem::Topic(TopicIndex(1));

fn ready() -> Bench {
    let mut bench = Bench::new(config());
    bench.learn(4);
    bench.take_messages();
    bench
}

fn fault(table: &'static str, op: Op, code: Code, times: usize) -> Fault {
    Fault {
        table,
        op: Some(op),
        code,
        times,
    }
}

#[test]
fn a_topic_with_a_session_of_unknown_place_is_refused_as_a_whole_until_it_is_known() {
    let mut bench = ready();
    let revision = bench.set_topic(1, topic(1, &[1, 7]));
    bench.settle();
    assert_eq!(bench.topic_row(1), None);
    assert_eq!(bench.refused(TOPIC), Some(Some(Refusal::Unreachable)));
    assert_eq!(bench.installed(), Some(revision));
    bench.device.learned(call(7));
    bench.settle();
    assert!(bench.topic_row(1).is_some());
    assert_eq!(
        bench.refused(TOPIC),
        Some(None),
        "the refusal is taken back"
    );
}

#[test]
fn nothing_is_offloaded_while_nobody_knows_where_the_broker_lives() {
    let mut bench = Bench::new(config());
    let stations = [1, 2].map(|n| call(n)[0]);
    bench.device.learned(stations.into_iter().chain([answer()]));
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    assert_eq!(bench.topic_row(1), None);
    bench.device.learned([1, 2].into_iter().flat_map(call));
    bench.settle();
    assert!(bench.topic_row(1).is_some());
}

#[test]
fn a_session_is_refused_whose_family_the_broker_has_no_address_of_and_so_is_its_topic() {
    let mut bench = ready();
    let session = SessionId(20);
    let address = "[2001:db8::1]:5000".parse().unwrap();
    bench.change(vec![Change::Session(session, Some(address))]);
    bench.set_topic(1, topic(1, &[1, 20]));
    bench.settle();
    let unsupported =
        |refused: Option<Option<Refusal>>| matches!(refused, Some(Some(Refusal::Unsupported(_))));
    assert!(unsupported(bench.refused(RefusedItem::Session(session))));
    assert!(unsupported(bench.refused(TOPIC)));
}

#[test]
fn a_topic_that_would_leave_a_publish_unacknowledged_is_refused() {
    let mut bench = ready();
    let mut silent = topic(1, &[1]);
    silent.ack_q1 = false;
    bench.set_topic(1, silent);
    bench.settle();
    assert!(matches!(
        bench.refused(TOPIC),
        Some(Some(Refusal::Unsupported(_)))
    ));
}

#[test]
fn the_policy_leaves_all_but_pinned_topics_in_software() {
    let policy = Policy::Pinned(vec!["a/+".into()]);
    let mut bench = Bench::new(Config { policy, ..config() });
    bench.learn(2);
    let mut pinned = topic(1, &[1]);
    pinned.name = "a/b".into();
    bench.set_topic(1, topic(1, &[1]));
    bench.set_topic(2, pinned);
    bench.settle();
    assert_eq!(bench.refused(TOPIC), Some(Some(Refusal::Policy)));
    assert!(bench.topic_row(2).is_some());
}

#[test]
fn a_full_topic_table_refuses_the_topic_and_takes_it_when_another_leaves() {
    let mut bench = ready();
    bench.state.room.insert(topic_table::NAME, 1);
    bench.set_topic(2, topic(1, &[1]));
    bench.settle();
    let revision = bench.set_topic(1, topic(1, &[2]));
    bench.run();
    assert_eq!(bench.installed(), Some(revision));
    assert!(matches!(
        bench.refused(TOPIC),
        Some(Some(Refusal::Capacity(_)))
    ));
    bench.change(vec![Change::Topic(TopicIndex(2), None)]);
    bench.pass(Duration::from_millis(300));
    assert!(bench.topic_row(1).is_some());
    assert_eq!(bench.refused(TOPIC), Some(None));
}

#[test]
fn what_was_prepared_for_a_topic_that_found_no_room_is_removed() {
    let mut bench = ready();
    bench.state.room.insert(topic_table::NAME, 0);
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.pass(Duration::from_millis(500));
    assert_eq!(
        bench.count("multicast group"),
        1,
        "the flood group alone is left"
    );
    assert_eq!(bench.count(subscriber::NAME), 0);
}

#[test]
fn a_topic_whose_new_group_finds_no_room_is_withdrawn_before_installed_is_said() {
    let mut bench = ready();
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    bench.state.room.insert("multicast group", 2);
    let revision = bench.set_topic(1, topic(2, &[1, 3]));
    bench.run();
    assert_eq!(
        bench.topic_row(1),
        None,
        "the old set must not be served any more"
    );
    assert!(matches!(
        bench.refused(TOPIC),
        Some(Some(Refusal::Capacity(_)))
    ));
    assert_eq!(bench.installed(), Some(revision));
}

#[test]
fn a_group_that_bmv2_has_no_replicas_left_for_is_known_by_its_first_failure() {
    let mut bench = ready();
    // "Error when modifying multicast group in target"
    let unknown = fault("multicast group", Op::Insert, Code::Unknown, 1);
    bench.state.faults.push(unknown);
    let revision = bench.set_topic(1, topic(1, &[1, 2]));
    bench.run();
    assert!(matches!(
        bench.refused(TOPIC),
        Some(Some(Refusal::Capacity(_)))
    ));
    assert_eq!(bench.installed(), Some(revision));
    bench.pass(Duration::from_secs(2));
    assert!(bench.topic_row(1).is_some(), "it is tried again");
}

#[test]
fn without_replication_ids_the_session_is_refused() {
    let mut bench = Bench::new(Config {
        max_rid: 2,
        ..config()
    });
    bench.learn(4);
    bench.set_topic(1, topic(1, &[1, 2, 3]));
    bench.run();
    let session = RefusedItem::Session(SessionId(3));
    assert!(matches!(
        bench.refused(session),
        Some(Some(Refusal::Capacity(_)))
    ));
    bench.set_topic(1, topic(2, &[1, 2]));
    bench.settle();
    assert!(bench.topic_row(1).is_some());
}

#[test]
fn a_failing_write_is_tried_again_and_installed_waits_for_it() {
    let mut bench = ready();
    let unknown = fault(topic_table::NAME, Op::Insert, Code::Unknown, 2);
    bench.state.faults.push(unknown);
    let revision = bench.set_topic(1, topic(1, &[1]));
    bench.run();
    assert_ne!(bench.installed(), Some(revision));
    bench.pass(Duration::from_millis(200));
    assert_eq!(bench.installed(), Some(revision));
    assert_eq!(bench.refused(TOPIC), None);
    assert!(bench.topic_row(1).is_some());
}

#[test]
fn a_topic_whose_write_keeps_failing_is_withdrawn_and_taken_again_later() {
    let mut bench = ready();
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    let unknown = fault(topic_table::NAME, Op::Modify, Code::Unknown, 3);
    bench.state.faults.push(unknown);
    let revision = bench.set_topic(1, topic(2, &[1]));
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.topic_row(1), None);
    assert!(matches!(
        bench.refused(TOPIC),
        Some(Some(Refusal::Failing(_)))
    ));
    assert_eq!(bench.installed(), Some(revision));
    bench.settle();
    bench.pass(Duration::from_secs(2));
    assert!(bench.topic_row(1).is_some());
    assert_eq!(bench.refused(TOPIC), Some(None));
}

#[test]
fn a_topic_that_cannot_be_deleted_keeps_its_revision_from_being_installed() {
    let mut bench = ready();
    bench.set_topic(1, topic(1, &[1]));
    bench.settle();
    let unknown = fault(topic_table::NAME, Op::Delete, Code::Unknown, 1000);
    bench.state.faults.push(unknown);
    let revision = bench.change(vec![Change::Topic(TopicIndex(1), None)]);
    bench.pass(Duration::from_secs(5));
    assert_ne!(bench.installed(), Some(revision));
    assert!(!bench.device.may_renew(bench.now), "so the lease runs out");
    bench.state.faults.clear();
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.installed(), Some(revision));
    assert!(bench.device.may_renew(bench.now));
}

#[test]
fn a_publication_without_room_is_refused_alone() {
    let mut bench = ready();
    bench.state.room.insert(publication_table::NAME, 1);
    bench.set_topic(1, topic(1, &[1]));
    bench.set_publication(2, normal(7), 1);
    bench.settle();
    let revision = bench.set_publication(3, normal(7), 1);
    bench.run();
    let refused = bench.refused(RefusedItem::Publication(publication(3, normal(7))));
    assert!(matches!(refused, Some(Some(Refusal::Capacity(_)))));
    assert_eq!(bench.installed(), Some(revision));
    assert!(bench.topic_row(1).is_some());
}

#[test]
fn a_refused_item_that_leaves_the_intent_is_welcome_again_after_a_while_and_not_at_once() {
    let mut bench = ready();
    bench.state.room.insert(topic_table::NAME, 0);
    bench.set_topic(1, topic(1, &[1]));
    bench.run();
    bench.change(vec![Change::Topic(TopicIndex(1), None)]);
    bench.run();
    assert!(matches!(bench.refused(TOPIC), Some(Some(_))));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.refused(TOPIC), Some(None));
}
