//! Octets of anybody's choice.

use dtls::Limits;
use proptest::prelude::*;

use crate::world::{Ca, Flying, World, address, alice, keys, psk_only};

/// Something like a record: the header's fields are mostly sensible.
fn record() -> impl Strategy<Value = Vec<u8>> {
    (
        prop_oneof![20..=23u8, any::<u8>()],
        prop_oneof![Just(0u16), Just(1), any::<u16>()],
        0..20u64,
        prop::collection::vec(any::<u8>(), 0..80),
        prop_oneof![Just(0usize), 0..4usize],
        prop_oneof![Just(None), (0..25u8, 0..4u16).prop_map(Some)],
    )
        .prop_map(|(kind, epoch, number, mut body, lie, handshake)| {
            if let Some((kind, message_seq)) = handshake {
                let length = (body.len() as u32).to_be_bytes();
                let mut message = vec![kind, length[1], length[2], length[3]];
                message.extend_from_slice(&message_seq.to_be_bytes());
                message.extend_from_slice(&[0, 0, 0, length[1], length[2], length[3]]);
                message.extend_from_slice(&body);
                body = message;
            }
            let mut record = vec![kind, 0xFE, 0xFD];
            record.extend_from_slice(&epoch.to_be_bytes());
            record.extend_from_slice(&number.to_be_bytes()[2..]);
            record.extend_from_slice(&((body.len() + lie) as u16).to_be_bytes());
            record.extend_from_slice(&body);
            record
        })
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(record(), 1..4).prop_map(|records| records.concat()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_s_octets_panic_or_begin_anything(
        datagrams in prop::collection::vec((0..3u16, datagram()), 1..30)
    ) {
        let mut world = World::new(psk_only(), &Limits::default());
        for (n, datagram) in &datagrams {
            world.hand_to_server(address(*n), datagram);
        }
        prop_assert_eq!(world.server.stats().handshakes_begun, 0);
        prop_assert_eq!(world.server.stats().connections, 0);
    }

    #[test]
    fn octets_of_others_do_not_harm_an_association(
        datagrams in prop::collection::vec(datagram(), 1..30)
    ) {
        let mut world = World::new(psk_only(), &Limits::default());
        world.connect(address(1), alice());
        for datagram in &datagrams {
            world.hand_to_server(address(1), datagram);
            let now = world.now;
            let client = world.clients.get_mut(&address(1)).unwrap();
            prop_assert_eq!(client.handle_datagram(now, datagram), Ok(()));
        }
        prop_assert_eq!(world.heard(), Vec::<Vec<u8>>::new());
        world.say(address(1), b"unharmed").unwrap();
        world.settle();
        prop_assert_eq!(world.heard(), vec![b"unharmed".to_vec()]);
    }

    #[test]
    fn a_handshake_with_octets_thrown_in_never_panics(
        noise in prop::collection::vec((any::<bool>(), datagram()), 1..12),
        with_certificates: bool,
    ) {
        let ca = Ca::new();
        let mut credentials = ca.server(true);
        credentials.psk = Some(keys());
        let mut world = World::new(credentials, &Limits::default());
        let mut noise = noise.into_iter();
        world.network = Box::new(move |datagram| match noise.next() {
            Some((to_server, bytes)) => vec![
                Flying { client: datagram.client, to_server, bytes },
                datagram,
            ],
            None => vec![datagram],
        });
        let credentials = if with_certificates {
            ca.client(Some(ca.key_pair("sensor-7")))
        } else {
            alice()
        };
        world.begin(address(1), credentials);
        world.run_until(|world| world.is_connected(address(1)));
        prop_assert!(world.server.stats().handshakes <= 1);
    }

    #[test]
    fn a_handshake_changed_at_any_octet_never_panics(
        at in 0..8usize, offset: prop::sample::Index, bits in 1..=255u8, with_certificates: bool
    ) {
        let ca = Ca::new();
        let mut credentials = ca.server(true);
        credentials.psk = Some(keys());
        let mut world = World::new(credentials, &Limits::default());
        let mut n = 0;
        world.network = Box::new(move |mut datagram: Flying| {
            if n == at {
                let offset = offset.index(datagram.bytes.len());
                datagram.bytes[offset] ^= bits;
            }
            n += 1;
            vec![datagram]
        });
        let credentials = if with_certificates {
            ca.client(Some(ca.key_pair("sensor-7")))
        } else {
            alice()
        };
        world.begin(address(1), credentials);
        world.run_until(|world| world.is_connected(address(1)));
        // Whoever got in is who it says.
        if let Some(identity) = world.server.identity(address(1)) {
            prop_assert!(matches!(identity, Some("alice" | "sensor-7")));
        }
    }
}
