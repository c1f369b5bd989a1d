//! Stations and clients: learned, moved, forgotten.

mod bench;

use bench::{Bench, call_from, config, ip, mac, normal, port, topic};
use controller::tables::digests::Learned;
use controller::tables::{Key, Value, dmac, endpoint, publication, smac};
use offload::{Change, FromController, SessionId};

#[test]
fn a_client_that_calls_gets_rows_for_its_station_and_its_place() {
    let mut bench = Bench::new(config());
    bench.learn(1);
    let dmac = Key::Dmac(dmac::Key {
        eth_dst: mac(1),
        vid: 0,
    });
    let forward = Value::Dmac(dmac::Action { port: port(1) });
    assert_eq!(bench.state.rows.get(&dmac), Some(&forward));
    assert_eq!(bench.count(smac::NAME), 2, "and the broker");
    assert_eq!(bench.count(endpoint::NAME), 1);
    let reachable = FromController::Reachable {
        address: ip(1),
        reachable: true,
    };
    assert!(bench.messages.contains(&reachable));
}

#[test]
fn a_client_that_moved_is_served_and_may_publish_at_its_new_port_only() {
    let mut bench = Bench::new(config());
    bench.learn(2);
    bench.set_topic(1, topic(1, &[1, 2]));
    bench.set_publication(1, normal(7), 1);
    bench.settle();
    bench.device.learned(call_from(1, 8));
    bench.settle();
    let at: Vec<u16> = bench
        .state
        .rows
        .keys()
        .filter_map(|key| match key {
            Key::Publication(key) => Some(key.ingress_port),
            _ => None,
        })
        .collect();
    assert_eq!(at, [8]);
    let group = bench.topic_row(1).unwrap().groups()[0].unwrap();
    let Some(Value::Replicas(replicas)) = bench.state.rows.get(&Key::Group(group)) else {
        panic!("no group");
    };
    let ports: Vec<u16> = replicas.iter().map(|replica| replica.port).collect();
    assert_eq!(ports, [port(2), 8]);
    assert_eq!(bench.count(endpoint::NAME), 2);
    assert_eq!(bench.count(smac::NAME), 3);
}

#[test]
fn a_silent_station_is_forgotten_but_a_client_in_use_is_not() {
    let mut bench = Bench::new(config());
    bench.learn(1);
    bench.set_topic(1, topic(1, &[1]));
    bench.settle();
    bench.device.station_idle(smac::Key {
        vid: 0,
        eth_src: mac(1),
        ingress_port: port(1),
    });
    bench.settle();
    assert!(!bench.state.rows.contains_key(&Key::Dmac(dmac::Key {
        eth_dst: mac(1),
        vid: 0
    })));
    assert!(bench.topic_row(1).is_some());
    assert_eq!(bench.count(endpoint::NAME), 1);
}

#[test]
fn a_silent_client_that_nobody_needs_is_forgotten_and_the_broker_told() {
    let mut bench = Bench::new(config());
    bench.learn(1);
    bench.change(vec![Change::Session(SessionId(1), None)]);
    bench.settle();
    bench.device.station_idle(smac::Key {
        vid: 0,
        eth_src: mac(1),
        ingress_port: port(1),
    });
    bench.settle();
    assert_eq!(bench.count(endpoint::NAME), 0);
    let gone = FromController::Reachable {
        address: ip(1),
        reachable: false,
    };
    assert_eq!(bench.messages.last(), Some(&gone));
}

#[test]
fn an_old_notification_about_a_station_that_moved_is_not_heeded() {
    let mut bench = Bench::new(config());
    bench.learn(1);
    bench.device.learned(call_from(1, 8));
    bench.device.station_idle(smac::Key {
        vid: 0,
        eth_src: mac(1),
        ingress_port: port(1),
    });
    bench.settle();
    assert!(bench.state.rows.contains_key(&Key::Dmac(dmac::Key {
        eth_dst: mac(1),
        vid: 0
    })));
}

#[test]
fn copies_are_addressed_as_the_broker_would_address_them() {
    let mut bench = Bench::new(config());
    bench.learn(1);
    bench.set_topic(1, topic(1, &[1]));
    bench.settle();
    let rows = bench.state.rows.values();
    let deliver = rows.into_iter().find_map(|value| match value {
        Value::Subscriber(action) => Some(*action),
        _ => None,
    });
    let deliver = deliver.unwrap();
    assert_eq!((deliver.eth_src, deliver.eth_dst), (bench::BROKER, mac(1)));
    assert_eq!((deliver.ip_src, deliver.ip_dst), (bench::SERVICE, ip(1)));
    assert_eq!(
        (deliver.udp_src, deliver.udp_dst),
        (bench::SERVICE_PORT, 5000)
    );
}

#[test]
fn when_the_broker_moves_its_copies_follow() {
    let mut bench = Bench::new(config());
    bench.learn(1);
    let mut copied = topic(1, &[1]);
    copied.copy_q0 = true;
    bench.set_topic(1, copied);
    bench.settle();
    let moved = Learned::Mac {
        vid: 0,
        mac: bench::BROKER,
        port: 7,
    };
    bench.device.learned([moved]);
    bench.settle();
    let group = bench.topic_row(1).unwrap().groups()[0].unwrap();
    let Some(Value::Replicas(replicas)) = bench.state.rows.get(&Key::Group(group)) else {
        panic!("no group");
    };
    assert!(replicas.iter().any(|replica| replica.port == 7));
}

#[test]
fn full_tables_for_stations_and_places_stop_nothing_else() {
    let mut bench = Bench::new(config());
    bench.state.room.insert(smac::NAME, 0);
    bench.state.room.insert(dmac::NAME, 0);
    bench.state.room.insert(endpoint::NAME, 0);
    bench.learn(2);
    bench.set_topic(1, topic(1, &[1, 2]));
    let revision = bench.set_publication(1, normal(7), 1);
    bench.settle();
    assert!(bench.topic_row(1).is_some());
    assert_eq!(bench.count(publication::NAME), 1);
    assert_eq!(bench.installed(), Some(revision));
}
