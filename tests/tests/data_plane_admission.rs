//! Who may publish in the data plane: the binding of an alias to port and address, rates, shares.

use std::collections::BTreeSet;

use p4runtime::v1;
use system_tests::data_plane::{DataPlane, MAX_LENGTH, Offload, Outcome, Path, on_each_target};
use system_tests::frame::Datagram;
use system_tests::hosts::{ALICE, BOB, BROKER, Host, PUBLISHER};
use system_tests::messages::{PREDEFINED, Publish, QOS_MINUS_ONE, SHORT};

const TOPIC: u32 = 5;
const ALIAS: u16 = 7;

fn prepare(plane: &mut DataPlane) {
    plane.know(&BROKER);
    plane.serve(&BROKER, MAX_LENGTH);
    plane.subscriber(1, &BROKER, &ALICE);
    plane.subscriber(2, &BROKER, &BOB);
    plane.group(10, &[(ALICE.port, 1)]);
    plane.group(11, &[(BOB.port, 2)]);
    plane.lease();
}

fn to_alice() -> Offload {
    Offload {
        group_q0: 10,
        copy_topic_id: ALIAS,
        ..Offload::default()
    }
}

fn publish(flags: u8) -> Vec<u8> {
    Publish::new(flags, ALIAS, 0, *b"21.5").octets()
}

/// The port or ports that what `datagram` causes comes out of.
fn comes_out_of(plane: &mut DataPlane, port: u16, datagram: &Datagram) -> Vec<u16> {
    plane
        .exchange(port, &[datagram.frame()])
        .into_keys()
        .collect()
}

#[test]
fn only_the_client_that_registered_the_alias_publishes_under_it() {
    on_each_target(|plane| {
        prepare(plane);
        plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
        plane.offload(TOPIC, to_alice());
        let own = Datagram::between(&PUBLISHER, &BROKER, publish(0));
        assert_eq!(comes_out_of(plane, PUBLISHER.port, &own), [ALICE.port]);

        let spoofed_from_another_port = own.clone();
        assert_eq!(
            comes_out_of(plane, BOB.port, &spoofed_from_another_port),
            [BROKER.port]
        );
        let of_another_host = Datagram::between(&BOB, &BROKER, publish(0));
        assert_eq!(
            comes_out_of(plane, BOB.port, &of_another_host),
            [BROKER.port]
        );
        let from_another_socket = Datagram::between(
            &Host {
                udp: 1,
                ..PUBLISHER
            },
            &BROKER,
            publish(0),
        );
        assert_eq!(
            comes_out_of(plane, PUBLISHER.port, &from_another_socket),
            [BROKER.port]
        );
        for topic_id_type in [PREDEFINED, SHORT, 3] {
            let of_another_type = Datagram::between(&PUBLISHER, &BROKER, publish(topic_id_type));
            assert_eq!(
                comes_out_of(plane, PUBLISHER.port, &of_another_type),
                [BROKER.port]
            );
        }
        assert_eq!(plane.path_count(Path::UnknownPublication), 6);
    });
}

#[test]
fn a_publication_does_not_admit_qos_minus_one_and_an_open_one_admits_nothing_else() {
    on_each_target(|plane| {
        prepare(plane);
        plane.offload(TOPIC, to_alice());
        plane.admit(&PUBLISHER, PREDEFINED, ALIAS, TOPIC);
        let minus_one = publish(QOS_MINUS_ONE | PREDEFINED);
        let minus_one = Datagram::between(&PUBLISHER, &BROKER, minus_one);
        assert_eq!(
            comes_out_of(plane, PUBLISHER.port, &minus_one),
            [BROKER.port]
        );
        plane.admit_open(SHORT, ALIAS, TOPIC);
        let zero = Datagram::between(&PUBLISHER, &BROKER, publish(SHORT));
        assert_eq!(comes_out_of(plane, PUBLISHER.port, &zero), [BROKER.port]);
    });
}

#[test]
fn an_admitted_publish_to_a_topic_without_an_entry_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
        let datagram = Datagram::between(&PUBLISHER, &BROKER, publish(0));
        assert_eq!(
            comes_out_of(plane, PUBLISHER.port, &datagram),
            [BROKER.port]
        );
        assert_eq!(plane.path_count(Path::TopicInSoftware), 1);
        // Nor does the one before it offload it.
        plane.offload(TOPIC, to_alice());
        assert_eq!(comes_out_of(plane, PUBLISHER.port, &datagram), [ALICE.port]);
        let key = plane.key("topic", &[("topic_index", TOPIC.into())]);
        plane.write(vec![v1::Update::delete(key)]);
        assert_eq!(
            comes_out_of(plane, PUBLISHER.port, &datagram),
            [BROKER.port]
        );
    });
}

#[test]
fn a_withdrawn_publication_goes_to_the_broker_at_once() {
    on_each_target(|plane| {
        prepare(plane);
        plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
        plane.offload(TOPIC, to_alice());
        let datagram = Datagram::between(&PUBLISHER, &BROKER, publish(0));
        assert_eq!(comes_out_of(plane, PUBLISHER.port, &datagram), [ALICE.port]);
        let key = plane.key("publication", &DataPlane::publication(&PUBLISHER, 0, ALIAS));
        plane.write(vec![v1::Update::delete(key)]);
        assert_eq!(
            comes_out_of(plane, PUBLISHER.port, &datagram),
            [BROKER.port]
        );
    });
}

#[test]
fn a_publisher_above_its_rate_loses_what_is_above_it() {
    on_each_target(|plane| {
        prepare(plane);
        plane.offload(TOPIC, to_alice());
        let key = DataPlane::publication(&PUBLISHER, 0, ALIAS);
        let mut entry = plane.entry(
            "publication",
            &key,
            "admit",
            &[("topic_index", TOPIC.into())],
        );
        // One packet a second, and one in reserve.
        let config = v1::MeterConfig {
            cir: 1,
            cburst: 1,
            pir: 1,
            pburst: 1,
            ..Default::default()
        };
        entry.meter_config = Some(config);
        plane.write(vec![v1::Update::insert(entry)]);
        let frame = Datagram::between(&PUBLISHER, &BROKER, publish(0)).frame();
        let outcome = plane.exchange(PUBLISHER.port, &vec![frame; 20]);
        assert_eq!(
            outcome.keys().collect::<Vec<_>>(),
            [&ALICE.port],
            "red is dropped, not bridged"
        );
        let passed = i64::try_from(outcome[&ALICE.port].len()).expect("few");
        let dropped = plane.path_count(Path::Meter);
        assert!(dropped > 0, "20 at once are above one a second");
        assert_eq!(passed + dropped, 20);
    });
}

#[test]
fn a_meter_that_nobody_configured_drops_nothing() {
    on_each_target(|plane| {
        prepare(plane);
        plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
        plane.offload(TOPIC, to_alice());
        let frame = Datagram::between(&PUBLISHER, &BROKER, publish(0)).frame();
        let outcome = plane.exchange(PUBLISHER.port, &vec![frame; 20]);
        assert_eq!(outcome[&ALICE.port].len(), 20);
        assert_eq!(plane.path_count(Path::Meter), 0);
    });
}

#[test]
fn a_share_group_gives_each_publisher_one_member_and_keeps_it() {
    on_each_target(|plane| {
        prepare(plane);
        let to_bob = Offload {
            group_q0: 11,
            ..to_alice()
        };
        plane.share(TOPIC, &[to_alice(), to_bob]);
        let mut members = BTreeSet::new();
        for udp in 40_000..40_024 {
            let publisher = Host { udp, ..PUBLISHER };
            plane.admit(&publisher, 0, ALIAS, TOPIC);
            let frame = Datagram::between(&publisher, &BROKER, publish(0)).frame();
            let outcome: Outcome =
                plane.exchange(PUBLISHER.port, &[frame.clone(), frame.clone(), frame]);
            let chosen: Vec<(u16, usize)> = outcome
                .iter()
                .map(|(port, frames)| (*port, frames.len()))
                .collect();
            assert!(
                chosen == [(ALICE.port, 3)] || chosen == [(BOB.port, 3)],
                "{chosen:?}"
            );
            members.insert(chosen[0].0);
        }
        assert_eq!(members.len(), 2, "24 publishers use both members");
    });
}

#[test]
fn a_port_above_its_rate_of_qos_minus_one_loses_what_is_above_it_and_nothing_else() {
    on_each_target(|plane| {
        prepare(plane);
        plane.offload(TOPIC, to_alice());
        plane.admit_open(PREDEFINED, ALIAS, TOPIC);
        plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
        plane.limit("open_meter", PUBLISHER.port);
        let open = publish(QOS_MINUS_ONE | PREDEFINED);
        let frame = Datagram::between(&PUBLISHER, &BROKER, open.clone()).frame();
        let outcome = plane.exchange(PUBLISHER.port, &vec![frame; 20]);
        let passed = i64::try_from(outcome[&ALICE.port].len()).expect("few");
        let dropped = plane.path_count(Path::OpenMeter);
        assert!(dropped > 0, "20 at once are above one a second");
        assert_eq!(passed + dropped, 20);
        // Not the same port's sessions, and not another port.
        let frame = Datagram::between(&PUBLISHER, &BROKER, publish(0)).frame();
        let outcome = plane.exchange(PUBLISHER.port, &vec![frame; 20]);
        assert_eq!(outcome[&ALICE.port].len(), 20);
        let frame = Datagram::between(&BOB, &BROKER, open).frame();
        let outcome = plane.exchange(BOB.port, &vec![frame; 20]);
        assert_eq!(outcome[&ALICE.port].len(), 20);
    });
}

#[test]
fn a_port_that_floods_the_broker_loses_what_is_above_its_rate_but_is_offloaded() {
    on_each_target(|plane| {
        prepare(plane);
        plane.offload(TOPIC, to_alice());
        plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
        plane.limit("software_meter", PUBLISHER.port);
        let ping = Datagram::between(&PUBLISHER, &BROKER, [2, 0x16]).frame();
        let outcome = plane.exchange(PUBLISHER.port, &vec![ping; 20]);
        let passed = i64::try_from(outcome[&BROKER.port].len()).expect("few");
        let dropped = plane.path_count(Path::SoftwareMeter);
        assert!(dropped > 0, "20 at once are above one a second");
        assert_eq!(passed + dropped, 20);
        assert_eq!(plane.path_count(Path::NotPublish), passed);
        let frame = Datagram::between(&PUBLISHER, &BROKER, publish(0)).frame();
        let outcome = plane.exchange(PUBLISHER.port, &vec![frame; 20]);
        assert_eq!(outcome[&ALICE.port].len(), 20);
    });
}
