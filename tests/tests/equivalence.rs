//! The one law: with offload on, every client observes what the broker alone would have let it
//! observe.

use system_tests::system::Kind;
use system_tests::workload::{Workload, run};

const CLIENTS: u8 = 5;
const STEPS: usize = 120;

/// Runs one workload on the broker alone and on the whole system, and compares.
fn is_the_same(seed: u64, kind: Kind) {
    eprintln!("seed {seed}, {kind:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let workload = Workload::random(seed, CLIENTS, STEPS);
    let (alone, alone_load) = runtime.block_on(run(&workload, Kind::BrokerAlone));
    let (whole, whole_load) = runtime.block_on(run(&workload, kind));
    for (n, (alone, whole)) in alone.iter().zip(&whole).enumerate() {
        assert_eq!(
            alone, whole,
            "seed {seed}, {kind:?}, step {n} of {STEPS}: left is the broker alone"
        );
    }
    assert_eq!(alone.len(), whole.len());
    let deliveries: usize = alone.iter().map(|step| step.deliveries.len()).sum();
    assert!(deliveries > 20, "the workload does something");
    // Otherwise nothing was compared with anything.
    assert_eq!(alone_load.tagged, 0);
    let seen = whole_load.untagged + whole_load.tagged;
    assert!(
        seen < alone_load.untagged,
        "some never reached the broker: {whole_load:?} {alone_load:?}"
    );
    assert!(
        whole_load.tagged > 0,
        "some were served by the data plane and copied: {whole_load:?}"
    );
}

#[test]
fn clients_on_sockets_observe_what_the_broker_alone_lets_them_observe() {
    for seed in 1..=6 {
        is_the_same(seed, Kind::Loopback);
    }
}

#[test]
fn hosts_behind_ports_of_their_own_observe_what_the_broker_alone_lets_them_observe() {
    for seed in 101..=106 {
        is_the_same(seed, Kind::Memory);
    }
}

#[test]
fn a_seed_of_your_choice_observes_the_same() {
    let Ok(seed) = std::env::var("TOPICSWITCH_SEED") else {
        return;
    };
    let seed = seed.parse().expect("TOPICSWITCH_SEED is a number");
    is_the_same(seed, Kind::Loopback);
    is_the_same(seed, Kind::Memory);
}

#[test]
fn a_burst_under_an_alias_that_was_not_registered_keeps_its_order() {
    use mqttsn::types::Qos;
    use system_tests::topics::Topic;
    use system_tests::workload::Op;
    let topic = Topic::Short(*b"xy");
    let connect = |client| Op::Connect {
        client,
        clean_session: true,
        will: None,
    };
    let subscribe = Op::Subscribe {
        client: 0,
        filter: topic.clone(),
        qos: Qos::Zero,
    };
    let mut ops = vec![connect(0), subscribe];
    for client in 1..CLIENTS {
        ops.push(connect(client));
        let topic = topic.clone();
        ops.push(Op::Publish {
            client,
            topic,
            qos: Qos::Zero,
            retain: false,
            count: 200,
        });
    }
    let workload = Workload {
        clients: CLIENTS,
        ops,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (alone, _) = runtime.block_on(run(&workload, Kind::BrokerAlone));
    let (whole, _) = runtime.block_on(run(&workload, Kind::Loopback));
    assert_eq!(alone, whole, "left is the broker alone");
}
