//! Whoever is behind the server learns of each association that ends, once and in order.

use std::time::Duration;

use dtls::Limits;

use crate::world::{World, address, alice, psk, psk_only};

fn connected() -> World {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    world.connect(address(2), alice());
    assert_eq!(world.lost_by_server, []);
    world
}

#[test]
fn a_goodbye_is_the_end_and_comes_behind_what_was_said() {
    let mut world = connected();
    world.say(address(1), b"last words").unwrap();
    world.clients.get_mut(&address(1)).unwrap().close();
    world.settle();
    assert_eq!(world.lost_by_server, [(address(1), 1)]);
    // To an address without an association nothing is sent, and nothing ends a second time.
    let now = world.now;
    world.server.send(now, address(1), b"x").unwrap_err();
    world.settle();
    assert_eq!(world.lost_by_server, [(address(1), 1)]);
}

#[test]
fn silence_is_the_end() {
    let mut world = connected();
    world.pass(Limits::default().idle_timeout - Duration::from_secs(1));
    world.say(address(2), b"alive").unwrap();
    world.settle();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.lost_by_server, [(address(1), 1)]);
}

#[test]
fn a_new_association_from_the_address_is_the_end_of_the_old_one_alone() {
    let mut world = connected();
    world.say(address(1), b"old").unwrap();
    world.settle();
    world.connect(address(1), psk("bob", &[0xB0; 32]));
    world.say(address(1), b"new").unwrap();
    world.settle();
    assert_eq!(world.lost_by_server, [(address(1), 1)]);
    assert_eq!(world.heard(), [b"old", b"new"]);
}

#[test]
fn a_handshake_that_fails_ends_nothing() {
    let mut world = connected();
    world.connect(address(1), psk("alice", b"not her key"));
    world.connect(address(3), psk("alice", b"not her key"));
    assert_eq!(world.server.stats().handshakes_failed, 2);
    assert_eq!(world.lost_by_server, []);
}

#[test]
fn a_server_that_stops_ends_them_all() {
    let mut world = connected();
    let now = world.now;
    world.server.close(now);
    assert!(world.server.has_received());
    world.settle();
    world.lost_by_server.sort_unstable();
    assert_eq!(world.lost_by_server, [(address(1), 0), (address(2), 0)]);
}
