//! SUBSCRIBE until its SUBACK: it is sent when the switch holds the subscription.

use std::time::{Duration, Instant};

use crate::Plan;
use crate::figures::Times;
use crate::lab::Lab;

const TOPIC: &str = "fast/install";
/// Subscribers that are there already.
const OTHERS: usize = 9;
const PACE: Duration = Duration::from_millis(2);

pub(crate) fn measure(lab: &Lab, plan: &Plan) {
    let mut publisher = lab.publisher("install-publisher");
    let alias = publisher.register(TOPIC);
    let mut others = Vec::new();
    for n in 0..OTHERS {
        let mut other = lab.subscriber(&format!("install-other-{n}"));
        other.subscribe(TOPIC, |_| {});
        others.push(other);
    }
    let mut subscriber = lab.subscriber("install-subscriber");
    lab.until_offloaded(&publisher, alias);

    let (held, lapsed) = (
        lab.counter("answers_held"),
        lab.counter("answers_released_by_lapse"),
    );
    let (mut joins, mut leaves) = (Times::default(), Times::default());
    let end = Instant::now() + plan.time;
    while Instant::now() < end {
        std::thread::park_timeout(PACE);
        joins.add(subscriber.subscribe(TOPIC, |_| {}));
        std::thread::park_timeout(PACE);
        leaves.add(subscriber.unsubscribe(TOPIC, |_| {}));
    }
    joins.say("SUBSCRIBE to installed");
    leaves.say("UNSUBSCRIBE to withdrawn");
    let held = lab.counter("answers_held") - held;
    let lapsed = lab.counter("answers_released_by_lapse") - lapsed;
    println!("{held} answers waited for the switch, {lapsed} of them until the lease was over");
}
