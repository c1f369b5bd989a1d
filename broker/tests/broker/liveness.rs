//! Publishers that the broker does not hear because the data plane does.

use mqttsn::{Packet, ReturnCode};
use offload::{Activity, FromBroker, FromController, SessionId, UNASKED};

use crate::world::*;

/// A publisher at 1 with a keep-alive of 10 s, and a controller that keeps its lease.
fn publisher() -> World {
    let mut world = World::offloading(offloading());
    world.send(at(1), &connect_with("p", true, false, 10));
    world.install();
    world.expect(at(1), &Packet::Connack(ReturnCode::Accepted));
    world.register(at(1), "t/1");
    world.said.clear();
    world
}

fn question(world: &mut World) -> u64 {
    match world.said.pop_front() {
        Some(FromBroker::AskActivity { query, sessions }) => {
            assert_eq!(sessions, [SessionId(1)]);
            query
        }
        other => panic!("a question, not {other:?}"),
    }
}

fn answer(world: &mut World, query: u64, idle: Option<u64>) {
    let idle = idle.map(ms);
    let session = SessionId(1);
    world.tell(FromController::Activity {
        query,
        sessions: vec![Activity { session, idle }],
    });
}

#[test]
fn a_publisher_that_the_data_plane_hears_lives() {
    let mut world = publisher();
    world.advance(ms(15_000));
    let query = question(&mut world);
    world.expect_nothing(at(1));
    answer(&mut world, query, Some(5_000));
    // Heard 5 s ago: 10 s remain.
    world.advance(ms(9_999));
    assert!(world.said.is_empty());
    world.advance(ms(1));
    let query = question(&mut world);
    answer(&mut world, query, Some(15_000));
    world.expect(at(1), &disconnect(None));
    assert_eq!(world.broker.stats().sessions_lost, 1);
}

#[test]
fn what_the_controller_tells_unasked_counts_though_it_knows_nothing_when_it_is_asked() {
    let mut world = publisher();
    world.advance(ms(9_000));
    // Its row goes.
    answer(&mut world, UNASKED, Some(2_000));
    world.advance(ms(12_999));
    assert!(world.said.is_empty());
    world.advance(ms(1));
    let query = question(&mut world);
    // Older news change nothing.
    answer(&mut world, UNASKED, Some(20_000));
    answer(&mut world, query, None);
    world.expect(at(1), &disconnect(None));
}

#[test]
fn a_publisher_of_whom_no_packet_was_seen_is_lost() {
    let mut world = publisher();
    world.advance(ms(15_000));
    let query = question(&mut world);
    answer(&mut world, query, None);
    world.expect(at(1), &disconnect(None));
}

#[test]
fn a_session_that_does_not_publish_is_not_asked_about() {
    let mut world = publisher();
    world.send(at(2), &connect_with("s", true, false, 10));
    world.expect(at(2), &Packet::Connack(ReturnCode::Accepted));
    world.advance(ms(15_000));
    world.expect(at(2), &disconnect(None));
    question(&mut world);
}

#[test]
fn while_an_answer_is_overdue_no_lease_is_granted_and_the_publisher_gets_its_time_after_it() {
    let mut world = publisher();
    world.advance(ms(14_900));
    assert!(world.grant(2));
    world.advance(ms(100));
    question(&mut world);
    world.advance(ms(999));
    assert!(world.grant(3));
    let until = world.now + ms(300);
    world.advance(ms(1));
    assert!(!world.grant(4));
    world.expect_nothing(at(1));
    // It may have been heard until the lease ran out.
    let left = until + ms(15_000) - world.now;
    world.advance(left - ms(1));
    world.expect_nothing(at(1));
    world.advance(ms(1));
    world.expect(at(1), &disconnect(None));
}

#[test]
fn a_late_answer_still_counts() {
    let mut world = publisher();
    world.advance(ms(14_900));
    assert!(world.grant(2));
    world.advance(ms(100));
    let query = question(&mut world);
    world.advance(ms(1_500));
    assert!(!world.grant(2));
    answer(&mut world, query, Some(1_000));
    assert!(world.grant(3));
    world.advance(ms(13_999));
    assert_eq!(world.broker.stats().sessions_lost, 0);
    world.advance(ms(1));
    question(&mut world);
}

#[test]
fn without_a_controller_silence_counts_from_the_end_of_the_lease() {
    let mut world = publisher();
    world.advance(ms(10_000));
    assert!(world.grant(2));
    world.broker.link_down(world.now);
    world.advance(ms(15_299));
    world.expect_nothing(at(1));
    world.advance(ms(1));
    world.expect(at(1), &disconnect(None));
}
