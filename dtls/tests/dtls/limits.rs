//! What a server holds is bounded, and not for ever.

use std::time::Duration;

use dtls::{Failure, Limits};

use crate::world::{Flying, World, address, alice, psk_only};

#[test]
fn no_more_associations_than_allowed() {
    let limits = Limits {
        max_connections: 3,
        ..Limits::default()
    };
    let mut world = World::new(psk_only(), &limits);
    for n in 0..5 {
        world.connect(address(n), alice());
    }
    let stats = world.server.stats();
    assert_eq!(
        (stats.connections, stats.handshakes, stats.refused_no_room),
        (3, 0, 2)
    );
    // Who has one may have a new one.
    world.connect(address(0), alice());
    assert_eq!(world.server.stats().handshakes_done, 4);
    // And when one goes there is room again.
    world.clients.get_mut(&address(0)).unwrap().close();
    world.settle();
    world.connect(address(9), alice());
    assert!(world.is_connected(address(9)));
}

#[test]
fn handshakes_that_end_together_do_not_exceed_the_associations_allowed() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let mut world = World::new(psk_only(), &limits);
    world.begin(address(1), alice());
    world.begin(address(2), alice());
    world.settle();
    assert_eq!(world.server.stats().connections, 1);
    assert_eq!(world.server.stats().refused_no_room, 1);
}

#[test]
fn a_new_handshake_takes_the_place_of_the_oldest_unfinished_one() {
    let limits = Limits {
        max_handshakes: 2,
        ..Limits::default()
    };
    let mut world = World::new(psk_only(), &limits);
    // From these addresses nothing comes after the cookie.
    world.network = Box::new(|datagram: Flying| {
        let last_flight =
            datagram.bytes.first() == Some(&22) && datagram.bytes.get(13) == Some(&16);
        if last_flight && datagram.client != address(7) {
            Vec::new()
        } else {
            vec![datagram]
        }
    });
    for n in 1..=5 {
        world.connect(address(n), alice());
    }
    let stats = world.server.stats();
    assert_eq!((stats.handshakes, stats.handshakes_evicted), (2, 3));
    world.connect(address(7), alice());
    assert!(
        world.is_connected(address(7)),
        "an honest client is faster than its eviction"
    );
}

#[test]
fn an_association_over_which_nothing_comes_is_closed() {
    let limits = Limits {
        idle_timeout: Duration::from_secs(100),
        ..Limits::default()
    };
    let mut world = World::new(psk_only(), &limits);
    world.connect(address(1), alice());
    world.connect(address(2), alice());
    for _ in 0..3 {
        world.pass(Duration::from_secs(60));
        world.say(address(1), b"here").unwrap();
        // What is sent to a client does not show that it lives.
        if world.server.identity(address(2)).is_some() {
            let now = world.now;
            world.server.send(now, address(2), b"?").unwrap();
        }
        world.settle();
    }
    assert!(world.is_connected(address(1)));
    assert_eq!(world.server.identity(address(2)), None);
    assert_eq!(world.ended.get(&address(2)), Some(&Failure::Closed));
    assert_eq!(world.server.stats().closed_idle, 1);
    world.run_until(|world| world.server.stats().connections == 0);
    assert_eq!(world.server.next_deadline(), None);
}
