//! The will dialogue, wills, and their updates (MQTT-SN 1.2 §6.2 to §6.4).

use super::*;
use broker::{Access, Broker, Client};
use mqttsn::packet::WillTopic;

const DATA: &[u8] = &[10, 11, 12, 13, 14];

fn ask_for_dialogue(world: &mut World, keep_alive: u16) {
    world.send(at(1), &connect_with("dying", true, true, keep_alive));
    world.expect(at(1), &Packet::WillTopicReq);
}

fn connect_dying(world: &mut World, clean: bool, topic: &str, qos: Qos, keep_alive: u16) {
    world.send(at(1), &connect_with("dying", clean, true, keep_alive));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send(at(1), &will_topic(topic, qos, false));
    world.expect(at(1), &Packet::WillMsgReq);
    world.send(at(1), &Packet::WillMsg(DATA));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
}

/// Somebody who survives, subscribed at QoS 2; its topic id.
fn heir(world: &mut World, topic: &str) -> u16 {
    world.connect(at(2), "heir");
    world.subscribe(at(2), name(topic), Qos::Two)
}

#[test]
fn a_disconnect_ends_the_will_dialogue() {
    let mut world = World::plain();
    ask_for_dialogue(&mut world, 0xD1CA);
    leave(&mut world, at(1), Some(0x45DA));
    // The topic comes too late.
    world.send(at(1), &will_topic("w", Qos::Zero, false));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn nothing_can_be_asked_for_in_the_will_dialogue() {
    let requests = [
        register("MwjOO", MsgId(0x5A63)),
        publish(Alias::normal(1), Qos::Zero, 0x5A64, b"payload"),
        subscribe(name("MwjOO"), Qos::Zero, MsgId(1)),
    ];
    for request in requests {
        let mut world = World::plain();
        ask_for_dialogue(&mut world, 0x5143);
        world.send(at(1), &request);
        world.expect(at(1), &disconnect(None));
        world.expect_nothing(at(1));
        assert_eq!(world.broker.status().sessions, 0);
    }
}

#[test]
fn a_will_message_before_its_topic_ends_the_dialogue() {
    let mut world = World::plain();
    ask_for_dialogue(&mut world, 0x5143);
    world.send(at(1), &Packet::WillMsg(b"payload"));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.status().sessions, 0);
}

#[test]
fn the_will_of_a_silent_client_is_published_and_the_client_told() {
    for (qos, clean) in [(Qos::One, true), (Qos::Two, true), (Qos::One, false)] {
        let mut world = World::plain();
        let id = heir(&mut world, "abc");
        connect_dying(&mut world, clean, "abc", qos, 1);
        world.advance(ms(3_000));
        receive(&mut world, at(2), Alias::normal(id), qos, DATA);
        world.expect_nothing(at(2));
        world.expect(at(1), &disconnect(None));
        leave(&mut world, at(1), None);
        assert_eq!(world.broker.sessions().len(), if clean { 1 } else { 2 });
    }
}

/// Nobody.
struct MayNot(&'static str);

impl Access for MayNot {
    fn may_publish(&self, _client: Option<&Client<'_>>, topic: &str) -> bool {
        topic != self.0
    }
}

/// The suite's gateway accepts the connection and keeps the will to itself. MQTT-SN 1.2 §6.2: what
/// the CONNECT asks for is refused with its CONNACK.
#[test]
fn a_will_that_may_not_be_published_is_not() {
    for denied in ["will/denied", "will/other"] {
        let mut world = World::plain();
        let access = Box::new(MayNot(denied));
        world.broker = Broker::with_access(Config::default(), access, world.now).unwrap();
        let id = heir(&mut world, "will/denied");
        if denied == "will/other" {
            connect_dying(&mut world, true, "will/denied", Qos::One, 1);
            world.advance(ms(3_000));
            receive(&mut world, at(2), Alias::normal(id), Qos::One, DATA);
        } else {
            ask_for_dialogue(&mut world, 1);
            world.send(at(1), &will_topic("will/denied", Qos::One, false));
            world.expect(at(1), &Packet::Connack(ReturnCode::NotSupported));
            world.advance(ms(3_000));
        }
        world.expect_nothing(at(2));
    }
}

#[test]
fn an_empty_will_topic_connects_without_a_will() {
    let mut world = World::plain();
    world.connect(at(2), "heir");
    world.subscribe(at(2), name("#"), Qos::Two);
    ask_for_dialogue(&mut world, 1);
    world.send(at(1), &Packet::WillTopic(None));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
    world.advance(ms(4_000));
    world.expect(at(1), &disconnect(None));
    leave(&mut world, at(1), None);
    world.expect_nothing(at(2));
}

#[test]
fn a_will_is_published_as_it_was_last_updated() {
    let mut world = World::plain();
    heir(&mut world, "abc");
    let id = world.subscribe(at(2), name("/XYZ"), Qos::Two);
    connect_dying(&mut world, true, "abc", Qos::One, 1);
    let (qos, retain, topic) = (Qos::One, false, "/XYZ");
    let update = WillTopic { qos, retain, topic };
    world.send(at(1), &Packet::WillTopicUpd(Some(update)));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    world.send(at(1), &Packet::WillMsgUpd(b"1A2B3C"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::Accepted));
    world.advance(ms(4_000));
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"1A2B3C");
    world.expect_nothing(at(2));
    world.expect(at(1), &disconnect(None));
}

#[test]
fn an_empty_will_topic_update_deletes_the_will_and_not_the_connection() {
    let mut world = World::plain();
    heir(&mut world, "abc");
    connect_dying(&mut world, true, "abc", Qos::One, 5);
    world.send(at(1), &Packet::WillTopicUpd(None));
    world.expect(at(1), &Packet::WillTopicResp(ReturnCode::Accepted));
    world.advance(ms(1_000));
    world.expect_nothing(at(1));
    world.advance(ms(9_000));
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(2));
}

#[test]
fn a_will_message_cannot_be_updated_without_a_will() {
    let mut world = World::plain();
    world.connect(at(1), "no-will");
    world.send(at(1), &Packet::WillMsgUpd(b"payload"));
    world.expect(at(1), &Packet::WillMsgResp(ReturnCode::NotSupported));
    leave(&mut world, at(1), None);
}

/// Not in the suite, but next to it: a CONNECT that comes twice, the second time overtaken by the
/// topic that answers the first WILLTOPICREQ, must not cost the client its dialogue.
#[test]
fn a_repeated_connect_does_not_forget_the_will_topic() {
    let mut world = World::plain();
    ask_for_dialogue(&mut world, 10);
    world.send(at(1), &will_topic("w", Qos::Zero, false));
    world.expect(at(1), &Packet::WillMsgReq);
    ask_for_dialogue(&mut world, 10);
    world.send(at(1), &Packet::WillMsg(DATA));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    assert!(world.broker.sessions()[0].will);
}
