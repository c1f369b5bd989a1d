//! Without entries the switch is an Ethernet switch, and stays one for all that is not offloaded.

use system_tests::data_plane::{ANY_PORT, MAX_LENGTH, Outcome, Path, on_each_target};
use system_tests::frame::Datagram;
use system_tests::hosts::{ALICE, BOB, BROKER, PUBLISHER};
use system_tests::messages::{Publish, QOS_1, tagged};

/// The frame came out of each of these ports, and of no other.
fn out_of(ports: &[u16], frame: &[u8]) -> Outcome {
    ports
        .iter()
        .map(|port| (*port, vec![frame.to_vec()]))
        .collect()
}

fn number(message: &p4runtime::p4info::DigestMessage, member: &str) -> u64 {
    message
        .get(member)
        .expect("a member")
        .to_u64()
        .expect("64 bits")
}

#[test]
fn a_frame_to_an_unknown_address_goes_out_of_every_port_but_its_own() {
    on_each_target(|plane| {
        let frame = Datagram::between(&PUBLISHER, &ALICE, *b"who are you").frame();
        assert_eq!(
            plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame)),
            out_of(&[1, 3, 4], &frame)
        );
        let mut broadcast = frame.clone();
        broadcast[..6].fill(0xff);
        assert_eq!(
            plane.exchange(BOB.port, std::slice::from_ref(&broadcast)),
            out_of(&[1, 2, 3], &broadcast)
        );
    });
}

#[test]
fn a_frame_to_a_known_address_goes_out_of_its_port_alone() {
    on_each_target(|plane| {
        plane.know(&ALICE);
        let frame = Datagram::between(&PUBLISHER, &ALICE, *b"hello").frame();
        assert_eq!(
            plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame)),
            out_of(&[3], &frame)
        );
    });
}

#[test]
fn a_frame_to_an_address_behind_its_own_port_goes_nowhere() {
    on_each_target(|plane| {
        plane.know(&ALICE);
        let frame = Datagram::between(&PUBLISHER, &ALICE, *b"local").frame();
        assert_eq!(plane.exchange(ALICE.port, &[frame]), Outcome::new());
    });
}

#[test]
fn an_unknown_source_address_is_told_with_its_port_and_a_known_one_is_not() {
    on_each_target(|plane| {
        plane.enable_digest("mac_learned_t");
        plane.know(&ALICE);
        // The known one first: were it told, it would be told first.
        for host in [ALICE, PUBLISHER] {
            let frame = Datagram::between(&host, &BROKER, *b"hello").frame();
            plane.exchange(host.port, &[frame]);
        }
        let learned = plane.digest("mac_learned_t");
        assert_eq!(number(&learned[0], "mac"), 0x02_00_00_00_00_02);
        assert_eq!(number(&learned[0], "port"), u64::from(PUBLISHER.port));
    });
}

#[test]
fn a_known_address_that_moves_to_another_port_is_told_again() {
    on_each_target(|plane| {
        plane.enable_digest("mac_learned_t");
        plane.know(&ALICE);
        plane.exchange(
            BOB.port,
            &[Datagram::between(&ALICE, &BROKER, *b"moved").frame()],
        );
        let learned = plane.digest("mac_learned_t");
        assert_eq!(number(&learned[0], "mac"), 0x02_00_00_00_00_03);
        assert_eq!(number(&learned[0], "port"), u64::from(BOB.port));
    });
}

#[test]
fn where_a_client_lives_is_told_when_the_broker_speaks_to_it_and_not_once_that_is_known() {
    on_each_target(|plane| {
        plane.enable_digest("endpoint_learned_t");
        plane.serve(&BROKER, MAX_LENGTH);
        plane.answers(&BROKER, BROKER.port);
        plane.place(&BROKER, &ALICE);
        // The known one first: were it told, it would be told first.
        let known = Datagram::between(&BROKER, &ALICE, [2, 0x17]).frame();
        plane.exchange(BROKER.port, &[known]);
        // Behind a router: its MAC address, the client's IPv4 address.
        let mut datagram = Datagram::between(&BROKER, &PUBLISHER, [2, 0x17]);
        datagram.dst = "192.168.7.9:5000".parse().expect("an address");
        plane.exchange(BROKER.port, &[datagram.frame()]);
        let learned = plane.digest("endpoint_learned_t");
        assert_eq!(number(&learned[0], "port"), u64::from(BROKER.port));
        assert_eq!(number(&learned[0], "eth_src"), 0x02_00_00_00_00_01);
        assert_eq!(number(&learned[0], "eth_dst"), 0x02_00_00_00_00_02);
        assert_eq!(number(&learned[0], "ip_src"), 0x0a_00_00_01);
        assert_eq!(number(&learned[0], "ip_dst"), 0xc0_a8_07_09);
        assert_eq!(plane.path_count(Path::ForeignAnswer), 0);
    });
}

#[test]
fn neither_a_client_nor_who_claims_to_be_the_broker_elsewhere_says_where_clients_live() {
    on_each_target(|plane| {
        plane.enable_digest("endpoint_learned_t");
        plane.know(&ALICE);
        plane.know(&BROKER);
        plane.serve(&BROKER, MAX_LENGTH);
        plane.answers(&BROKER, BROKER.port);
        // Bob says that he has Alice's address, to the broker, and then in the broker's name.
        let mut forged = Datagram::between(&ALICE, &BROKER, [3, 0x7f, 0]);
        forged.eth_src = BOB.mac;
        plane.exchange(BOB.port, &[forged.frame()]);
        let mut forged = Datagram::between(&BROKER, &ALICE, [2, 0x17]);
        forged.eth_dst = BOB.mac;
        plane.exchange(BOB.port, &[forged.frame()]);
        // Nobody lives behind a group address, and another port of the broker's host is no service.
        let mut advertise = Datagram::between(&BROKER, &ALICE, [5, 0, 1, 0, 60]);
        advertise.eth_dst = [0xff; 6];
        plane.exchange(BROKER.port, &[advertise.frame()]);
        let mut other = Datagram::between(&BROKER, &BOB, [2, 0x17]);
        other.src.set_port(BROKER.udp + 1);
        plane.exchange(BROKER.port, &[other.frame()]);
        // What is told first is the broker's own word.
        let spoken = Datagram::between(&BROKER, &ALICE, [2, 0x17]).frame();
        plane.exchange(BROKER.port, &[spoken]);
        let learned = plane.digest("endpoint_learned_t");
        assert_eq!(number(&learned[0], "port"), u64::from(BROKER.port));
        assert_eq!(number(&learned[0], "eth_dst"), 0x02_00_00_00_00_03);
        assert_eq!(plane.path_count(Path::ForeignAnswer), 1);
    });
}

#[test]
fn the_broker_is_heard_from_any_port_while_nobody_knows_its_own() {
    on_each_target(|plane| {
        plane.enable_digest("endpoint_learned_t");
        plane.answers(&BROKER, ANY_PORT);
        let spoken = Datagram::between(&BROKER, &ALICE, [2, 0x17]).frame();
        plane.exchange(BOB.port, &[spoken]);
        let learned = plane.digest("endpoint_learned_t");
        assert_eq!(number(&learned[0], "port"), u64::from(BOB.port));
    });
}

#[test]
fn udp_to_no_service_leaves_octet_for_octet_as_it_came() {
    on_each_target(|plane| {
        plane.know(&ALICE);
        plane.lease();
        let payloads: Vec<Vec<u8>> = vec![
            vec![],
            vec![0],
            (0..=255).collect(),
            Publish::new(QOS_1, 7, 1, *b"looks like a PUBLISH").octets(),
            Publish {
                long: true,
                ..Publish::new(0, 7, 0, *b"long form")
            }
            .octets(),
            Publish::new(0, 7, 0, []).octets(),
            tagged(1, 2, &Publish::new(0, 7, 0, *b"looks like a tag").octets()),
            vec![0x01, 0x0c],
            vec![0x07, 0x0c, 0x00],
        ];
        for payload in payloads {
            let frame = Datagram::between(&PUBLISHER, &ALICE, payload).frame();
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            assert_eq!(outcome, out_of(&[3], &frame));
        }
    });
}

#[test]
fn what_is_not_ipv4_leaves_octet_for_octet_as_it_came() {
    on_each_target(|plane| {
        let publish = Datagram::between(&PUBLISHER, &BROKER, Publish::new(0, 7, 0, *b"x").octets());
        plane.serve(&BROKER, MAX_LENGTH);
        for ethertype in [0x0806_u16, 0x86dd, 0x8100, 0x88a8, 0x0805, 0x002a, 0xffff] {
            let mut frame = publish.frame();
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            assert_eq!(
                outcome,
                out_of(&[1, 3, 4], &frame),
                "ethertype {ethertype:#06x}"
            );
        }
        assert_eq!(plane.path_count(Path::NotPublish), 0);
    });
}

#[test]
fn the_controller_sends_a_frame_out_of_one_port() {
    on_each_target(|plane| {
        let frame = Datagram::between(&BROKER, &BOB, *b"from the controller").frame();
        plane.packet_out(1, BOB.port, 0, 0, &frame);
        assert_eq!(plane.recv(BOB.port), frame);
    });
}
