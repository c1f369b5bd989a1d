//! IPv6 beside IPv4, VLANs, limits, and topics with one subscriber: what becomes rows.

mod bench;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bench::{BROKER, BROKER_PORT, Bench, SERVICE_PORT, call, config, mac, normal, port, topic};
use controller::tables::digests::Learned;
use controller::tables::meters::Kind;
use controller::tables::topic::Action;
use controller::tables::{Key, Rate, Replica, Value, publication, service, subscriber, vlan};
use controller::{Config, Vlan};
use offload::{Change, Publication, PublicationKey, Refusal, RefusedItem, SessionId, TopicIndex};

const VID: u16 = 42;
/// A session over IPv6, of the client that is behind port 8.
const SIX: SessionId = SessionId(20);
const RATE: Rate = Rate {
    packets_per_s: 100,
    burst: 20,
};

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into()
}

/// The broker has an address of each family; clients 1 to 3 are known over IPv4, and one over IPv6
/// behind port 8, in a VLAN.
fn dual_stack(config: Config) -> Bench {
    let mut bench = Bench::new(config);
    bench.learn(3);
    let mut services = bench.intent.services.clone();
    services.insert(SocketAddr::new(v6(1), SERVICE_PORT));
    bench.change(vec![
        Change::Services(services),
        Change::Session(SIX, Some(SocketAddr::new(v6(8), 5000))),
    ]);
    bench.device.learned(call_over_ipv6(8));
    bench.settle();
    bench
}

fn call_over_ipv6(port: u16) -> [Learned; 2] {
    let station = Learned::Mac {
        mac: mac(8),
        vid: VID,
        port,
    };
    let answered = Learned::Endpoint {
        port: BROKER_PORT,
        vid: VID,
        eth_src: BROKER,
        eth_dst: mac(8),
        ip_src: v6(1),
        ip_dst: v6(8),
    };
    [station, answered]
}

fn rows<T>(bench: &Bench, of: impl Fn(&Key, &Value) -> Option<T>) -> Vec<T> {
    let rows = bench.state.rows.iter();
    rows.filter_map(|(key, value)| of(key, value)).collect()
}

#[test]
fn a_session_over_ipv6_is_delivered_to_from_the_brokers_ipv6_address_with_its_tag() {
    let mut bench = dual_stack(config());
    let mut shared = topic(1, &[1]);
    shared.served_q0.insert(SIX);
    shared.served_q1.insert(SIX);
    bench.set_topic(1, shared);
    bench.settle();
    let delivered = rows(&bench, |_, value| match value {
        Value::Subscriber(deliver) if deliver.ip_dst == v6(8) => Some(*deliver),
        _ => None,
    });
    let expected = subscriber::Action {
        eth_src: BROKER,
        eth_dst: mac(8),
        vid: VID,
        ip_src: v6(1),
        ip_dst: v6(8),
        udp_src: SERVICE_PORT,
        udp_dst: 5000,
    };
    assert_eq!(delivered, [expected]);
    let Some(Action::Offload(offload)) = bench.topic_row(1) else {
        panic!("{:?}", bench.topic_row(1));
    };
    assert!(offload.translated, "what comes over IPv4 must become IPv6");
    let services = rows(&bench, |key, _| match key {
        Key::Service(key) => Some(key.table()),
        _ => None,
    });
    assert_eq!(services, [service::NAME, service::NAME_V6]);
}

#[test]
fn a_publication_over_ipv6_is_bound_to_its_vlan_in_the_table_of_its_family() {
    let mut bench = dual_stack(Config {
        publication_rate: Some(RATE),
        ..config()
    });
    bench.set_topic(1, topic(1, &[1, 2]));
    let key = PublicationKey {
        address: SocketAddr::new(v6(8), 5000),
        alias: normal(7),
    };
    let publication = Publication {
        session: SIX,
        topic: TopicIndex(1),
    };
    bench.change(vec![Change::Publication(key, Some(publication))]);
    bench.settle();
    let found = rows(&bench, |key, value| match (key, value) {
        (Key::Publication(key), Value::Publication(admit)) => {
            Some((key.table(), key.ingress_port, key.vid, admit.rate))
        }
        _ => None,
    });
    assert_eq!(found, [(publication::NAME_V6, 8, VID, Some(RATE))]);
    // It moves to another port: so does its binding.
    bench.device.learned(call_over_ipv6(7));
    bench.settle();
    let ports = rows(&bench, |key, _| match key {
        Key::Publication(key) => Some(key.ingress_port),
        _ => None,
    });
    assert_eq!(ports, [7]);
}

#[test]
fn without_an_ipv6_address_of_the_broker_the_session_alone_is_refused() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.change(vec![Change::Session(
        SIX,
        Some(SocketAddr::new(v6(8), 5000)),
    )]);
    bench.device.learned(call_over_ipv6(8));
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.settle();
    let refused = bench.refused(RefusedItem::Session(SIX));
    assert!(matches!(refused, Some(Some(Refusal::Unsupported(_)))));
    assert!(bench.topic_row(1).is_some());
}

#[test]
fn one_subscriber_needs_no_group_and_two_have_one() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    bench.set_topic(1, topic(1, &[2]));
    bench.settle();
    let Some(Action::ToOne(to_one)) = bench.topic_row(1) else {
        panic!("{:?}", bench.topic_row(1));
    };
    assert_eq!(to_one.port, port(2));
    assert!(to_one.ack_q1 && !to_one.translated);
    assert_eq!(bench.count("multicast group"), 1, "the flood group");
    // It moves: the row follows.
    bench.device.learned(bench::call_from(2, 8));
    bench.settle();
    assert!(matches!(bench.topic_row(1), Some(Action::ToOne(one)) if one.port == 8));
    // Another joins, and leaves again.
    bench.set_topic(1, topic(2, &[2, 3]));
    bench.settle();
    assert!(matches!(bench.topic_row(1), Some(Action::Offload(_))));
    assert_eq!(bench.count("multicast group"), 2);
    bench.set_topic(1, topic(3, &[3]));
    bench.settle();
    assert!(matches!(bench.topic_row(1), Some(Action::ToOne(_))));
    assert_eq!(bench.count("multicast group"), 1);
    assert_eq!(bench.count(subscriber::NAME), 1);
}

#[test]
fn one_subscriber_has_its_own_alias_in_the_topics_row() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let mut aliased = topic(1, &[2]);
    aliased.aliases.insert(SessionId(2), normal(99));
    bench.set_topic(1, aliased);
    bench.settle();
    assert!(matches!(bench.topic_row(1), Some(Action::ToOne(one)) if one.copy_topic_id == 99));
    let aliases = rows(&bench, |key, _| {
        matches!(key, Key::SubscriberAlias(_)).then_some(())
    });
    assert!(aliases.is_empty());
}

#[test]
fn one_subscriber_beside_the_brokers_copy_has_a_group() {
    let mut bench = Bench::new(config());
    bench.learn(3);
    let mut copied = topic(1, &[2]);
    copied.copy_q0 = true;
    bench.set_topic(1, copied);
    // At QoS 1 the broker alone: that needs none.
    let mut split = topic(1, &[3]);
    split.served_q1.clear();
    (split.copy_q1, split.ack_q1) = (true, false);
    bench.set_topic(2, split);
    bench.settle();
    assert!(matches!(bench.topic_row(1), Some(Action::Offload(_))));
    assert!(matches!(bench.topic_row(2), Some(Action::ToOne(one)) if !one.ack_q1));
}

#[test]
fn a_named_vlan_has_a_group_of_its_ports_and_refuses_the_others() {
    let bench = Bench::new(Config {
        vlans: vec![Vlan {
            vid: VID,
            ports: vec![1, 2, 5],
        }],
        ..config()
    });
    let members = rows(&bench, |key, value| match (key, value) {
        (Key::Vlan(key), Value::Vlan(vlan::Action::Member { flood_group })) => {
            Some((key.ingress_port, *flood_group))
        }
        _ => None,
    });
    let group = members[0].1;
    assert_eq!(members, [1, 2, 5].map(|port| (port, group)));
    let Some(Value::Replicas(replicas)) = bench.state.rows.get(&Key::Group(group)) else {
        panic!("no group {group}");
    };
    let ports: Vec<u16> = replicas.iter().map(|Replica { port, .. }| *port).collect();
    assert_eq!(ports, [1, 2, 5]);
    let refused = rows(&bench, |_, value| {
        matches!(value, Value::Vlan(vlan::Action::Refuse)).then_some(())
    });
    assert_eq!(refused.len(), 8 - 3);
}

#[test]
fn a_station_is_known_in_each_vlan_by_itself() {
    let mut bench = Bench::new(config());
    let seen = |vid, port| Learned::Mac {
        mac: mac(1),
        vid,
        port,
    };
    bench.device.learned([seen(0, 1), seen(VID, 2)]);
    bench.settle();
    let places = rows(&bench, |key, value| match (key, value) {
        (Key::Dmac(key), Value::Dmac(forward)) if key.eth_dst == mac(1) => {
            Some((key.vid, forward.port))
        }
        _ => None,
    });
    assert_eq!(places, [(0, 1), (VID, 2)]);
}

#[test]
fn limits_are_set_at_every_port_and_taken_back_where_they_are_configured_no_more() {
    let limited = Config {
        open_rate: Some(RATE),
        software_rate: Some(RATE),
        ..config()
    };
    let bench = Bench::new(limited);
    let limits = |bench: &Bench, kind| {
        rows(bench, |key, value| match (key, value) {
            (Key::Meter(of, port), Value::Rate(RATE)) if *of == kind => Some(*port),
            _ => None,
        })
    };
    assert_eq!(limits(&bench, Kind::Open), (1..=8).collect::<Vec<_>>());
    assert_eq!(limits(&bench, Kind::Software), (1..=8).collect::<Vec<_>>());
    let mut bench = Bench::with(config(), bench.state);
    bench.device.learned(call(1));
    bench.settle();
    assert!(limits(&bench, Kind::Open).is_empty());
    assert!(limits(&bench, Kind::Software).is_empty());
}
