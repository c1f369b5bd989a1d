//! From publisher to subscriber, offloaded and through the broker; and who sees the packets.

use std::time::{Duration, Instant};

use crate::Plan;
use crate::figures::{Times, say_counted};
use crate::lab::Lab;
use crate::speaker::{Heard, Speaker, number};

const PACE: Duration = Duration::from_millis(1);
const LOST: Duration = Duration::from_secs(2);

pub(crate) fn measure(lab: &Lab, plan: &Plan) {
    let mut subscriber = lab.subscriber("latency-subscriber");
    let mut publisher = lab.publisher("latency-publisher");
    for topic in ["fast/latency", "slow/latency"] {
        subscriber.subscribe(topic, |_| {});
    }
    let offloaded = publisher.register("fast/latency");
    let software = publisher.register("slow/latency");
    lab.until_offloaded(&publisher, offloaded);
    while subscriber.hear(Some(Duration::from_millis(200))).is_some() {}

    // One message at a time, the two paths in turns.
    let (before, seen_before) = (lab.paths(), lab.seen_by_broker());
    let mut times = [Times::default(), Times::default()];
    let end = Instant::now() + plan.time;
    let mut next = 0;
    while Instant::now() < end {
        for (path, alias) in [offloaded, software].into_iter().enumerate() {
            std::thread::park_timeout(PACE);
            let sent = Instant::now();
            publisher.publish(alias, next);
            await_message(&mut subscriber, next);
            times[path].add(sent.elapsed());
            next += 1;
        }
    }
    let [fast, slow] = &mut times;
    fast.say("offloaded");
    slow.say("through the broker");
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let ratio = fast.quantile(share) / slow.quantile(share);
        println!("ratio at {name}: {ratio:.2}");
    }
    let seen = lab.seen_by_broker() - seen_before;
    println!(
        "the broker saw {seen} PUBLISH: {} went through it",
        slow.count()
    );
    say_counted("switch", &before, &lab.paths());

    kept_from_broker(lab, plan, &publisher, &mut subscriber, offloaded);
}

fn await_message(subscriber: &mut Speaker, expected: u64) {
    loop {
        match subscriber.hear(Some(LOST)) {
            Some(Heard::Message(stamp)) => {
                assert_eq!(number(&stamp), expected, "one message at a time");
                return;
            }
            Some(_) => {}
            None => panic!("message {expected} is lost"),
        }
    }
}

/// A load that is offloaded: how much of it reaches the broker.
fn kept_from_broker(
    lab: &Lab,
    plan: &Plan,
    publisher: &Speaker,
    subscriber: &mut Speaker,
    alias: mqttsn::types::Alias,
) {
    let rate = plan.rate.unwrap_or(5_000.0);
    let count = (rate * plan.time.as_secs_f64()) as u64;
    let (before, seen_before) = (lab.paths(), lab.seen_by_broker());
    let delivered = std::thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut delivered = 0u64;
            while delivered < count {
                match subscriber.hear(Some(LOST)) {
                    Some(Heard::Message(_)) => delivered += 1,
                    Some(_) => {}
                    None => break,
                }
            }
            delivered
        });
        let start = Instant::now();
        for n in 0..count {
            let due = start + Duration::from_secs_f64(n as f64 / rate);
            while let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(wait);
            }
            publisher.publish(alias, n);
        }
        receiving.join().expect("the subscriber")
    });
    let seen = lab.seen_by_broker() - seen_before;
    let kept = 100.0 * (1.0 - seen as f64 / count as f64);
    println!(
        "{count} PUBLISH at {rate:.0}/s: {delivered} delivered, {seen} seen by the broker: {kept:.2} % kept from it"
    );
    say_counted("switch", &before, &lab.paths());
}
