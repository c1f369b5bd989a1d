//! Clients and the addresses they speak from (MQTT-SN 1.2 §6.2, §6.14).

use super::*;

#[test]
fn a_disconnected_client_takes_its_session_up_again_at_the_same_address() {
    let mut world = World::plain();
    connect_persistent(&mut world, at(1), "a");
    world.subscribe(at(1), name("t/1"), Qos::One);
    leave(&mut world, at(1), None);
    connect_persistent(&mut world, at(1), "a");
    let sessions = world.broker.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].subscriptions.len(), 1);
}

#[test]
fn another_client_at_the_address_of_a_disconnected_one_leaves_that_session_alone() {
    let mut world = World::plain();
    connect_persistent(&mut world, at(1), "a");
    world.subscribe(at(1), name("t/1"), Qos::One);
    leave(&mut world, at(1), None);
    connect_persistent(&mut world, at(1), "b");
    publish_elsewhere(&mut world, "t/1", Qos::One, b"for a");
    world.expect_nothing(at(1));
    connect_persistent(&mut world, at(2), "a");
    let (_, id) = world.accept_register(at(2));
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"for a");
    // And the other one is still connected.
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
}

#[test]
fn a_sleeping_client_may_wake_up_at_another_address() {
    let mut world = World::plain();
    let id = sleeper(&mut world, "t/1", Qos::One);
    publish_elsewhere(&mut world, "t/1", Qos::One, b"queued");
    world.send(at(2), &pingreq("sleeper"));
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"queued");
    world.expect(at(2), &Packet::Pingresp);
    // Should anybody be at its former address, this tells them.
    world.expect(at(1), &disconnect(None));
    world.expect_nothing(at(1));
}

/// The suite's gateway is silent. Here the stranger learns that it is not connected (MQTT-SN 1.2
/// §5.4.21); what matters is the same, the client stays where it connected.
#[test]
fn a_pingreq_in_the_name_of_a_connected_client_moves_nothing() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    let id = world.subscribe(at(1), name("t/1"), Qos::One);
    world.send(at(2), &pingreq("a"));
    world.expect(at(2), &disconnect(None));
    publish_elsewhere(&mut world, "t/1", Qos::One, b"for the first");
    receive(
        &mut world,
        at(1),
        Alias::normal(id),
        Qos::One,
        b"for the first",
    );
    world.expect_nothing(at(2));
}

#[test]
fn a_client_at_the_address_of_a_sleeping_one_does_not_end_its_sleep() {
    let mut world = World::plain();
    let id = sleeper(&mut world, "t/1", Qos::One);
    world.connect(at(1), "other");
    publish_elsewhere(&mut world, "t/1", Qos::One, b"queued");
    world.expect_nothing(at(1));
    world.send(at(2), &pingreq("sleeper"));
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"queued");
    world.expect(at(2), &Packet::Pingresp);
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
    assert_eq!(world.broker.stats().sessions_lost, 0);
}

/// Not in the suite, but next to it: the DISCONNECT of a client that is lost in its sleep would tell
/// the wrong one.
#[test]
fn who_is_lost_in_its_sleep_takes_nobody_along() {
    let mut world = World::plain();
    sleeper(&mut world, "t/1", Qos::One);
    world.connect(at(1), "other");
    world.advance(ms(60_000));
    assert_eq!(world.broker.stats().sessions_lost, 1);
    world.expect_nothing(at(1));
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
}

#[test]
fn a_clean_session_ends_when_another_client_speaks_from_its_address() {
    let mut world = World::plain();
    world.connect(at(1), "a");
    world.subscribe(at(1), name("t/1"), Qos::One);
    world.connect(at(1), "b");
    publish_elsewhere(&mut world, "t/1", Qos::One, b"for nobody");
    world.expect_nothing(at(1));
    assert_eq!(world.broker.status().active, 2);
}

/// The suite's gateway goes on with the old topic id. MQTT-SN 1.2 §6.5 and §6.10: it is registered
/// anew with a client that reconnects.
#[test]
fn a_persistent_session_outlives_another_client_at_its_address() {
    let mut world = World::plain();
    connect_persistent(&mut world, at(1), "a");
    let id = world.subscribe(at(1), name("t/1"), Qos::One);
    world.connect(at(1), "b");
    publish_elsewhere(&mut world, "t/1", Qos::One, b"kept");
    world.expect_nothing(at(1));
    connect_persistent(&mut world, at(2), "a");
    assert_eq!(world.accept_register(at(2)), ("t/1".to_owned(), id));
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"kept");
    world.expect_nothing(at(2));
}

#[test]
fn an_awake_client_that_another_one_displaces_loses_no_message() {
    let mut world = World::plain();
    connect_persistent(&mut world, at(1), "a");
    let id = world.subscribe(at(1), name("t/1"), Qos::One);
    leave(&mut world, at(1), Some(5));
    publish_elsewhere(&mut world, "t/1", Qos::One, b"under way");
    world.send(at(1), &pingreq("a"));
    world.expect_publish(at(1), Alias::normal(id), Qos::One, b"under way");

    world.connect(at(1), "b");
    publish_elsewhere(&mut world, "t/1", Qos::One, b"queued");
    world.advance(ms(1_000));
    world.expect_nothing(at(1));
    connect_persistent(&mut world, at(2), "a");
    world.accept_register(at(2));
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"under way");
    receive(&mut world, at(2), Alias::normal(id), Qos::One, b"queued");
    world.expect_nothing(at(2));
}
