//! PUBLISH at each QoS and with each TopicIdType (MQTT-SN 1.2 §6.6 to §6.10).

use super::*;
use broker::{Access, Broker, Client};

const DATA: &[u8] = &[20, 21, 22, 23];

/// Whoever says nothing of itself may publish to `ab`, or to nothing.
struct OfNobody {
    ab: bool,
}

impl Access for OfNobody {
    fn may_publish(&self, client: Option<&Client<'_>>, topic: &str) -> bool {
        client.is_some() || (self.ab && topic == "ab")
    }
}

/// The suite's gateway takes a normal topic id at QoS −1 from a connected client. MQTT-SN 1.2 §6.8
/// allows pre-defined topic ids and short topic names only.
#[test]
fn qos_minus_1_takes_no_normal_topic_id() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let id = world.subscribe(at(1), name("abc"), Qos::Zero);
    world.send(at(1), &publish(Alias::normal(id), Qos::MinusOne, 3, DATA));
    world.expect_nothing(at(1));
    world.subscribe(at(1), short("ab"), Qos::Zero);
    let alias = Alias::short(*b"ab");
    world.send(at(1), &publish(alias, Qos::MinusOne, 3, DATA));
    world.expect(at(1), &publish(alias, Qos::Zero, 0, DATA));
}

/// The suite's gateway answers with PUBACK where QoS −1 is turned off. MQTT-SN 1.2 §6.8: who sends it
/// forgets it, so nobody waits for an answer.
#[test]
fn qos_minus_1_of_an_unknown_predefined_id_is_dropped_without_an_answer() {
    let mut world = predefined();
    world.send(
        at(9),
        &publish(Alias::predefined(9), Qos::MinusOne, 1, DATA),
    );
    world.expect_nothing(at(9));
    assert_eq!(world.broker.stats().invalid_topic, 1);
}

#[test]
fn qos_minus_1_passes_only_where_nobody_is_permitted_to_publish() {
    for ab in [false, true] {
        let mut world = World::plain();
        let access = Box::new(OfNobody { ab });
        world.broker = Broker::with_access(Config::default(), access, world.now).unwrap();
        world.connect(at(1), "a");
        world.subscribe(at(1), short("ab"), Qos::Zero);
        world.subscribe(at(1), short("cd"), Qos::Zero);
        for octets in [*b"ab", *b"cd"] {
            world.send(
                at(9),
                &publish(Alias::short(octets), Qos::MinusOne, 1, DATA),
            );
        }
        if ab {
            let copy = publish(Alias::short(*b"ab"), Qos::Zero, 0, DATA);
            world.expect(at(1), &copy);
        }
        world.expect_nothing(at(1));
    }
}

#[test]
fn qos_0_ignores_its_msg_id_and_copies_carry_none() {
    let mut world = predefined();
    world.connect(at(1), "a");
    let id = world.subscribe(at(1), name("abc"), Qos::Zero);
    world.subscribe(at(1), TopicRef::Predefined(1), Qos::Zero);
    for alias in [Alias::normal(id), Alias::predefined(1)] {
        world.send(at(1), &publish(alias, Qos::Zero, 3, DATA));
        world.expect(at(1), &publish(alias, Qos::Zero, 0, DATA));
        world.expect_nothing(at(1));
    }
}

/// The suite's gateway takes a normal topic id that is called pre-defined. MQTT-SN 1.2 §6.7: the
/// Flags say which it is, and a pre-defined one that is unknown is answered with its PUBACK.
#[test]
fn a_normal_topic_id_that_is_called_predefined_is_an_unknown_one() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let id = world.subscribe(at(1), name("/a/b/c"), Qos::Zero);
    world.send(at(1), &publish(Alias::predefined(id), Qos::Zero, 3, DATA));
    world.expect(at(1), &puback(id, 3, ReturnCode::InvalidTopicId));
    world.expect_nothing(at(1));
}

#[test]
fn a_short_topic_reaches_a_wildcard_without_register() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    assert_eq!(world.subscribe(at(1), name("#"), Qos::Zero), 0);
    let alias = Alias::short(*b"TR");
    world.send(at(1), &publish(alias, Qos::Zero, 2, DATA));
    world.expect(at(1), &publish(alias, Qos::Zero, 0, DATA));
}

#[test]
fn qos_1_is_acknowledged_with_its_own_topic_id_and_msg_id() {
    let mut world = predefined();
    world.connect(at(1), "a");
    let id = world.subscribe(at(1), name("abc"), Qos::One);
    world.subscribe(at(1), TopicRef::Predefined(1), Qos::One);
    world.subscribe(at(1), short("ab"), Qos::One);
    for alias in [
        Alias::normal(id),
        Alias::predefined(1),
        Alias::short(*b"ab"),
    ] {
        world.send(at(1), &publish(alias, Qos::One, 7, DATA));
        let answer = puback(alias.topic_id, 7, ReturnCode::Accepted);
        let copy = answer_and_copy(&mut world, at(1), &answer, alias, Qos::One, DATA);
        world.send(at(1), &puback(alias.topic_id, copy.0, ReturnCode::Accepted));
    }
}

#[test]
fn qos_1_of_an_unknown_predefined_id_is_refused() {
    let mut world = predefined();
    world.connect(at(1), "a");
    world.send(at(1), &publish(Alias::predefined(5), Qos::One, 1, DATA));
    world.expect(at(1), &puback(5, 1, ReturnCode::InvalidTopicId));
}

#[test]
fn qos_1_to_a_short_name_with_a_wildcard_is_not_supported() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.subscribe(at(1), name("ab"), Qos::One);
    for octets in [*b"/#", *b"/+"] {
        let alias = Alias::short(octets);
        world.send(at(1), &publish(alias, Qos::One, 7, DATA));
        world.expect(at(1), &puback(alias.topic_id, 7, ReturnCode::NotSupported));
    }
    world.expect_nothing(at(1));
}

#[test]
fn qos_2_goes_through_its_four_steps_in_both_directions() {
    let mut world = predefined();
    world.connect(at(1), "a");
    let id = world.subscribe(at(1), name("/abc"), Qos::Two);
    world.subscribe(at(1), TopicRef::Predefined(2), Qos::Two);
    for alias in [Alias::normal(id), Alias::predefined(2)] {
        qos_2_to_oneself(&mut world, alias);
    }
    world.unsubscribe(at(1), name("/abc"));
    // Through a wildcard, and with no REGISTER for a short name.
    assert_eq!(world.subscribe(at(1), name("/#"), Qos::Two), 0);
    qos_2_to_oneself(&mut world, Alias::short(*b"/a"));
}

/// The suite's gateway passes the message on at PUBREL, this broker at PUBLISH: MQTT 3.1.1 §4.3.3
/// leaves the choice.
fn qos_2_to_oneself(world: &mut World, alias: Alias) {
    world.send(at(1), &publish(alias, Qos::Two, 7, DATA));
    let answer = Packet::Pubrec(MsgId(7));
    let copy = answer_and_copy(world, at(1), &answer, alias, Qos::Two, DATA);
    world.send(at(1), &Packet::Pubrel(MsgId(7)));
    world.expect(at(1), &Packet::Pubcomp(MsgId(7)));
    world.send(at(1), &Packet::Pubrec(copy));
    world.expect(at(1), &Packet::Pubrel(copy));
    world.send(at(1), &Packet::Pubcomp(copy));
    world.expect_nothing(at(1));
}

/// MQTT-SN 1.2 §6.10. The message comes again as the same one: with its MsgId, and, unlike in the
/// suite, with DUP (§5.3.4).
#[test]
fn a_client_that_does_not_know_a_topic_id_is_told_it_and_gets_the_message_again() {
    let mut world = World::plain();
    world.connect(at(1), "test");
    let id = world.subscribe(at(1), name("ab"), Qos::One);
    publish_elsewhere(&mut world, "ab", Qos::One, b"inconsistent");
    let msg_id = world.expect_publish(at(1), Alias::normal(id), Qos::One, b"inconsistent");
    world.send(at(1), &puback(id, msg_id.0, ReturnCode::InvalidTopicId));
    assert_eq!(world.accept_register(at(1)), ("ab".to_owned(), id));
    let bytes = world.take(at(1));
    let Ok(Packet::Publish(again)) = Packet::decode(&bytes) else {
        panic!("PUBLISH");
    };
    assert_eq!((again.alias, again.msg_id), (Alias::normal(id), msg_id));
    assert!(again.dup);
    world.send(at(1), &puback(id, msg_id.0, ReturnCode::Accepted));
    world.advance(ms(60_000));
    world.expect_nothing(at(1));
}
