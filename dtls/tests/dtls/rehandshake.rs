//! RFC 6347 §4.2.8: a client that begins anew from the address that it had.

use dtls::Limits;

use crate::world::{World, address, alice, psk, psk_only};

#[test]
fn a_client_that_has_forgotten_its_keys_gets_new_ones() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    let of_before = world.sealed(address(1), b"old");
    world.connect(address(1), psk("bob", &[0xB0; 32]));
    assert!(world.is_connected(address(1)));
    assert_eq!(world.server.identity(address(1)), Some(Some("bob")));
    let stats = world.server.stats();
    assert_eq!(
        (stats.handshakes_done, stats.connections, stats.handshakes),
        (2, 1, 0)
    );
    world.hand_to_server(address(1), &of_before);
    assert_eq!(
        world.heard(),
        Vec::<Vec<u8>>::new(),
        "the old keys are gone"
    );
    world.say(address(1), b"new").unwrap();
    world.settle();
    assert_eq!(world.heard(), [b"new"]);
}

#[test]
fn who_only_proves_the_address_takes_nothing_from_whom_it_belongs_to() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    let mut client = world.clients.remove(&address(1)).unwrap();
    // Somebody who receives what is sent to the address, but has no key.
    world.connect(address(1), psk("alice", b"not her key"));
    assert_eq!(world.server.identity(address(1)), Some(Some("alice")));
    client.send(b"still mine").unwrap();
    let record = client.poll_transmit().unwrap();
    world.hand_to_server(address(1), &record);
    assert_eq!(world.heard(), [b"still mine"]);
}

#[test]
fn the_old_association_goes_on_while_the_new_handshake_is_not_done() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    let mut old = world.clients.remove(&address(1)).unwrap();
    // The new handshake stops before its last flight.
    let mut to_server = 0;
    world.network = Box::new(move |datagram| {
        to_server += usize::from(datagram.to_server);
        if to_server > 2 {
            Vec::new()
        } else {
            vec![datagram]
        }
    });
    world.connect(address(1), alice());
    assert_eq!(world.server.stats().handshakes, 1);
    old.send(b"meanwhile").unwrap();
    let record = old.poll_transmit().unwrap();
    world.hand_to_server(address(1), &record);
    assert_eq!(world.heard(), [b"meanwhile"]);
    assert_eq!(
        world.server.stats().handshakes,
        1,
        "the new one goes on too"
    );
}

#[test]
fn the_hello_of_an_association_played_back_begins_nothing() {
    let mut world = World::new(psk_only(), &Limits::default());
    let hellos = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = hellos.clone();
    world.network = Box::new(move |datagram| {
        if datagram.to_server {
            seen.borrow_mut().push(datagram.bytes.clone());
        }
        vec![datagram]
    });
    world.connect(address(1), alice());
    let with_cookie = hellos.borrow()[1].clone();
    world.hand_to_server(address(1), &with_cookie);
    assert_eq!(world.server.stats().handshakes_begun, 1);
    assert!(world.is_connected(address(1)));
}
