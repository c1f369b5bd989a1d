//! Sleeping clients (MQTT-SN 1.2 §6.14).
//!
//! The suite's gateway forgets a client whose sleep timer runs out. Here a session that was not clean
//! stays, disconnected; these are clean.

use super::*;

/// A client with a will that sleeps, and one that watches for the will.
fn sleeper_with_will(world: &mut World, keep_alive: u16, sleep: u16) {
    world.connect(at(9), "watcher");
    world.subscribe(at(9), name("dead"), Qos::One);
    world.send(at(1), &connect_with("sleeper", true, true, keep_alive));
    world.expect(at(1), &Packet::WillTopicReq);
    world.send(at(1), &will_topic("dead", Qos::One, false));
    world.expect(at(1), &Packet::WillMsgReq);
    world.send(at(1), &Packet::WillMsg(b"gone"));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    leave(world, at(1), Some(sleep));
}

fn is_known(world: &World) -> bool {
    let sessions = world.broker.sessions();
    sessions.iter().any(|s| s.client_id == "sleeper")
}

#[track_caller]
fn wake(world: &mut World) {
    world.send(at(1), &pingreq("sleeper"));
}

#[test]
fn who_sleeps_longer_than_it_said_is_lost() {
    let mut world = World::plain();
    sleeper_with_will(&mut world, 1, 1);
    world.advance(ms(3_000));
    assert!(!is_known(&world));
    let alias = world.take(at(9));
    assert!(matches!(Packet::decode(&alias), Ok(Packet::Publish(p)) if p.data == b"gone"));
}

#[test]
fn each_pingreq_starts_the_sleep_timer_anew_and_the_keep_alive_does_not_count() {
    let mut world = World::plain();
    sleeper_with_will(&mut world, 1, 5);
    for _ in 0..2 {
        world.advance(ms(4_500));
        wake(&mut world);
        world.expect(at(1), &Packet::Pingresp);
    }
    assert!(is_known(&world));
    world.advance(ms(8_000));
    assert!(!is_known(&world));
}

/// The suite subscribes with a normal topic id that it calls pre-defined; see
/// `publishing::a_normal_topic_id_that_is_called_predefined_is_an_unknown_one`.
#[test]
fn what_came_in_the_sleep_is_delivered_before_the_pingresp() {
    for qos in [Qos::Zero, Qos::One, Qos::Two] {
        let mut world = World::plain();
        let id = sleeper(&mut world, "tom", qos);
        world.advance(ms(300));
        publish_elsewhere(&mut world, "tom", qos, b"7BMXc");
        world.expect_nothing(at(1));
        wake(&mut world);
        receive(&mut world, at(1), Alias::normal(id), qos, b"7BMXc");
        world.expect(at(1), &Packet::Pingresp);
        world.advance(ms(8_000));
        assert!(!is_known(&world));
    }
}

#[test]
fn a_topic_it_has_no_id_for_is_registered_before_its_messages() {
    let mut world = World::plain();
    assert_eq!(sleeper(&mut world, "u/+/w", Qos::One), 0);
    for data in [b"1", b"2", b"3"] {
        publish_elsewhere(&mut world, "u/v/w", Qos::One, data);
    }
    wake(&mut world);
    let bytes = world.take(at(1));
    let Ok(Packet::Register(asked)) = Packet::decode(&bytes) else {
        panic!("REGISTER");
    };
    assert_eq!(asked.topic_name, "u/v/w");
    // No PUBLISH before its REGACK, and no PINGRESP either.
    world.advance(ms(1_000));
    world.expect_nothing(at(1));
    let accepted = regack(asked.topic_id, asked.msg_id, ReturnCode::Accepted);
    world.send(at(1), &accepted);
    let alias = Alias::normal(asked.topic_id);
    for data in [b"1", b"2", b"3"] {
        receive(&mut world, at(1), alias, Qos::One, data);
    }
    world.expect(at(1), &Packet::Pingresp);
    // The next time there is nothing left.
    wake(&mut world);
    world.expect(at(1), &Packet::Pingresp);
    world.expect_nothing(at(1));
}

#[test]
fn connect_ends_the_sleep_and_its_timer() {
    for awake_before in [false, true] {
        let mut world = World::plain();
        sleeper_with_will(&mut world, 10, 1);
        world.advance(ms(100));
        if awake_before {
            wake(&mut world);
            world.expect(at(1), &Packet::Pingresp);
        }
        world.connect(at(1), "sleeper");
        world.advance(ms(8_000));
        // A clean session without a will, and without a keep-alive.
        assert!(is_known(&world));
        world.expect_nothing(at(1));
        world.expect_nothing(at(9));
    }
}

#[test]
fn a_plain_disconnect_ends_the_sleep_without_a_will() {
    for awake_before in [false, true] {
        let mut world = World::plain();
        sleeper_with_will(&mut world, 3, 1);
        world.advance(ms(100));
        if awake_before {
            wake(&mut world);
            world.expect(at(1), &Packet::Pingresp);
        }
        leave(&mut world, at(1), None);
        world.advance(ms(8_000));
        assert!(!is_known(&world));
        world.expect_nothing(at(1));
        world.expect_nothing(at(9));
    }
}
