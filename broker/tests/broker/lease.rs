//! When the data plane may offload.

use mqttsn::{Packet, Qos, ReturnCode};
use offload::{FromBroker, FromController};

use crate::world::*;

#[test]
fn a_lease_needs_the_snapshot_installed() {
    let mut world = World::new(offloading());
    world.advance(ms(1000));
    world.greet();
    assert!(!world.grant(1));
    world.install();
    assert!(world.grant(2));
    world.said.clear();
    world.tell(FromController::RequestLease { request: 9 });
    let granted = FromBroker::Grant {
        request: 9,
        lease: ms(300),
    };
    assert_eq!(world.said.pop_front(), Some(granted));
}

#[test]
fn what_was_acknowledged_meanwhile_must_be_installed_first() {
    let mut world = World::new(offloading());
    world.advance(ms(1000));
    world.greet();
    world.install();
    // No lease is out, so this is acknowledged at once, installed or not.
    world.send(at(1), &connect("a"));
    world.send(at(1), &register("t/1", mqttsn::MsgId(1)));
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.take(at(1));
    assert!(!world.grant(1));
    world.install();
    assert!(world.grant(2));
}

#[test]
fn a_controller_that_lags_gets_the_lease_though_requests_never_pause() {
    let mut world = World::new(offloading());
    world.advance(ms(1000));
    world.greet();
    world.install();
    world.connect(at(1), "a");
    let mut granted = false;
    let mut lagging = world.broker.intent().revision;
    for round in 0..40 {
        let topic = format!("t/{round}");
        world.send(at(1), &register(&topic, mqttsn::MsgId(round)));
        granted |= world.grant(u64::from(round));
        // Installs are always one request behind.
        world.installed(lagging);
        lagging = world.broker.intent().revision;
        world.advance(ms(10));
    }
    assert!(granted);
}

#[test]
fn an_overdue_answer_ends_the_lease_and_the_answer_goes_out() {
    let mut world = World::offloading(offloading());
    world.reachable([1]);
    world.connect(at(1), "a");
    world.send(
        at(1),
        &subscribe(mqttsn::TopicRef::Name("t"), Qos::Zero, mqttsn::MsgId(1)),
    );
    let mut answered_after = 0;
    for round in 0..10 {
        let granted = world.grant(round);
        // The controller asks on and on, and installs nothing.
        assert_eq!(granted, round <= 3, "round {round}");
        world.advance(ms(100));
        if world
            .inboxes
            .get(&at(1))
            .is_some_and(|inbox| !inbox.is_empty())
        {
            answered_after = round;
            break;
        }
    }
    // Granted until 300 ms, so the lease runs out at 600 ms.
    assert_eq!(answered_after, 5);
    assert!(!world.grant(99));
    world.install();
    assert!(world.grant(100));
}

#[test]
fn a_revision_that_nobody_waits_for_ends_the_lease_too_when_it_is_overdue() {
    let mut world = World::offloading(offloading());
    world.connect(at(1), "a");
    world.send(
        at(1),
        &subscribe(mqttsn::TopicRef::Name("t"), Qos::Zero, mqttsn::MsgId(1)),
    );
    world.install();
    world.take(at(1));
    // The data plane is to serve the client from now on, which no answer tells it.
    world.tell(FromController::Reachable {
        address: at(1).ip(),
        reachable: true,
    });
    world.advance(ms(300));
    assert!(world.grant(1));
    world.advance(ms(1));
    // What the switch holds was superseded so long ago that its generation is soon forgotten.
    assert!(!world.grant(2));
    world.install();
    assert!(world.grant(3));
}

#[test]
fn a_controller_must_say_hello_first() {
    let mut world = World::new(offloading());
    world.broker.link_up(world.now);
    world.tell(FromController::RequestLease { request: 1 });
    world.tell(FromController::Installed {
        revision: offload::Revision(99),
    });
    assert!(world.said.is_empty());
}

#[test]
fn a_broker_without_offload_says_nothing() {
    let mut world = World::plain();
    world.broker.link_up(world.now);
    world.tell(FromController::Hello {
        controller: "test".into(),
        election_id: 1,
        reachable: Vec::new(),
    });
    world.tell(FromController::RequestLease { request: 1 });
    assert!(world.said.is_empty());
}
