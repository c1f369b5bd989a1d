//! Publications as a cache: rows go to who speaks, silent ones give way, and what a row knew of its
//! publisher is not forgotten with it.

mod bench;

use std::time::Duration;

use bench::{Bench, config, normal, predefined, publication, topic};
use controller::tables::{Key, Value, publication as table};
use controller::target::Hit;
use controller::target::fake::{Fault, State};
use controller::{CacheConfig, Config, HotConfig, Policy};
use offload::{Activity, FromController, PublicationKey, Refusal, RefusedItem, SessionId, UNASKED};
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);

fn cached(idle_s: u64) -> Config {
    Config {
        publications: CacheConfig {
            idle_s,
            swaps_per_s: 2,
            ..CacheConfig::default()
        },
        ..config()
    }
}

/// A topic that client 9 subscribes to and clients 1 to `publishers` publish to, each heard of one
/// second ago.
fn world(config: Config, rows: usize, publishers: u8) -> Bench {
    let state = State {
        room: [(table::NAME, rows)].into(),
        ..State::default()
    };
    let mut bench = Bench::with(config, state);
    bench.learn(9);
    bench.set_topic(1, topic(1, &[9]));
    for n in 1..=publishers {
        bench.set_publication(n, normal(7), 1);
        bench.run();
    }
    bench
}

fn key(n: u8) -> PublicationKey {
    publication(n, normal(7))
}

/// The row of client `n`, if it is on the switch.
fn row(bench: &Bench, n: u8) -> Option<Key> {
    let rows = bench.state.rows.keys().copied();
    rows.into_iter()
        .find(|row| matches!(row, Key::Publication(of) if of.ip_src == bench::ip(n)))
}

/// Whose rows serve.
fn serving(bench: &Bench) -> Vec<u8> {
    let serves = |n: &u8| {
        let value = row(bench, *n).and_then(|row| bench.state.rows.get(&row));
        matches!(value, Some(Value::Publication(action)) if !action.is_parked())
    };
    (1..=9).filter(serves).collect()
}

/// So many packets hit the row of client `n`, the last one `idle` ago.
fn hit(bench: &mut Bench, n: u8, packets: u64, idle: Duration) {
    let row = row(bench, n).expect("a row");
    bench.state.hits.insert(row, (packets, idle));
}

/// Lets time pass in which those speak, by the switch or by the broker.
fn pass(bench: &mut Bench, seconds: u64, speaking: &[u8]) {
    for _ in 0..seconds {
        bench.pass(SECOND);
        age(bench, SECOND);
        let serving = serving(bench);
        let (inside, outside): (Vec<u8>, Vec<u8>) =
            speaking.iter().partition(|n| serving.contains(n));
        for n in inside {
            let row = row(bench, n).expect("it serves");
            let hit = bench.state.hits.entry(row).or_default();
            *hit = (hit.0 + 1, Duration::ZERO);
        }
        let heard: Vec<_> = outside.into_iter().map(|n| (key(n), 1)).collect();
        bench.device.publishers(bench.now, &heard);
    }
    bench.run();
}

/// The switch's clock.
fn age(bench: &mut Bench, time: Duration) {
    for row in bench.state.rows.keys() {
        if matches!(row, Key::Publication(_)) {
            bench.state.hits.entry(*row).or_default().1 += time;
        }
    }
}

/// Lets time pass in which nobody speaks, until the row of client `n` is parked.
fn until_parked(bench: &mut Bench, n: u8) {
    for _ in 0..10_000 {
        let value = row(bench, n).and_then(|row| bench.state.rows.get(&row));
        if matches!(value, Some(Value::Publication(action)) if action.is_parked()) {
            return;
        }
        bench.pass(Duration::from_millis(10));
        age(bench, Duration::from_millis(10));
    }
    panic!("it is not parked");
}

fn told(bench: &Bench) -> Vec<Activity> {
    let messages = bench.messages.iter();
    let told = messages.filter_map(|message| match message {
        FromController::Activity { query, sessions } if *query == UNASKED => Some(sessions),
        _ => None,
    });
    told.flatten().copied().collect()
}

fn refused(bench: &Bench, n: u8) -> Option<Refusal> {
    bench.refused(RefusedItem::Publication(key(n))).flatten()
}

fn evictions(bench: &Bench) -> u64 {
    bench.device.cache().evicted
}

#[test]
fn a_silent_publication_gives_its_row_up_and_the_broker_learns_when_it_was_heard_last() {
    let mut bench = world(cached(60), 8, 2);
    hit(&mut bench, 1, 5, SECOND);
    pass(&mut bench, 40, &[2]);
    assert_eq!(serving(&bench), [1, 2], "not for so long");
    pass(&mut bench, 60, &[2]);
    assert_eq!(serving(&bench), [2]);
    assert_eq!(refused(&bench, 1), Some(Refusal::Idle));
    let told = told(&bench);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].session, SessionId(1));
    // Of a look that is at most a part of the idle time old.
    let idle = told[0].idle.expect("it was heard");
    assert!(idle >= 60 * SECOND && idle <= 80 * SECOND, "{idle:?}");
    // It is known once and for all: the row's own end is no sign of life.
    assert_eq!(
        bench.device.idle_since_withdrawn(bench.now, SessionId(1)),
        None
    );
    let status = bench.device.cache();
    assert_eq!((status.rows, status.silent, status.evicted), (1, 1, 1));
}

#[test]
fn it_comes_back_when_the_broker_hears_of_it() {
    let mut bench = world(cached(10), 8, 1);
    pass(&mut bench, 20, &[]);
    assert!(serving(&bench).is_empty());
    let asks = |message: &FromController| matches!(message, FromController::AskRates { .. });
    bench.take_messages();
    pass(&mut bench, 2, &[]);
    assert!(bench.messages.iter().any(asks), "{:?}", bench.messages);
    pass(&mut bench, 1, &[1]);
    assert_eq!(serving(&bench), [1]);
    assert_eq!(refused(&bench, 1), None);
    assert_eq!(bench.device.cache().returned, 1);
    // Nobody is without a row: nothing is asked.
    bench.take_messages();
    pass(&mut bench, 2, &[1]);
    assert!(!bench.messages.iter().any(asks));
}

#[test]
fn a_row_that_is_hit_while_it_is_parked_serves_again() {
    let mut bench = world(cached(10), 8, 1);
    hit(&mut bench, 1, 5, Duration::ZERO);
    until_parked(&mut bench, 1);
    hit(&mut bench, 1, 6, Duration::ZERO);
    bench.pass(SECOND);
    assert_eq!(serving(&bench), [1]);
    assert_eq!(told(&bench), []);
    assert_eq!(evictions(&bench), 0);
}

#[test]
fn more_publishers_than_rows_those_that_speak_have_them() {
    let mut bench = world(cached(0), 3, 6);
    assert_eq!(serving(&bench), [1, 2, 3]);
    for n in 4..=6 {
        assert!(matches!(refused(&bench, n), Some(Refusal::Capacity(_))));
    }
    pass(&mut bench, 20, &[2, 5, 6]);
    assert_eq!(serving(&bench), [2, 5, 6]);
    for n in [1, 3] {
        assert_eq!(refused(&bench, n), Some(Refusal::Idle));
    }
    // And back.
    pass(&mut bench, 20, &[1, 3, 4]);
    assert_eq!(serving(&bench), [1, 3, 4]);
}

#[test]
fn where_all_speak_nobody_gives_way() {
    let mut bench = world(cached(0), 3, 6);
    pass(&mut bench, 60, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(serving(&bench), [1, 2, 3]);
    assert_eq!(evictions(&bench), 0);
    assert_eq!(bench.device.cache().waiting, 3);
}

#[test]
fn no_more_rows_give_way_in_a_second_than_may() {
    let mut bench = world(cached(0), 4, 9);
    let mut before = 0;
    pass(&mut bench, 4, &[]);
    for _ in 0..6 {
        pass(&mut bench, 1, &[5, 6, 7, 8]);
        let after = evictions(&bench);
        assert!(after - before <= 3, "{before} {after}");
        before = after;
    }
    pass(&mut bench, 10, &[5, 6, 7, 8]);
    assert_eq!(serving(&bench), [5, 6, 7, 8]);
}

#[test]
fn a_row_that_becomes_free_goes_to_who_was_heard_last() {
    let mut bench = world(cached(0), 2, 5);
    pass(&mut bench, 3, &[1, 2, 4]);
    bench.change(vec![offload::Change::Publication(key(1), None)]);
    pass(&mut bench, 2, &[2, 4]);
    assert_eq!(serving(&bench), [2, 4]);
}

#[test]
fn a_full_table_costs_one_write_in_half_a_minute() {
    let mut bench = world(cached(0), 3, 6);
    pass(&mut bench, 2, &[1, 2, 3, 4, 5, 6]);
    let before = bench.state.batches.len();
    pass(&mut bench, 26, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.state.batches.len(), before);
    pass(&mut bench, 5, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.state.batches.len(), before + 1, "one is tried");
    // There is more room now.
    bench.state.room.insert(table::NAME, 5);
    pass(&mut bench, 100, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(serving(&bench).len(), 5);
}

#[test]
fn a_controller_that_starts_anew_leaves_the_rows_to_who_has_them() {
    let mut bench = world(cached(0), 3, 6);
    pass(&mut bench, 20, &[4, 5, 6]);
    assert_eq!(serving(&bench), [4, 5, 6]);
    let before = bench.state.rows.clone();
    bench.restart();
    bench.run();
    assert_eq!(bench.state.rows, before);
}

#[test]
fn the_rows_of_a_topic_that_leaves_the_switch_tell_what_they_know_and_go() {
    let config = Config {
        policy: Policy::Hot,
        hot: HotConfig::default(),
        ..cached(0)
    };
    let mut bench = world(config, 8, 2);
    hit(&mut bench, 1, 3, 7 * SECOND);
    // It cannot be reached any more.
    bench.set_topic(1, topic(2, &[9, 10]));
    bench.run();
    assert_eq!(bench.topic_row(1), None);
    bench.pass(SECOND);
    assert_eq!(row(&bench, 1), None);
    let told = told(&bench);
    let of_1 = told.iter().find(|told| told.session == SessionId(1));
    let idle = of_1.and_then(|told| told.idle).expect("it was heard");
    assert_eq!(idle, 7 * SECOND);
    assert_eq!(refused(&bench, 1), None, "it is the topic that is refused");
}

#[test]
fn a_row_that_cannot_be_parked_is_tried_again() {
    let mut bench = world(cached(10), 8, 1);
    bench.state.faults.push(Fault {
        table: table::NAME,
        op: Some(controller::apply::Op::Modify),
        code: Code::Internal,
        times: 2,
    });
    pass(&mut bench, 30, &[]);
    assert!(serving(&bench).is_empty());
    assert_eq!(bench.count(table::NAME), 0);
}

#[test]
fn what_the_broker_asks_while_a_row_is_parked_is_answered_by_what_was_known_before() {
    let mut bench = world(cached(10), 8, 1);
    hit(&mut bench, 1, 5, 20 * SECOND);
    let own = row(&bench, 1).expect("its row");
    let asked = [(SessionId(1), vec![own])];
    let idle = |bench: &Bench, packets, idle| {
        let hits = [Some(Hit { packets, idle })];
        let answer = bench.device.activity(bench.now, 5, &asked, &hits);
        let FromController::Activity { query: 5, sessions } = answer else {
            panic!("{answer:?}");
        };
        sessions[0].idle
    };
    assert_eq!(idle(&bench, 5, 9 * SECOND), Some(9 * SECOND));
    until_parked(&mut bench, 1);
    // Written and not yet read again: the switch counts from the write.
    let known = idle(&bench, 5, Duration::ZERO).expect("known");
    assert!(known >= 20 * SECOND, "{known:?}");
    assert_eq!(idle(&bench, 6, Duration::ZERO), Some(Duration::ZERO));
    bench.pass(SECOND);
    assert_eq!(idle(&bench, 5, Duration::ZERO), None, "the broker was told");
}

/// A world in which a controller was killed 20 s ago, when it had parked the row of client 1 and not yet
/// read it again; another has just started.
fn found_parked() -> Bench {
    let mut bench = world(cached(10), 8, 2);
    hit(&mut bench, 1, 5, SECOND);
    until_parked(&mut bench, 1);
    // Written: the switch counts from then on.
    hit(&mut bench, 1, 5, Duration::ZERO);
    bench.now += 20 * SECOND;
    age(&mut bench, 20 * SECOND);
    bench.take_messages();
    bench.restart();
    bench.run();
    bench
}

#[test]
fn a_row_that_is_found_parked_starts_no_clock_anew_and_tells_since_when_it_was_parked() {
    let mut bench = found_parked();
    let own = row(&bench, 1).expect("it is read first");
    let asked = [(SessionId(1), vec![own])];
    let hits = [bench.state.hit(&own)];
    let FromController::Activity { sessions, .. } =
        bench.device.activity(bench.now, 5, &asked, &hits)
    else {
        panic!("no answer");
    };
    assert_eq!(sessions[0].idle, Some(20 * SECOND));
    let batches = bench.pass(SECOND);
    let updates: Vec<_> = batches.into_iter().flatten().collect();
    assert_eq!(updates.len(), 1, "it is deleted and no more: {updates:?}");
    assert_eq!(row(&bench, 1), None);
    assert_eq!(serving(&bench), [2]);
    // The clients may have been heard until it was parked, and not later unless by the broker.
    let idle = Some(20 * SECOND);
    let session = SessionId(1);
    assert_eq!(told(&bench), [Activity { session, idle }]);
    let withdrawn = bench.device.idle_since_withdrawn(bench.now, session);
    assert_eq!(withdrawn, None, "its end is no sign of life");
    assert_eq!(refused(&bench, 1), Some(Refusal::Idle));
}

#[test]
fn who_speaks_while_its_row_is_found_parked_has_one_again() {
    let mut bench = found_parked();
    bench.pass(SECOND);
    bench.device.publishers(bench.now, &[(key(1), 1)]);
    bench.pass(SECOND);
    assert_eq!(serving(&bench), [1, 2]);
    assert_eq!(refused(&bench, 1), None);
}

#[test]
fn a_row_found_parked_that_goes_by_itself_counts_as_a_sign_of_life_then() {
    let mut bench = found_parked();
    let own = row(&bench, 1).expect("its row");
    bench.state.rows.remove(&own);
    bench.pass(SECOND);
    assert_eq!(told(&bench), []);
    let withdrawn = bench.device.idle_since_withdrawn(bench.now, SessionId(1));
    assert!(
        withdrawn.is_some_and(|idle| idle <= SECOND),
        "{withdrawn:?}"
    );
}

#[test]
fn an_alias_is_a_publication_of_its_own() {
    let mut bench = world(cached(10), 8, 1);
    bench.set_publication(1, predefined(3), 1);
    bench.run();
    assert_eq!(bench.count(table::NAME), 2);
    let rows = bench.state.rows.keys().copied();
    let predefined = rows
        .into_iter()
        .find(|row| matches!(row, Key::Publication(of) if of.topic_id == 3));
    for _ in 0..30 {
        bench.pass(SECOND);
        age(&mut bench, SECOND);
        let row = predefined.expect("a row");
        let packets = bench.state.hits.get(&row).map_or(0, |hit| hit.0);
        bench.state.hits.insert(row, (packets + 1, Duration::ZERO));
    }
    assert_eq!(bench.count(table::NAME), 1);
    assert!(predefined.is_some_and(|row| bench.state.rows.contains_key(&row)));
}
