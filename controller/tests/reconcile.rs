//! What is on the switch is read back, and only the difference is written.

mod bench;

use bench::{Bench, config, normal, topic};
use controller::OnBrokerLoss;
use controller::apply::Op;
use controller::constants::SESSION_COPY;
use controller::tables::{Key, Value, publication, replication, topic as topic_table};
use controller::target::fake::State;
use offload::{FromController, Intent, Revision};

fn busy() -> Bench {
    let mut bench = Bench::new(config());
    bench.learn(6);
    for i in 0..5u8 {
        bench.set_topic(i.into(), topic(1, &[i + 1, 2]));
        bench.set_publication(i + 1, normal(i.into()), i.into());
    }
    bench.settle();
    bench
}

#[test]
fn a_controller_that_starts_anew_on_a_switch_as_it_should_be_writes_nothing() {
    let before = busy();
    let rows = before.state.rows.clone();
    let mut after = Bench::unlinked(config(), before.state);
    after.run();
    after.link(before.intent.clone());
    let batches = after.run();
    assert!(batches.is_empty(), "{batches:?}");
    assert_eq!(after.state.rows, rows);
    assert_eq!(after.installed(), Some(before.intent.revision));
}

#[test]
fn a_controller_that_starts_anew_says_whom_the_switch_already_reaches() {
    let mut after = Bench::unlinked(config(), busy().state);
    after.device.link_opened();
    let told = after.device.take_messages();
    let [FromController::Hello { reachable, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    let clients: Vec<_> = (1..=6).map(bench::ip).collect();
    assert_eq!(*reachable, clients);
}

#[test]
fn only_the_difference_to_the_intent_is_written() {
    let before = busy();
    let mut intent = before.intent.clone();
    intent.revision = Revision(intent.revision.0 + 1);
    intent.topics.remove(&offload::TopicIndex(0));
    let mut after = Bench::unlinked(config(), before.state);
    after.run();
    after.link(intent);
    let batches = after.run();
    let written: Vec<_> = batches.concat();
    let deletes = written.iter().all(|update| update.op == Op::Delete);
    assert!(
        deletes && written.len() == 2,
        "topic 0 and its publication: {written:?}"
    );
}

#[test]
fn nothing_of_an_intent_is_touched_before_there_is_one() {
    let before = busy();
    let rows = before.state.rows.clone();
    let mut after = Bench::unlinked(config(), before.state);
    after.settle();
    assert_eq!(after.state.rows, rows);
}

#[test]
fn unknown_rows_in_the_controllers_tables_are_removed_and_groups_made_right() {
    let mut state = State::default();
    let stray = Key::Topic(topic_table::Key { topic_index: 99 });
    let discard = topic_table::Action::Discard { generation: 1 };
    state.rows.insert(stray, Value::Topic(discard));
    let nobody = replication::replicas([]);
    state
        .rows
        .insert(Key::Group(1), Value::Replicas(nobody.clone()));
    state
        .rows
        .insert(Key::Group(77), Value::Replicas(nobody.clone()));
    // A clone session of somebody else.
    state
        .rows
        .insert(Key::CloneSession(5), Value::Replicas(nobody));
    let mut bench = Bench::with(config(), state);
    bench.settle();
    assert!(!bench.state.rows.contains_key(&stray));
    assert!(!bench.state.rows.contains_key(&Key::Group(77)));
    assert!(bench.state.rows.contains_key(&Key::CloneSession(5)));
    let flood = bench.state.rows.get(&Key::Group(1));
    assert!(matches!(flood, Some(Value::Replicas(ports)) if ports.len() == 8));
}

#[test]
fn the_place_of_the_broker_is_read_back_too() {
    let before = busy();
    let after = Bench::unlinked(config(), before.state);
    assert_eq!(
        after.device.learning().broker_port(),
        Some(bench::BROKER_PORT)
    );
    assert!(
        after
            .state
            .rows
            .contains_key(&Key::CloneSession(SESSION_COPY))
    );
    assert_eq!(after.device.learning().endpoints().count(), 6);
}

#[test]
fn a_row_that_the_switch_holds_unknown_to_the_controller_is_modified() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let key = Key::Topic(topic_table::Key { topic_index: 1 });
    let discard = topic_table::Action::Discard { generation: 9 };
    bench.state.rows.insert(key, Value::Topic(discard));
    let revision = bench.set_topic(1, topic(1, &[1]));
    bench.run();
    assert!(matches!(
        bench.topic_row(1),
        Some(topic_table::Action::ToOne(_))
    ));
    assert_eq!(bench.installed(), Some(revision));
}

#[test]
fn a_new_link_is_told_everything_again() {
    let mut bench = busy();
    bench.set_topic(9, topic(1, &[9]));
    bench.settle();
    bench.device.link_lost();
    assert!(!bench.device.may_renew(bench.now));
    bench.take_messages();
    let intent = bench.intent.clone();
    let revision = intent.revision;
    bench.link(intent);
    bench.settle();
    let messages = bench.take_messages();
    let Some(FromController::Hello { reachable, .. }) = messages.first() else {
        panic!("{messages:?}");
    };
    assert_eq!(reachable.len(), 6);
    assert!(
        messages
            .iter()
            .any(|m| matches!(m, FromController::Refused { why: Some(_), .. }))
    );
    assert_eq!(
        messages.last(),
        Some(&FromController::Installed { revision })
    );
}

#[test]
fn nothing_is_said_to_be_installed_before_the_new_links_snapshot() {
    let mut bench = busy();
    bench.device.link_lost();
    bench.take_messages();
    bench.device.link_opened();
    bench.device.learned(bench::call(9));
    bench.settle();
    assert_eq!(bench.installed(), None);
}

#[test]
fn without_a_broker_the_entries_stay_or_go_as_configured() {
    for (on_broker_loss, left) in [(OnBrokerLoss::Keep, 5), (OnBrokerLoss::Release, 0)] {
        let config = controller::Config {
            on_broker_loss,
            ..config()
        };
        let before = busy();
        let mut bench = Bench::unlinked(config, before.state);
        bench.link(before.intent);
        bench.settle();
        bench.device.link_lost();
        bench.settle();
        assert_eq!(bench.count(topic_table::NAME), left);
        assert_eq!(bench.count(publication::NAME), left);
    }
}

#[test]
fn an_empty_snapshot_empties_the_switch_of_all_but_what_was_learned() {
    let mut bench = busy();
    bench.link(Intent {
        revision: Revision(1000),
        ..Intent::default()
    });
    bench.settle();
    for table in controller::tables::TABLES {
        let learned = ["smac", "dmac", "endpoint"]
            .iter()
            .any(|name| table.ends_with(name));
        assert_eq!(bench.count(table) > 0, learned, "{table}");
    }
    assert_eq!(bench.count("multicast group"), 1);
}
