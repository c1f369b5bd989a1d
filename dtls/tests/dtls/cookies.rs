//! RFC 6347 §4.2.1: before a client has proven its address, it costs nothing.

use std::time::Duration;

use dtls::Limits;

use crate::world::{World, address, alice, psk_only};

/// Alice's first hello.
fn hello(world: &mut World) -> Vec<u8> {
    world.begin(address(1), alice());
    world
        .clients
        .get_mut(&address(1))
        .unwrap()
        .poll_transmit()
        .unwrap()
}

#[test]
fn a_flood_of_hellos_from_forged_addresses_leaves_nothing_behind() {
    let mut world = World::new(psk_only(), &Limits::default());
    let hello = hello(&mut world);
    for n in 0..10_000 {
        world.server.handle_datagram(world.now, address(n), &hello);
        let answer = world.server.poll_transmit().unwrap();
        assert_eq!(answer.to, address(n));
        assert!(answer.bytes.len() <= hello.len(), "no amplification");
    }
    let stats = world.server.stats();
    assert_eq!(stats.cookies_sent, 10_000);
    assert_eq!(
        (stats.handshakes_begun, stats.handshakes, stats.connections),
        (0, 0, 0)
    );
    assert_eq!(world.server.next_deadline(), None);
}

#[test]
fn a_cookie_is_good_for_its_address_only() {
    let mut world = World::new(psk_only(), &Limits::default());
    let hello = hello(&mut world);
    world.server.handle_datagram(world.now, address(1), &hello);
    let request = world.server.poll_transmit().unwrap().bytes.to_vec();
    let now = world.now;
    let client = world.clients.get_mut(&address(1)).unwrap();
    client.handle_datagram(now, &request).unwrap();
    let with_cookie = client.poll_transmit().unwrap();

    world
        .server
        .handle_datagram(world.now, address(2), &with_cookie);
    assert_eq!(world.server.stats().handshakes_begun, 0);
    world
        .server
        .handle_datagram(world.now, address(1), &with_cookie);
    assert_eq!(world.server.stats().handshakes_begun, 1);
}

#[test]
fn a_hello_with_an_old_cookie_is_asked_for_a_new_one() {
    let mut world = World::new(psk_only(), &Limits::default());
    let hello = hello(&mut world);
    let begun = world.now;
    world.server.handle_datagram(begun, address(1), &hello);
    let first = world.server.poll_transmit().unwrap().bytes.to_vec();
    let client = world.clients.get_mut(&address(1)).unwrap();
    client.handle_datagram(begun, &first).unwrap();
    let with_old_cookie = client.poll_transmit().unwrap();

    let late = begun + Duration::from_secs(250);
    world
        .server
        .handle_datagram(late, address(1), &with_old_cookie);
    assert_eq!(world.server.stats().handshakes_begun, 0);
    let second = world.server.poll_transmit().unwrap().bytes.to_vec();
    // A HelloVerifyRequest, numbered as the second message of the handshake, with another cookie.
    assert_eq!(second[13], 3);
    assert_eq!(second[17..19], [0, 1]);
    assert_ne!(second[28..], first[28..]);
}

#[test]
fn a_repeated_hello_gets_the_same_cookie_again() {
    let mut world = World::new(psk_only(), &Limits::default());
    let hello = hello(&mut world);
    let mut answers = Vec::new();
    for _ in 0..2 {
        world.server.handle_datagram(world.now, address(1), &hello);
        answers.push(world.server.poll_transmit().unwrap().bytes.to_vec());
    }
    assert_eq!(answers[0], answers[1]);
}
