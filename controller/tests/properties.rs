//! Whatever happens in whatever order, the switch ends as a fresh plan has it, and on the way no
//! topic ever reaches others than its generation serves (`Bench::check`, after every write).

mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bench::{Bench, call_from, config, normal, port, predefined};
use controller::tables::{Key, Value, share, topic as topic_table};
use controller::target::fake::{Fault, State};
use offload::{Change, Generation, Member, Serve, SessionId, ShareMember, Topic, TopicIndex};
use proptest::prelude::*;
use tonic::Code;

#[derive(Clone, Debug)]
enum Event {
    Topic(u32, Option<TopicShape>),
    Serve(u32, Vec<Step>, bool),
    Publication(u8, u32, bool),
    /// A member of the topic's share group comes or goes, and nothing else.
    Share(u8, u32, bool),
    Open(u16, Option<u32>),
    Session(u8, bool),
    Move(u8, u16),
    Fault(usize, usize, usize),
    Step,
    Pass(u64),
    Relink,
    Restart,
}

/// A client, and whether it is served at QoS 0, at QoS 1, and by another alias.
type Step = (u8, Option<(bool, bool, bool)>);

#[derive(Clone, Debug)]
struct TopicShape {
    q0: BTreeSet<u8>,
    q1: BTreeSet<u8>,
    copy_q0: bool,
    ack_q1: bool,
    aliased: BTreeSet<u8>,
    shared: BTreeSet<u8>,
}

fn event() -> impl Strategy<Value = Event> {
    let served = || prop::collection::btree_set(1..=6u8, 0..4);
    let shape = (
        served(),
        served(),
        any::<bool>(),
        any::<bool>(),
        served(),
        served(),
    )
        .prop_map(|(q0, q1, copy_q0, ack_q1, aliased, shared)| TopicShape {
            q0,
            q1,
            copy_q0,
            ack_q1,
            aliased,
            shared,
        });
    let member = (
        1..=6u8,
        prop::option::weighted(0.7, (any::<bool>(), any::<bool>(), any::<bool>())),
    );
    prop_oneof![
        6 => (0..4u32, prop::option::weighted(0.8, shape)).prop_map(|(i, s)| Event::Topic(i, s)),
        6 => (0..4u32, prop::collection::vec(member, 0..3), any::<bool>())
            .prop_map(|(i, members, ack)| Event::Serve(i, members, ack)),
        3 => (1..=6u8, 0..4u32, any::<bool>()).prop_map(|(n, i, on)| Event::Publication(n, i, on)),
        3 => (1..=6u8, 0..4u32, any::<bool>()).prop_map(|(n, i, on)| Event::Share(n, i, on)),
        1 => (0..3u16, prop::option::of(0..4u32)).prop_map(|(a, i)| Event::Open(a, i)),
        1 => (1..=6u8, any::<bool>()).prop_map(|(n, there)| Event::Session(n, there)),
        1 => (1..=6u8, 2..=8u16).prop_map(|(n, port)| Event::Move(n, port)),
        1 => (0..7usize, 0..2usize, 1..6usize).prop_map(|(t, c, n)| Event::Fault(t, c, n)),
        4 => Just(Event::Step),
        2 => (1..200u64).prop_map(Event::Pass),
        1 => Just(Event::Relink),
        1 => Just(Event::Restart),
    ]
}

/// Member `n` of a share group: its generation is its own, and its alias perhaps.
fn member(generation: u32, n: u8, ack_q1: bool) -> ShareMember {
    ShareMember {
        generation: Generation(1_000_000 + generation * 10 + u32::from(n)),
        serve_q1: ack_q1 || n.is_multiple_of(2),
        alias: n.is_multiple_of(3).then(|| normal(200 + u16::from(n))),
    }
}

fn sessions(numbers: &BTreeSet<u8>) -> BTreeSet<SessionId> {
    numbers.iter().map(|&n| SessionId(n.into())).collect()
}

fn happen(bench: &mut Bench, generation: u32, event: Event) {
    match event {
        Event::Topic(index, shape) => {
            let topic = shape.map(|shape| Topic {
                name: format!("t/{index}"),
                generation: Generation(generation),
                home_alias: normal(index as u16),
                served_q0: sessions(&shape.q0),
                served_q1: sessions(&shape.q1),
                copy_q0: shape.copy_q0,
                copy_q1: !shape.ack_q1,
                ack_q1: shape.ack_q1,
                shared: shape
                    .shared
                    .iter()
                    .filter(|&n| !shape.q0.contains(n) && !shape.q1.contains(n))
                    .map(|&n| (SessionId(n.into()), member(generation, n, shape.ack_q1)))
                    .collect(),
                aliases: sessions(&shape.aliased)
                    .into_iter()
                    .map(|session| (session, normal(100 + session.0 as u16)))
                    .collect(),
            });
            bench.change(vec![Change::Topic(TopicIndex(index), topic)]);
        }
        Event::Serve(index, members, ack_q1) => {
            let index = TopicIndex(index);
            let Some(topic) = bench.intent.topics.get(&index) else {
                return;
            };
            let member = |(n, to): Step| {
                let to = to.filter(|(q0, q1, _)| *q0 || *q1);
                let to = to.map(|(q0, q1, aliased)| Member {
                    q0,
                    q1,
                    alias: aliased.then(|| normal(100 + u16::from(n))),
                });
                (SessionId(n.into()), to)
            };
            let step = Serve {
                generation: Generation(generation),
                copy_q0: topic.copy_q0,
                copy_q1: !ack_q1,
                ack_q1,
                members: members.into_iter().map(member).collect(),
                shared: Vec::new(),
            };
            bench.change(vec![Change::Serve(index, step)]);
        }
        Event::Share(n, index, joins) => {
            let (session, index) = (SessionId(n.into()), TopicIndex(index));
            let Some(topic) = bench.intent.topics.get(&index) else {
                return;
            };
            if topic.member(session).is_some() {
                return;
            }
            let to = joins.then(|| member(generation, n, topic.ack_q1));
            let step = Serve {
                generation: topic.generation,
                copy_q0: topic.copy_q0,
                copy_q1: topic.copy_q1,
                ack_q1: topic.ack_q1,
                members: vec![],
                shared: vec![(session, to)],
            };
            bench.change(vec![Change::Serve(index, step)]);
        }
        Event::Publication(n, index, true) => {
            bench.set_publication(n, normal(index as u16), index);
        }
        Event::Publication(n, index, false) => {
            let key = bench::publication(n, normal(index as u16));
            bench.change(vec![Change::Publication(key, None)]);
        }
        Event::Open(alias, index) => {
            let index = index.map(TopicIndex);
            bench.change(vec![Change::OpenPublication(predefined(alias), index)]);
        }
        Event::Session(n, there) => {
            let address = there.then(|| bench::address(n));
            bench.change(vec![Change::Session(SessionId(n.into()), address)]);
        }
        Event::Move(n, port) => bench.device.learned(call_from(n, port)),
        Event::Fault(table, code, times) => {
            let tables = [
                topic_table::NAME,
                "multicast group",
                controller::tables::subscriber::NAME,
                controller::tables::publication::NAME,
                share::NAME,
                share::MEMBERS,
                share::GROUPS,
            ];
            bench.state.faults.push(Fault {
                table: tables[table],
                op: None,
                code: [Code::Unknown, Code::ResourceExhausted][code],
                times,
            });
        }
        Event::Step => {
            bench.step();
        }
        Event::Pass(ms) => {
            bench.pass(Duration::from_millis(ms));
        }
        Event::Relink => {
            bench.device.link_lost();
            let intent = bench.intent.clone();
            bench.link(intent);
        }
        Event::Restart => bench.restart(),
    }
}

/// The state of a switch without the numbers that the controller chose: groups and replication
/// ids are replaced by what they stand for.
fn meaning(state: &Bench) -> BTreeMap<String, String> {
    let mut meaning = BTreeMap::new();
    let member = |offload: &topic_table::Offload| {
        let groups = [offload.group_q0, offload.group_q1].map(|g| state.members(g));
        let mut plain = *offload;
        (plain.group_q0, plain.group_q1) = (0, 0);
        format!("{plain:?} {groups:?}")
    };
    let client = |rid: u16| -> Option<SocketAddr> {
        let key = Key::Subscriber(controller::tables::subscriber::Key { rid });
        match state.state.rows.get(&key) {
            Some(Value::Subscriber(d)) => Some(SocketAddr::from((d.ip_dst, d.udp_dst))),
            _ => None,
        }
    };
    for (key, value) in &state.state.rows {
        let (key, value) = match (key, value) {
            (Key::Topic(_), Value::Topic(topic_table::Action::Offload(offload))) => {
                let groups = [offload.group_q0, offload.group_q1].map(|g| state.members(g));
                let mut plain = *offload;
                (plain.group_q0, plain.group_q1) = (0, 0);
                (format!("{key:?}"), format!("{plain:?} {groups:?}"))
            }
            (Key::Topic(_), Value::Topic(topic_table::Action::ToOne(to_one))) => {
                let mut plain = *to_one;
                plain.rid = 0;
                let whom = client(to_one.rid);
                (format!("{key:?}"), format!("{plain:?} {whom:?}"))
            }
            (Key::ShareMember(_), Value::ShareMember(offload)) => (member(offload), String::new()),
            (Key::ShareGroup(id), _) => {
                let members = state.share(*id).into_iter();
                let members: BTreeSet<_> = members.map(|(_, offload)| member(&offload)).collect();
                (format!("{key:?}"), format!("{members:?}"))
            }
            (Key::Group(id), Value::Replicas(replicas)) if *id > 1 => {
                let members: BTreeSet<_> =
                    replicas.iter().map(|r| (r.port, client(r.rid))).collect();
                (format!("group {members:?}"), String::new())
            }
            (Key::Subscriber(_), value) => (format!("{value:?}"), String::new()),
            (Key::SubscriberAlias(key), value) => {
                let whose = (key.topic_index, client(key.rid));
                (format!("alias {whose:?}"), format!("{value:?}"))
            }
            (key, value) => (format!("{key:?}"), format!("{value:?}")),
        };
        assert!(meaning.insert(key.clone(), value).is_none(), "two of {key}");
    }
    meaning
}

proptest! {
    #[test]
    fn the_switch_ends_as_a_fresh_plan_has_it(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut bench = Bench::new(config());
        bench.learn(6);
        for (generation, event) in events.into_iter().enumerate() {
            happen(&mut bench, generation as u32, event);
        }
        bench.state.faults.clear();
        // Long enough for whatever was withheld to be tried again.
        bench.pass(Duration::from_secs(120));
        bench.settle();
        prop_assert_eq!(bench.installed(), Some(bench.intent.revision));

        let mut fresh = Bench::unlinked(config(), State::default());
        let learning = bench.device.learning();
        let places: Vec<_> = (1..=6u8)
            .map(|n| (n, learning.endpoint(bench::ip(n)).map_or(port(n), |e| e.port)))
            .collect();
        fresh.device.learned([bench::answer()]);
        fresh.device.learned(places.into_iter().flat_map(|(n, port)| call_from(n, port)));
        fresh.link(bench.intent.clone());
        fresh.settle();
        prop_assert_eq!(meaning(&bench), meaning(&fresh));
    }
}
