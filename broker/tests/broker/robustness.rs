//! Whatever arrives: no panic, and bounded memory.

use broker::{Config, OffloadConfig};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Tag, TopicRef};
use proptest::prelude::*;

use crate::world::*;

const LIMIT: usize = 4;

fn small() -> Config {
    Config {
        max_sessions: LIMIT,
        max_topics: LIMIT,
        max_topic_ids: 3,
        max_subscriptions: 3,
        max_queued_messages: 3,
        max_retained: 2,
        t_retry_ms: 100,
        n_retry: 2,
        predefined_topics: [(1, "pre".to_owned())].into(),
        offload: OffloadConfig {
            enabled: true,
            ..OffloadConfig::default()
        },
        ..Config::default()
    }
}

/// A message that means something, with values that often meet those of another one.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let id = 0..4_u16;
    let topic = prop_oneof![Just("a"), Just("ab"), Just("a/b"), Just("b/c"), Just("pre")];
    let filter = prop_oneof![Just("a"), Just("a/+"), Just("#"), Just("+"), Just("a/#/b")];
    let qos = prop_oneof![
        Just(Qos::Zero),
        Just(Qos::One),
        Just(Qos::Two),
        Just(Qos::MinusOne)
    ];
    let code = prop_oneof![
        2 => Just(ReturnCode::Accepted),
        1 => Just(ReturnCode::InvalidTopicId),
        1 => Just(ReturnCode::Congestion),
        1 => Just(ReturnCode::NotSupported)
    ];
    let alias = prop_oneof![
        id.clone().prop_map(Alias::normal),
        id.clone().prop_map(Alias::predefined),
        Just(Alias::short(*b"ab")),
        Just(Alias::short(*b"#a")),
    ];
    let client = prop_oneof![Just("x"), Just("y"), Just("z"), Just("w"), Just("v")];
    prop_oneof![
        3 => (client.clone(), any::<bool>(), any::<bool>(), 0..2_u16)
            .prop_map(|(c, clean, will, keep)| encode(&connect_with(c, clean, will, keep))),
        1 => (topic.clone(), qos.clone(), any::<bool>())
            .prop_map(|(t, q, r)| encode(&will_topic(t, q, r))),
        1 => Just(encode(&Packet::WillMsg(b"will"))),
        2 => (topic, id.clone()).prop_map(|(t, i)| encode(&register(t, MsgId(i)))),
        3 => (filter, qos.clone(), id.clone())
            .prop_map(|(f, q, i)| encode(&subscribe(TopicRef::Name(f), q, MsgId(i)))),
        6 => (alias, qos, id.clone(), any::<bool>())
            .prop_map(|(a, q, i, r)| encode(&publish_with(a, q, i, r, b"data"))),
        2 => (id.clone(), id.clone(), code.clone())
            .prop_map(|(t, i, c)| encode(&puback(t, i, c))),
        2 => (id.clone(), id.clone(), code)
            .prop_map(|(t, i, c)| encode(&regack(t, MsgId(i), c))),
        1 => id.clone().prop_map(|i| encode(&Packet::Pubrec(MsgId(i)))),
        1 => id.clone().prop_map(|i| encode(&Packet::Pubcomp(MsgId(i)))),
        1 => id.prop_map(|i| encode(&Packet::Pubrel(MsgId(i)))),
        1 => client.prop_map(|c| encode(&pingreq(c))),
        1 => prop_oneof![Just(None), Just(Some(0)), Just(Some(2))]
            .prop_map(|duration| encode(&disconnect(duration))),
    ]
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let tag = (0..5_u32, 0..9_u32).prop_map(|(topic_index, generation)| {
        let tag = Tag {
            topic_index,
            generation,
        };
        tag.to_encapsulation().to_vec()
    });
    let wrapped = (tag, message()).prop_map(|(mut bytes, message)| {
        bytes.extend(message);
        bytes
    });
    prop_oneof![
        12 => message(),
        2 => wrapped,
        1 => prop::collection::vec(any::<u8>(), 0..24),
        1 => (message(), any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(mut bytes, at, value)| {
                let at = at.index(bytes.len());
                bytes[at] = value;
                bytes
            }),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn arbitrary_datagrams_neither_panic_nor_grow_the_broker(
        history in prop::collection::vec((1..6_u8, datagram(), 0..400_u64), 1..150),
        linked: bool,
    ) {
        let mut world = World::new(small());
        if linked {
            world.greet();
            world.reachable(1..6);
        }
        for (from, bytes, wait) in history {
            world.send_bytes(at(from), &bytes);
            world.advance(ms(wait / 4));
            if linked && wait % 3 == 0 {
                world.install();
                world.grant(wait);
            }
            world.said.clear();
            world.inboxes.clear();
            let status = world.broker.status();
            prop_assert!(status.sessions <= LIMIT);
            prop_assert!(status.topics <= LIMIT);
            prop_assert!(status.intent_topics <= LIMIT);
            prop_assert!(status.retained <= 2);
            prop_assert!(status.intent_publications <= 3 * LIMIT);
            for session in world.broker.sessions() {
                prop_assert!(session.queued <= 4);
                prop_assert!(session.topic_ids <= 3);
                prop_assert!(session.subscriptions.len() <= 3);
            }
        }
        // All that had a time limit is over once it has passed.
        world.advance(ms(10_000));
        prop_assert_eq!(world.broker.status().answers_waiting, 0);
    }
}

#[test]
fn a_name_of_very_many_levels_is_refused() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let deep = "/".repeat(60_000);
    let id = MsgId(1);
    world.send(at(1), &register(&deep, id));
    world.expect(at(1), &regack(0, id, ReturnCode::NotSupported));
    world.send(at(1), &subscribe(name(&deep), Qos::Zero, id));
    world.expect(at(1), &suback(0, Qos::Zero, id, ReturnCode::NotSupported));
}
