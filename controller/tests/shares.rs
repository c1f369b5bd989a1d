//! A topic with a share group: one member of the selector for each of its members, and no moment in
//! which a PUBLISH meets half of a change.

mod bench;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bench::{Bench, address, config, normal, topic};
use controller::apply::{Op, Update};
use controller::tables::{Key, Value, share};
use controller::target::fake::Fault;
use offload::{Change, Generation, RefusedItem, Serve, SessionId, ShareMember, Topic, TopicIndex};
use tonic::Code;

fn member(generation: u32) -> ShareMember {
    ShareMember {
        generation: Generation(generation),
        serve_q1: true,
        alias: None,
    }
}

/// Serves `ordinary`, and one of `shared`, who are given with their generations.
fn shared_topic(generation: u32, ordinary: &[u8], shared: &[(u32, u32)]) -> Topic {
    Topic {
        shared: shared
            .iter()
            .map(|&(n, generation)| (SessionId(n), member(generation)))
            .collect(),
        ..topic(generation, ordinary)
    }
}

fn bench(first: Topic) -> Bench {
    let mut bench = Bench::new(config());
    bench.learn(9);
    bench.set_topic(1, first);
    bench.settle();
    bench
}

/// Whom each member of the selector reaches at QoS 0, with its generation.
fn reached(bench: &Bench) -> BTreeSet<(u32, Vec<SocketAddr>)> {
    let members = bench.share(1).into_iter();
    members
        .map(|(_, offload)| {
            let reached = bench.members(offload.group_q0).0;
            (offload.generation, reached.into_iter().collect())
        })
        .collect()
}

fn step(shared: Vec<(u32, Option<ShareMember>)>) -> Change {
    let step = Serve {
        generation: Generation(1),
        copy_q0: false,
        copy_q1: false,
        ack_q1: true,
        members: vec![],
        shared: shared
            .into_iter()
            .map(|(n, to)| (SessionId(n), to))
            .collect(),
    };
    Change::Serve(TopicIndex(1), step)
}

/// Tables and operations of all writes, batch by batch.
fn tables(batches: &[Vec<Update>]) -> Vec<Vec<(Op, &'static str)>> {
    let of = |batch: &Vec<Update>| batch.iter().map(|u| (u.op, u.key.table())).collect();
    batches.iter().map(of).collect()
}

#[test]
fn each_member_is_served_together_with_the_ordinary_subscribers() {
    let bench = bench(shared_topic(1, &[1], &[(2, 12), (3, 13)]));
    assert_eq!(bench.topic_row(1), None, "it would be asked first");
    let expected = [
        (12, vec![address(1), address(2)]),
        (13, vec![address(1), address(3)]),
    ];
    assert_eq!(reached(&bench), expected.into());
}

#[test]
fn a_member_that_comes_or_goes_changes_the_group_and_no_other_member() {
    let mut bench = bench(shared_topic(1, &[], &[(2, 12), (3, 13)]));
    bench.change(vec![step(vec![(2, None), (4, Some(member(14)))])]);
    let batches = bench.run();
    let expected = [(13, vec![address(3)]), (14, vec![address(4)])];
    assert_eq!(reached(&bench), expected.into());
    let writes: Vec<_> = batches.into_iter().flatten().collect();
    let members: Vec<_> = writes
        .iter()
        .filter(|update| matches!(update.key, Key::ShareMember(_)))
        .map(|update| update.op)
        .collect();
    assert_eq!(members, [Op::Insert]);
    let at = |op, table| {
        writes
            .iter()
            .position(|u| (u.op, u.key.table()) == (op, table))
    };
    assert!(at(Op::Insert, share::MEMBERS) < at(Op::Modify, share::GROUPS));
    bench.settle();
    assert_eq!(
        bench.count(share::MEMBERS),
        2,
        "who left is gone after the drain time"
    );
}

#[test]
fn an_ordinary_subscriber_that_joins_reaches_all_members_in_place() {
    let mut bench = bench(shared_topic(1, &[], &[(2, 12), (3, 13)]));
    let before: Vec<u32> = bench.share(1).into_iter().map(|(id, _)| id).collect();
    bench.set_topic(1, shared_topic(2, &[1], &[(2, 22), (3, 23)]));
    bench.run();
    let expected = [
        (22, vec![address(1), address(2)]),
        (23, vec![address(1), address(3)]),
    ];
    assert_eq!(reached(&bench), expected.into());
    let after: Vec<u32> = bench.share(1).into_iter().map(|(id, _)| id).collect();
    assert_eq!(after, before);
}

#[test]
fn a_topic_gets_its_group_before_its_own_row_goes_and_the_row_before_the_group_goes() {
    let mut bench = bench(topic(1, &[1, 5]));
    bench.set_topic(1, shared_topic(2, &[1, 5], &[(2, 12)]));
    let gained = tables(&bench.run());
    let row = "MqttsnIngress.topic";
    let at = |batches: &[Vec<_>], write| batches.iter().position(|b| b.contains(&write));
    let insert = at(&gained, (Op::Insert, share::NAME)).unwrap();
    assert!(insert < at(&gained, (Op::Delete, row)).unwrap());
    bench.set_topic(1, topic(3, &[1, 5]));
    let lost = tables(&bench.run());
    let insert = at(&lost, (Op::Insert, row)).unwrap();
    assert!(insert < at(&lost, (Op::Delete, share::NAME)).unwrap());
    bench.settle();
    assert_eq!(bench.count(share::MEMBERS) + bench.count(share::GROUPS), 0);
}

#[test]
fn a_restarted_controller_finds_its_members_by_their_generation() {
    let mut bench = bench(shared_topic(1, &[1], &[(2, 12), (3, 13)]));
    bench.restart();
    assert_eq!(
        bench.run(),
        Vec::<Vec<Update>>::new(),
        "all is as it should be"
    );
}

#[test]
fn members_call_the_topic_by_their_own_alias() {
    let mut topic = shared_topic(1, &[], &[(2, 12), (3, 13)]);
    if let Some(member) = topic.shared.get_mut(&SessionId(3)) {
        member.alias = Some(normal(99));
    }
    let bench = bench(topic);
    let mut aliases = bench.state.rows.values().filter_map(|value| match value {
        Value::SubscriberAlias(alias) => Some(alias.topic_id),
        _ => None,
    });
    assert_eq!(aliases.next(), Some(99));
    assert_eq!(aliases.next(), None);
    assert!(bench.share(1).iter().all(|(_, offload)| offload.aliased));
}

#[test]
fn a_selector_without_room_leaves_the_topic_in_software() {
    for table in [share::MEMBERS, share::GROUPS, share::NAME] {
        let mut bench = Bench::new(config());
        bench.learn(9);
        bench.state.faults.push(Fault {
            table,
            op: Some(Op::Insert),
            code: Code::ResourceExhausted,
            times: 1,
        });
        bench.set_topic(1, shared_topic(1, &[1], &[(2, 12), (3, 13)]));
        bench.run();
        let refused = bench.refused(RefusedItem::Topic(TopicIndex(1)));
        assert!(matches!(refused, Some(Some(_))), "{table}");
        assert_eq!(bench.topic_row(1), None, "{table}");
        assert!(bench.share(1).is_empty(), "{table}");
    }
}
