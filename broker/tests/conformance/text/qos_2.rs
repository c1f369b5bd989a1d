//! QoS 2 in both directions, whatever is lost or doubled on the way (MQTT-SN 1.2 §5.4.14, §6.6,
//! MQTT 3.1.1 §4.3.3).

use broker::Config;
use proptest::prelude::*;

use crate::clients::*;
use crate::world::*;
use mqttsn::{Alias, MsgId, Packet, Qos, TopicRef};

const AB: Alias = Alias::short(*b"ab");

/// A publisher at 1 and a subscriber at 2, both with persistent sessions.
fn pair() -> World {
    pair_with(Config::default())
}

fn pair_with(config: Config) -> World {
    let mut world = World::new(config);
    open(&mut world, at(1), "publisher", false, 0);
    open(&mut world, at(2), "subscriber", false, 0);
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Two);
    world
}

#[test]
fn a_message_repeated_before_its_pubrel_is_passed_on_once_and_after_it_anew() {
    let mut world = pair();
    world.subscribe(at(2), TopicRef::Short(*b"ab"), Qos::Zero);
    let message = publish(AB, Qos::Two, 5, b"x");
    for _ in 0..3 {
        world.send(at(1), &message);
        world.expect(at(1), &Packet::Pubrec(MsgId(5)));
    }
    take_publish(&mut world, at(2));
    world.expect_nothing(at(2));
    for _ in 0..3 {
        world.send(at(1), &Packet::Pubrel(MsgId(5)));
        world.expect(at(1), &Packet::Pubcomp(MsgId(5)));
    }
    world.send(at(1), &message);
    world.expect(at(1), &Packet::Pubrec(MsgId(5)));
    take_publish(&mut world, at(2));
}

#[test]
fn a_publisher_that_reconnects_in_the_middle_does_not_double_its_message() {
    let mut world = pair();
    world.send(at(1), &publish(AB, Qos::Two, 5, b"x"));
    world.expect(at(1), &Packet::Pubrec(MsgId(5)));
    close(&mut world, at(1));
    open(&mut world, at(1), "publisher", false, 0);
    world.send(at(1), &publish(AB, Qos::Two, 5, b"x"));
    world.expect(at(1), &Packet::Pubrec(MsgId(5)));
    world.send(at(1), &Packet::Pubrel(MsgId(5)));
    world.expect(at(1), &Packet::Pubcomp(MsgId(5)));
    world.expect_publish(at(2), AB, Qos::Two, b"x");
    world.expect_nothing(at(2));
    assert_eq!(world.broker.stats().delivered, 1);
}

#[test]
fn a_subscriber_that_reconnects_gets_the_step_that_it_left_at() {
    let mut world = pair();
    world.send(at(1), &publish(AB, Qos::Two, 5, b"x"));
    let msg_id = world.expect_publish(at(2), AB, Qos::Two, b"x");
    close(&mut world, at(2));
    open(&mut world, at(2), "subscriber", false, 0);
    let bytes = world.take(at(2));
    let Ok(Packet::Publish(again)) = Packet::decode(&bytes) else {
        panic!("PUBLISH");
    };
    assert_eq!((again.dup, again.msg_id), (true, msg_id));
    world.send(at(2), &Packet::Pubrec(msg_id));
    world.expect(at(2), &Packet::Pubrel(msg_id));
    close(&mut world, at(2));
    open(&mut world, at(2), "subscriber", false, 0);
    world.expect(at(2), &Packet::Pubrel(msg_id));
    world.send(at(2), &Packet::Pubcomp(msg_id));
    world.advance(seconds(100));
    world.expect_nothing(at(2));
}

#[test]
fn each_step_of_the_subscriber_may_come_twice() {
    let mut world = pair();
    world.send(at(1), &publish(AB, Qos::Two, 5, b"x"));
    let msg_id = world.expect_publish(at(2), AB, Qos::Two, b"x");
    for _ in 0..2 {
        world.send(at(2), &Packet::Pubrec(msg_id));
        world.expect(at(2), &Packet::Pubrel(msg_id));
    }
    for _ in 0..2 {
        world.send(at(2), &Packet::Pubcomp(msg_id));
        world.expect_nothing(at(2));
    }
    // A PUBREC that was long on its way: the client must be able to finish.
    world.send(at(2), &Packet::Pubrec(msg_id));
    world.expect(at(2), &Packet::Pubrel(msg_id));
}

/// What may happen to one datagram.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    Doubled,
}

/// A publisher that obeys QoS 2: one message at a time, each step until it is answered.
struct Publisher {
    next: u8,
    released: bool,
}

impl Publisher {
    fn says(&self) -> Option<Vec<u8>> {
        let msg_id = u16::from(self.next);
        (self.next <= MESSAGES).then(|| match self.released {
            false => encode(&publish(AB, Qos::Two, msg_id, &[self.next])),
            true => encode(&Packet::Pubrel(MsgId(msg_id))),
        })
    }

    fn hears(&mut self, packet: &Packet<'_>) {
        let msg_id = MsgId(self.next.into());
        match packet {
            Packet::Pubrec(id) if *id == msg_id => self.released = true,
            Packet::Pubcomp(id) if *id == msg_id && self.released => {
                self.next += 1;
                self.released = false;
            }
            _ => {}
        }
    }
}

/// A subscriber that obeys QoS 2: what it took, and the MsgIds that are not released.
#[derive(Default)]
struct Subscriber {
    took: Vec<u8>,
    unreleased: Vec<MsgId>,
}

impl Subscriber {
    fn hears(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        match packet {
            Packet::Publish(p) => {
                if !self.unreleased.contains(&p.msg_id) {
                    self.unreleased.push(p.msg_id);
                    self.took.extend(p.data);
                }
                Some(encode(&Packet::Pubrec(p.msg_id)))
            }
            Packet::Pubrel(msg_id) => {
                self.unreleased.retain(|id| id != msg_id);
                Some(encode(&Packet::Pubcomp(*msg_id)))
            }
            other => panic!("{other:?}"),
        }
    }
}

const MESSAGES: u8 = 4;

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn whatever_is_lost_or_doubled_each_message_arrives_once_and_in_order(
        fates in prop::collection::vec(
            prop_oneof![
                3 => Just(Fate::Arrives),
                1 => Just(Fate::Lost),
                1 => Just(Fate::Doubled),
            ],
            0..120,
        ),
    ) {
        let mut world = pair_with(Config {
            t_retry_ms: 1_000,
            n_retry: 1_000,
            ..Config::default()
        });
        let mut publisher = Publisher { next: 1, released: false };
        let mut subscriber = Subscriber::default();
        let mut fates = fates.into_iter();
        let mut copies = || match fates.next() {
            Some(Fate::Lost) => 0,
            Some(Fate::Doubled) => 2,
            Some(Fate::Arrives) | None => 1,
        };
        for _ in 0..400 {
            if let Some(bytes) = publisher.says() {
                for _ in 0..copies() {
                    world.send_bytes(at(1), &bytes);
                }
            }
            while let Some(bytes) = world.inboxes.entry(at(1)).or_default().pop_front() {
                for _ in 0..copies() {
                    publisher.hears(&Packet::decode(&bytes).unwrap());
                }
            }
            while let Some(bytes) = world.inboxes.entry(at(2)).or_default().pop_front() {
                for _ in 0..copies() {
                    if let Some(answer) = subscriber.hears(&Packet::decode(&bytes).unwrap()) {
                        for _ in 0..copies() {
                            world.send_bytes(at(2), &answer);
                        }
                    }
                }
            }
            world.advance(seconds(1));
        }
        prop_assert_eq!(subscriber.took, (1..=MESSAGES).collect::<Vec<_>>());
    }
}
