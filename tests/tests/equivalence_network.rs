//! The one law over the kernel's sockets: broker, controller and switch are processes, every host has a
//! network namespace of its own, and the switch is sim or BMv2.

use system_tests::data_plane::Target;
use system_tests::network::{Network, targets};
use system_tests::system::Kind;
use system_tests::workload::{Workload, configuration, run, run_on};

const CLIENTS: u8 = 5;
/// Unless `TOPICSWITCH_STEPS` says how many.
const STEPS: usize = 60;

fn is_the_same(seed: u64, steps: usize, target: Target) {
    eprintln!("seed {seed}, {steps} steps, {target:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let workload = Workload::random(seed, CLIENTS, steps);
    let (alone, alone_load) = runtime.block_on(run(&workload, Kind::BrokerAlone));

    let config = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(config.path(), configuration()).expect("it is written");
    let mut network = Network::configured(target, Some(config.path()), "");
    let (whole, whole_load) = runtime.block_on(run_on(&workload, &mut network));

    for (n, (alone, whole)) in alone.iter().zip(&whole).enumerate() {
        assert_eq!(
            alone, whole,
            "seed {seed}, {target:?}, step {n} of {steps}: left is the broker alone"
        );
    }
    assert_eq!(alone.len(), whole.len());
    let seen = whole_load.untagged + whole_load.tagged;
    assert!(
        seen < alone_load.untagged,
        "some never reached the broker: {whole_load:?} {alone_load:?}"
    );
}

#[test]
fn clients_in_namespaces_observe_what_the_broker_alone_lets_them_observe() {
    let given = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(
            value
                .parse::<u64>()
                .unwrap_or_else(|_| panic!("{name}={value} is no number")),
        )
    };
    let seeds = given("TOPICSWITCH_SEED").map_or(vec![201, 202], |seed| vec![seed]);
    let steps = given("TOPICSWITCH_STEPS").map_or(STEPS, |steps| steps as usize);
    for target in targets() {
        for seed in &seeds {
            is_the_same(*seed, steps, target);
        }
    }
}
