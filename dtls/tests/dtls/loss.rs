//! RFC 6347 §4.2.4: handshakes over a network that loses, repeats and reorders.

use dtls::Limits;
use proptest::prelude::*;

use crate::world::{Ca, Flying, World, address, alice, psk_only};

/// Loses the datagrams with these numbers.
fn losing(numbers: Vec<usize>) -> crate::world::Network {
    let mut n = 0;
    Box::new(move |datagram| {
        n += 1;
        if numbers.contains(&(n - 1)) {
            Vec::new()
        } else {
            vec![datagram]
        }
    })
}

#[test]
fn a_psk_handshake_recovers_from_the_loss_of_any_datagram() {
    for lost in 0..6 {
        let mut world = World::new(psk_only(), &Limits::default());
        world.network = losing(vec![lost]);
        world.begin(address(1), alice());
        assert!(
            world.run_until(|world| world.is_connected(address(1))),
            "datagram {lost} was lost: {:?}",
            world.ended
        );
        assert_eq!(world.server.stats().handshakes_begun, 1, "datagram {lost}");
    }
}

#[test]
fn a_certificate_handshake_recovers_from_the_loss_of_any_datagram() {
    let ca = Ca::new();
    for lost in 0..8 {
        let mut world = World::new(ca.server(true), &Limits::default());
        world.network = losing(vec![lost]);
        world.begin(address(1), ca.client(Some(ca.key_pair("sensor-7"))));
        assert!(
            world.run_until(|world| world.is_connected(address(1))),
            "datagram {lost} was lost: {:?}",
            world.ended
        );
    }
}

#[test]
fn a_handshake_whose_datagrams_all_come_twice_is_done_once() {
    let ca = Ca::new();
    let mut world = World::new(ca.server(true), &Limits::default());
    world.network = Box::new(|datagram| vec![datagram.clone(), datagram]);
    world.begin(address(1), ca.client(Some(ca.key_pair("sensor-7"))));
    assert!(world.run_until(|world| world.is_connected(address(1))));
    assert_eq!(world.server.stats().handshakes_done, 1);
}

#[test]
fn a_handshake_without_answers_is_given_up() {
    let mut world = World::new(psk_only(), &Limits::default());
    // Nothing of the client arrives any more after its cookie.
    let mut hellos = 0;
    world.network = Box::new(move |datagram: Flying| {
        hellos += usize::from(datagram.to_server);
        if datagram.to_server && hellos > 2 {
            Vec::new()
        } else {
            vec![datagram]
        }
    });
    world.begin(address(1), alice());
    world.settle();
    assert_eq!(world.server.stats().handshakes, 1);
    world.run_until(|world| world.server.stats().handshakes == 0);
    let stats = world.server.stats();
    assert_eq!((stats.handshakes, stats.handshakes_failed), (0, 1));
    assert_eq!(world.server.next_deadline(), None);
}

/// What happens to one datagram.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    Overtaken,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Overtaken),
    ]
}

/// Fates of which at most four keep a datagram back: a flight is sent five times, and whoever
/// loses all five has lost the handshake (RFC 6347 §4.2.4.1 leaves the number open).
fn bearable_fates() -> impl Strategy<Value = Vec<Fate>> {
    prop::collection::vec(fate(), 0..12).prop_map(|mut fates| {
        let mut kept_back = 0;
        for fate in &mut fates {
            if matches!(fate, Fate::Lost | Fate::Overtaken) {
                kept_back += 1;
                if kept_back > 4 {
                    *fate = Fate::Arrives;
                }
            }
        }
        fates
    })
}

fn suffering(fates: Vec<Fate>) -> crate::world::Network {
    let mut fates = fates.into_iter();
    let mut held: Option<Flying> = None;
    Box::new(move |datagram| {
        let mut arriving = match fates.next().unwrap_or(Fate::Arrives) {
            Fate::Arrives => vec![datagram],
            Fate::Lost => vec![],
            Fate::Twice => vec![datagram.clone(), datagram],
            Fate::Overtaken => {
                let before = held.replace(datagram);
                return before.into_iter().collect();
            }
        };
        arriving.extend(held.take());
        arriving
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_handshake_gets_through_whatever_happens_to_its_first_datagrams(
        fates in bearable_fates()
    ) {
        let limits = Limits { handshake_timeout: std::time::Duration::from_secs(60), ..Limits::default() };
        let mut world = World::new(psk_only(), &limits);
        world.network = suffering(fates);
        world.begin(address(1), alice());
        prop_assert!(world.run_until(|world| world.is_connected(address(1))), "{:?}", world.ended);
        world.say(address(1), b"through").unwrap();
        world.settle();
        // What is left of the fates may well have befallen "through", which nobody repeats.
        world.network = Box::new(|datagram| vec![datagram]);
        world.say(address(1), b"again").unwrap();
        world.settle();
        prop_assert!(world.heard().contains(&b"again".to_vec()));
    }
}
