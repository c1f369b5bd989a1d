//! A topic that moves from group to group while messages flow: who loses, who gets twice, and how
//! long a hand-over from software lasts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use topicswitch::load::{self, Pace, Settings};

use crate::Plan;
use crate::figures::{Times, say_counted};
use crate::lab::Lab;
use crate::speaker::{Heard, Speaker};

const RATE: f64 = 50_000.0;
/// Two that stay: what they get must be exact.
const STAYING: usize = 2;
/// How long the one that comes and goes stays, and stays away.
const STAY: Duration = Duration::from_millis(20);
/// The load's topic, whatever its run is called.
const FILTER: &str = "bench/+/0";

const MOVER: &str = "moves-mover";

/// What the one that comes and goes saw.
#[derive(Default)]
struct Seen {
    stays: usize,
    delivered: u64,
    lost: u64,
    doubled: u64,
    overtaken: u64,
    most_overtaken: u64,
    windows: Times,
}

impl Seen {
    /// One stay: the numbers of its messages in the order of their arrival.
    fn take(&mut self, arrived: &[(u64, Instant)]) {
        self.stays += 1;
        self.delivered += arrived.len() as u64;
        let mut times: HashMap<u64, u64> = HashMap::new();
        let (mut least, mut most) = (u64::MAX, 0);
        // From the message that overtook others to the last that was overtaken.
        let mut overtaking: Option<Instant> = None;
        let mut last_late: Option<Instant> = None;
        let mut late = 0;
        for &(number, at) in arrived {
            let count = times.entry(number).or_default();
            *count += 1;
            self.doubled += u64::from(*count > 1);
            if *count == 1 && number < most {
                late += 1;
                last_late = Some(at);
            } else if most > 0 && number > most + 1 {
                overtaking.get_or_insert(at);
            }
            least = least.min(number);
            most = most.max(number);
        }
        if !arrived.is_empty() {
            self.lost += most - least + 1 - times.len() as u64;
        }
        self.overtaken += late;
        self.most_overtaken = self.most_overtaken.max(late);
        if let (Some(from), Some(to)) = (overtaking, last_late) {
            self.windows.add(to.saturating_duration_since(from));
        }
    }
}

/// Comes and goes until it is told to stop.
fn come_and_go(mover: &mut Speaker, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        // A new session knows no topic id: what is published before it does comes through the broker.
        mover.connect(MOVER);
        let mut arrived: Vec<(u64, Instant)> = Vec::new();
        let mut note = |heard: Heard| {
            if let Heard::Message(stamp) = heard {
                let mut number = [0; 8];
                number.copy_from_slice(&stamp[8..16]);
                arrived.push((u64::from_be_bytes(number), Instant::now()));
            }
        };
        mover.subscribe(FILTER, &mut note);
        let until = Instant::now() + STAY;
        while Instant::now() < until {
            if let Some(heard) = mover.hear(Some(STAY)) {
                note(heard);
            }
        }
        mover.unsubscribe(FILTER, &mut note);
        seen.take(&arrived);
        std::thread::park_timeout(STAY);
    }
    seen
}

pub(crate) fn measure(lab: &Lab, plan: &Plan) {
    let rate = plan.rate.unwrap_or(RATE);
    let settings = Settings {
        subscribers: STAYING,
        pace: Pace::Rate(rate),
        duration: plan.time,
        burst: 1,
        sleep: true,
        ..Settings::new(lab.broker)
    };
    let mut mover = lab.subscriber(MOVER);
    let stop = AtomicBool::new(false);
    let (paths_before, counted_before) = (lab.paths(), lab.counters());
    let broker_before = lab.seen_by_broker();
    let (outcome, mut seen) = std::thread::scope(|scope| {
        let moving = scope.spawn(|| come_and_go(&mut mover, &stop));
        let outcome = lab.on_publisher(|| load::run(&settings));
        stop.store(true, Ordering::Relaxed);
        (
            outcome.expect("the load"),
            moving.join().expect("the mover"),
        )
    });
    println!("{STAYING} subscribers that stay:\n{outcome}");
    let exact = if outcome.is_exact() {
        "exact"
    } else {
        "NOT EXACT"
    };
    println!("what they got is {exact}");
    if outcome.behind > 0 {
        // While its publication was installed, its publisher's first came through the broker.
        println!(
            "overtaken, or twice: none after each publisher's first {}",
            outcome.last_behind + 1
        );
    }
    say_counted("switch", &paths_before, &lab.paths());
    say_counted("broker", &counted_before, &lab.counters());
    for (what, count) in lab.dropped() {
        println!("dropped on the way: {what}: {count}");
    }
    println!(
        "one that came and went {} times: {} delivered, {} lost, {} doubled",
        seen.stays, seen.delivered, seen.lost, seen.doubled
    );
    println!(
        "hand-over from software: {} of {} stays reordered, {} messages in all, at most {} in one",
        seen.windows.count(),
        seen.stays,
        seen.overtaken,
        seen.most_overtaken
    );
    seen.windows.say("from overtaking to overtaken");
    println!(
        "the broker saw {} PUBLISH, the software path and tagged copies",
        lab.seen_by_broker() - broker_before
    );
}
