//! The one law at the core's level: with an ideal data plane that obeys the intent, every client
//! observes what the broker alone would have let it observe.
//!
//! `Net` is a network in virtual time: clients, a switch that does exactly what the intent installed
//! in it says (under a lease, tagging copies), a controller that installs late, dies and comes back,
//! and the broker. A random history runs through it; then each observation is held against what
//! MQTT-SN promises. A message sent while a request that decides about it is not answered yet may be
//! delivered or not: that is all the freedom there is.

mod model;

use proptest::prelude::*;

use crate::world::cases;
use model::{Net, Op, Setup};

fn op() -> impl Strategy<Value = Op> {
    let client = 0..4_usize;
    let topic = 0..4_usize;
    let filter = 0..6_usize;
    prop_oneof![
        6 => (client.clone(), filter.clone(), 0..2_u8).prop_map(|(c, f, q)| Op::Subscribe(c, f, q)),
        2 => (client.clone(), filter).prop_map(|(c, f)| Op::Unsubscribe(c, f)),
        16 => (client.clone(), topic, 0..2_u8, prop::bool::weighted(0.1))
            .prop_map(|(c, t, q, r)| Op::Publish(c, t, q, r)),
        2 => any::<bool>().prop_map(Op::Open),
        3 => client.clone().prop_map(Op::Connect),
        1 => client.clone().prop_map(Op::Move),
        1 => client.clone().prop_map(Op::Disconnect),
        1 => client.clone().prop_map(Op::Sleep),
        2 => client.clone().prop_map(Op::Ping),
        2 => (client, prop::bool::weighted(0.7)).prop_map(|(c, r)| Op::Reach(c, r)),
        1 => Just(Op::KillController),
        2 => Just(Op::ReviveController),
        1 => any::<bool>().prop_map(Op::SlowController),
    ]
}

fn history() -> impl Strategy<Value = Vec<(u64, Op)>> {
    let gap = prop_oneof![3 => 1..10_u64, 2 => 10..200_u64, 1 => 200..1000_u64];
    prop::collection::vec((gap, op()), 1..120)
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_broker_alone_keeps_its_promises(seed: u64, history in history()) {
        Net::run(Setup { offload: false, transit: false, thinking: false, seed }, &history);
    }

    #[test]
    fn an_ideal_data_plane_changes_no_observation_nor_order(seed: u64, history in history()) {
        Net::run(Setup { offload: true, transit: false, thinking: false, seed }, &history);
    }

    #[test]
    fn nor_does_it_when_messages_queue_up_for_clients_that_think(
        seed: u64,
        history in history(),
    ) {
        Net::run(Setup { offload: true, transit: false, thinking: true, seed }, &history);
    }

    #[test]
    fn nor_does_it_when_every_packet_takes_its_time(seed: u64, history in history()) {
        Net::run(Setup { offload: true, transit: true, thinking: false, seed }, &history);
    }
}

#[test]
fn the_model_does_offload() {
    // Else the law above would hold for the wrong reason.
    let mut history = vec![(500, Op::Subscribe(0, 0, 0)), (500, Op::Subscribe(1, 1, 1))];
    for round in 0..40 {
        history.push((20, Op::Publish(2, 0, round % 2, false)));
        history.push((20, Op::Publish(3, 1, round % 2, round == 7)));
    }
    let setup = Setup {
        offload: true,
        transit: true,
        thinking: false,
        seed: 1,
    };
    let counts = Net::run(setup, &history);
    assert!(counts.copies > 50, "{counts:?}");
    assert!(counts.tagged > 15, "{counts:?}");
    assert!(counts.acknowledged > 10, "{counts:?}");
}
