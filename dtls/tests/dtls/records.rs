//! Records that are not what a peer has just sent.

use dtls::{Limits, MAX_DATAGRAM, SendError};

use crate::world::{World, address, alice, psk_only};

fn connected() -> World {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    assert!(world.is_connected(address(1)));
    world
}

#[test]
fn a_record_played_back_is_dropped() {
    let mut world = connected();
    let record = world.sealed(address(1), b"once");
    for _ in 0..3 {
        world.hand_to_server(address(1), &record);
    }
    assert_eq!(world.heard(), [b"once"]);
    assert!(world.is_connected(address(1)));
}

#[test]
fn a_record_changed_at_any_octet_is_dropped_and_harms_nobody() {
    let mut world = connected();
    let record = world.sealed(address(1), b"as it was");
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 0x01;
        world.hand_to_server(address(1), &changed);
        assert_eq!(world.heard(), Vec::<Vec<u8>>::new(), "octet {at}");
        assert!(world.is_connected(address(1)), "octet {at}");
    }
    world.hand_to_server(address(1), &record);
    assert_eq!(world.heard(), [b"as it was"]);
}

#[test]
fn a_record_of_one_client_is_nothing_from_another() {
    let mut world = connected();
    world.connect(address(2), alice());
    let record = world.sealed(address(1), b"mine");
    world.hand_to_server(address(2), &record);
    world.hand_to_server(address(3), &record);
    assert_eq!(world.heard(), Vec::<Vec<u8>>::new());
    assert!(world.is_connected(address(2)));
}

#[test]
fn records_that_overtake_each_other_all_arrive() {
    let mut world = connected();
    let records: Vec<_> = (0..20u8).map(|n| world.sealed(address(1), &[n])).collect();
    for record in records.iter().rev() {
        world.hand_to_server(address(1), record);
    }
    let expected: Vec<_> = (0..20u8).rev().map(|n| vec![n]).collect();
    assert_eq!(world.heard(), expected);
}

#[test]
fn an_alert_in_the_clear_ends_no_association() {
    let mut world = connected();
    for number in [0u8, 9, 200] {
        let alert = [21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, number, 0, 2, 2, 40];
        world.hand_to_server(address(1), &alert);
        let now = world.now;
        let client = world.clients.get_mut(&address(1)).unwrap();
        client.handle_datagram(now, &alert).unwrap();
    }
    world.say(address(1), b"still here").unwrap();
    world.settle();
    assert_eq!(world.heard(), [b"still here"]);
}

#[test]
fn one_datagram_is_one_record_up_to_the_longest() {
    let mut world = connected();
    for length in [0, 1, 255, 1_400, 9_000, MAX_DATAGRAM] {
        let message = vec![0x5A; length];
        let record = world.sealed(address(1), &message);
        world.hand_to_server(address(1), &record);
        assert_eq!(world.heard(), [message], "{length}");
    }
    assert_eq!(
        world.say(address(1), &vec![0; MAX_DATAGRAM + 1]),
        Err(SendError::TooLong(MAX_DATAGRAM + 1))
    );
    let now = world.now;
    assert_eq!(
        world
            .server
            .send(now, address(1), &vec![0; MAX_DATAGRAM + 1]),
        Err(SendError::TooLong(MAX_DATAGRAM + 1))
    );
    assert!(world.is_connected(address(1)));
}

#[test]
fn what_is_for_nobody_is_dropped_and_counted() {
    let mut world = connected();
    let now = world.now;
    assert_eq!(
        world.server.send(now, address(9), b"?"),
        Err(SendError::NoAssociation(address(9)))
    );
    assert_eq!(world.server.stats().dropped_no_association, 1);
}
