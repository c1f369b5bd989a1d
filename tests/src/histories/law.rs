//! The one law: what each client observes of the whole system, it could have observed of the broker
//! alone.
//!
//! What a client does while messages flow leaves open which of them it still gets, or gets already:
//! a message sent before the request was answered, in either run, is *free*. It may come or not, but
//! not twice, and what comes is in its order. All others must come exactly as they come from the
//! broker alone. To fall asleep and to wake up leave nothing open.

use std::collections::{BTreeMap, BTreeSet};

use mqttsn::types::Qos;

use super::client::{Client, Delivery, Published, Taken};
use super::events::Op;
use super::world::Run;
use crate::topics::{Topic, without_group};

/// Compares the runs; the violations, in words.
pub(super) fn compare(alone: &Run, whole: &Run) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, run) in [("broker alone", alone), ("whole system", whole)] {
        broken.extend(run.strange.iter().map(|why| format!("{name}: {why}")));
    }
    if !broken.is_empty() {
        return broken;
    }
    let sent = Sent {
        alone: messages(alone),
        whole: messages(whole),
        restarts: &whole.restarts,
        again: whole
            .clients
            .iter()
            .flat_map(|client| &client.again)
            .map(String::as_str)
            .collect(),
    };
    let mut members = Vec::new();
    for (alone, whole) in alone.clients.iter().zip(&whole.clients) {
        answers(alone, whole, &mut broken);
        if is_member(alone) {
            members.push((alone, whole));
        } else {
            deliveries(alone, whole, &sent, &mut broken);
        }
    }
    shared_deliveries(&members, &sent, &mut broken);
    for (name, run) in [("broker alone", alone), ("whole system", whole)] {
        // What a member leaves behind comes to another, late (docs/shared-subscriptions.md).
        for client in run.clients.iter().filter(|client| !is_member(client)) {
            order(name, client, &sent, &mut broken);
        }
    }
    broken
}

/// All messages of both runs, by their ids.
struct Sent<'a> {
    alone: BTreeMap<&'a str, &'a Published>,
    whole: BTreeMap<&'a str, &'a Published>,
    /// What publishers sent again.
    again: Vec<&'a str>,
    /// Rounds in which the broker was killed.
    restarts: &'a [usize],
}

fn messages(run: &Run) -> BTreeMap<&str, &Published> {
    let published = run.clients.iter().flat_map(|client| &client.published);
    published
        .map(|message| (message.id.as_str(), message))
        .collect()
}

fn answers(alone: &Client, whole: &Client, broken: &mut Vec<String>) {
    let n = alone.n;
    for (alone, whole) in alone.taken.iter().zip(&whole.taken) {
        if alone.answers != whole.answers {
            let (round, op) = (alone.round, &alone.op);
            broken.push(format!(
                "client {n}, round {round}, {op}: the broker alone answers {:?}, the whole system \
                 {:?}",
                alone.answers, whole.answers
            ));
            return;
        }
    }
    if alone.taken.len() != whole.taken.len() {
        broken.push(format!(
            "client {n}: {} steps on the broker alone, {} on the whole system",
            alone.taken.len(),
            whole.taken.len()
        ));
    }
}

/// Whether a message may be missed, or come.
fn is_free(id: &str, to: &Client, other: &Client, sent: &Sent<'_>) -> bool {
    if sent.again.contains(&id) {
        return true; // Sent twice, at two times.
    }
    let Some(in_alone) = sent.alone.get(id) else {
        return is_free_will(id, to);
    };
    let Some(in_whole) = sent.whole.get(id) else {
        return false;
    };
    let before = |taken: &Taken, message: &Published| {
        taken
            .answered
            .is_none_or(|answered| message.sent <= answered)
    };
    let came = to.received.iter().chain(&other.received);
    let mut came = came.filter(|delivery| delivery.id == id);
    let at_qos_0 = matches!(in_alone.qos, Qos::Zero | Qos::MinusOne)
        // Or so it was asked for.
        || came.all(|delivery| delivery.qos == Qos::Zero);
    if at_qos_0 && is_dead(to, in_alone.round) {
        // It is lost, but waits where the client was never told the topic's id: behind a REGISTER
        // that nobody answers. Whether one was sent before hung on what came first, long ago.
        return true;
    }
    let pairs = to.taken.iter().zip(&other.taken);
    pairs
        .filter(|(taken, _)| taken.round == in_alone.round)
        .any(|(alone, whole)| {
            let concerned = concerns(&alone.op, &in_alone.topic)
                // It may wait in the broker for a client that then forgets what waits.
                || (matches!(alone.op, Op::Sleep | Op::Wake) && forgets(to, alone.round, sent));
            // Who moves misses what is sent to its old port until everybody knows.
            let moves = matches!(alone.op, Op::Move);
            moves || (concerned && (before(alone, in_alone) || before(whole, in_whole)))
        })
}

/// Whether the client crashed, in this round or before, and did not come back until it was over.
fn is_dead(client: &Client, round: usize) -> bool {
    let lives = |op: &Op| matches!(op, Op::Connect(_) | Op::Lose(_) | Op::Roam { .. });
    let turns = |op: &Op| matches!(op, Op::Crash) || lives(op);
    let mut taken = client.taken.iter();
    let last = taken.rfind(|taken| taken.round <= round && turns(&taken.op));
    last.is_some_and(|taken| matches!(taken.op, Op::Crash))
}

/// Whether the client begins anew after this round, or the broker does.
fn forgets(client: &Client, round: usize, sent: &Sent<'_>) -> bool {
    if sent.restarts.iter().any(|restart| *restart > round) {
        return true;
    }
    let mut later = client.taken.iter().filter(|taken| taken.round > round);
    later.any(|taken| match &taken.op {
        Op::Connect(how) => how.clean,
        Op::Lose(_) => true,
        Op::Roam { clean, .. } => *clean,
        _ => false,
    })
}

/// When a will is published, the harness does not know: somewhere in its client's round.
fn is_free_will(_id: &str, to: &Client) -> bool {
    // The generator lets no other client change what it gets in such a round, but by the op itself.
    to.taken.iter().any(|taken| matches!(taken.op, Op::Crash))
}

fn concerns(op: &Op, topic: &str) -> bool {
    match op {
        Op::Subscribe(filter, _) | Op::Unsubscribe(filter) => matches(filter, topic),
        Op::Publish { .. } | Op::Sleep | Op::Wake | Op::Move => false,
        Op::Again | Op::Long(_) | Op::Damaged(_) | Op::Spoof(_) | Op::Forge { .. } => false,
        Op::Connect(_) | Op::Lose(_) | Op::Roam { .. } | Op::Disconnect | Op::Crash => true,
    }
}

fn matches(filter: &Topic, topic: &str) -> bool {
    let name = filter.name();
    let name = without_group(&name);
    let mut levels = topic.split('/');
    for part in name.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (part, Some(level)) if part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn deliveries(alone: &Client, whole: &Client, sent: &Sent<'_>, broken: &mut Vec<String>) {
    type Came<'a> = BTreeMap<(&'a str, bool), Vec<&'a Delivery>>;
    fn by_id(client: &Client) -> Came<'_> {
        let mut came = Came::new();
        for delivery in &client.received {
            let key = (delivery.id.as_str(), delivery.retain);
            came.entry(key).or_default().push(delivery);
        }
        came
    }
    let n = alone.n;
    let (in_alone, in_whole) = (by_id(alone), by_id(whole));
    let ids: BTreeSet<_> = in_alone.keys().chain(in_whole.keys()).copied().collect();
    let none = Vec::new();
    for key in ids {
        let (id, retain) = key;
        let a = in_alone.get(&key).unwrap_or(&none);
        let w = in_whole.get(&key).unwrap_or(&none);
        let free = !retain && is_free(id, alone, whole, sent);
        // A copy at QoS 1 may come again, with DUP, when its acknowledgement crossed a request.
        let qos = |came: &[&Delivery]| {
            let again = |d: &Delivery| d.dup && d.qos == Qos::One;
            let mut first = came.to_vec();
            while first.len() > 1
                && let Some(at) = first.iter().rposition(|d| again(d))
            {
                first.remove(at);
            }
            let mut qos: Vec<i8> = first.iter().map(|d| level(d.qos)).collect();
            qos.sort_unstable();
            qos
        };
        let same = qos(a) == qos(w);
        // Twice only as a repetition.
        let times = 1 + sent.again.iter().filter(|again| **again == id).count();
        let mut more = w.iter().skip(times);
        let fine = same || (free && more.all(|again| again.dup && again.qos == Qos::One));
        if !fine {
            let topic = a.first().or(w.first()).map_or("?", |d| &d.topic);
            let round = sent.alone.get(id).map(|message| message.round);
            let came = |came: &[&Delivery]| {
                let each = came.iter().map(|d| {
                    let by = if d.by_broker { "broker" } else { "data plane" };
                    format!("QoS {} in round {} from the {by}", level(d.qos), d.round)
                });
                each.collect::<Vec<_>>().join(", ")
            };
            broken.push(format!(
                "client {n}: {id} of {topic} (retain {retain}, published in round {round:?}): from \
                 the broker alone [{}], from the whole system [{}]{}",
                came(a),
                came(w),
                if free { ", though free" } else { "" },
            ));
        }
    }
}

// ---- Share groups ---------------------------------------------------------------------------------

/// Whether the client ever joins a share group.
fn is_member(client: &Client) -> bool {
    client.taken.iter().any(|taken| match &taken.op {
        Op::Subscribe(filter, _) => without_group(&filter.name()) != filter.name(),
        _ => false,
    })
}

/// Which member of a group gets a message is left open, how many copies all of them get is not.
fn shared_deliveries(members: &[(&Client, &Client)], sent: &Sent<'_>, broken: &mut Vec<String>) {
    fn copies<'a>(clients: impl Iterator<Item = &'a Client>) -> BTreeMap<&'a str, usize> {
        let mut copies = BTreeMap::new();
        for client in clients {
            let mut seen = BTreeSet::new();
            for delivery in &client.received {
                let again = delivery.dup && seen.contains(delivery.id.as_str());
                seen.insert(delivery.id.as_str());
                if !delivery.retain && !again {
                    *copies.entry(delivery.id.as_str()).or_default() += 1;
                }
            }
        }
        copies
    }
    let in_alone = copies(members.iter().map(|(alone, _)| *alone));
    let in_whole = copies(members.iter().map(|(_, whole)| *whole));
    let ids: BTreeSet<&str> = in_alone.keys().chain(in_whole.keys()).copied().collect();
    for id in ids {
        let Some(message) = sent.alone.get(id) else {
            continue; // A will: its client's round is not known.
        };
        let free = members.iter().any(|(alone, whole)| {
            is_free(id, alone, whole, sent) || is_left_behind(alone, message.round, sent)
        });
        let (a, w) = (
            in_alone.get(id).copied().unwrap_or(0),
            in_whole.get(id).copied().unwrap_or(0),
        );
        if !free && a != w {
            broken.push(format!(
                "share groups: {id} of {} (published in round {}): {a} copies from the broker alone, {w} \
                 from the whole system",
                message.topic, message.round,
            ));
        }
    }
}

/// Whether a message of the round may be lost with the member that was chosen: it is gone without a
/// word in this round, or waits in the broker for one that begins anew.
fn is_left_behind(member: &Client, round: usize, sent: &Sent<'_>) -> bool {
    let until = member.taken.iter().filter(|taken| taken.round <= round);
    let mut away = until.filter(|taken| matches!(taken.op, Op::Sleep | Op::Disconnect | Op::Crash));
    let crashes = |taken: &Taken| taken.round == round && matches!(taken.op, Op::Crash);
    member.taken.iter().any(crashes) || (away.next().is_some() && forgets(member, round, sent))
}

fn level(qos: Qos) -> i8 {
    match qos {
        Qos::MinusOne => -1,
        Qos::Zero => 0,
        Qos::One => 1,
        Qos::Two => 2,
    }
}

/// Messages of one publisher, topic and QoS (as published, and as it comes: the subscriber may ask for
/// another meanwhile) come in their order. But while a topic or subscriber
/// moves to the data plane, what is under way through the broker may be overtaken by what does not
/// take that way any more (`docs/data-plane.md`, "Order, and the hand-over").
fn order(name: &str, client: &Client, sent: &Sent<'_>, broken: &mut Vec<String>) {
    type Stream<'a> = (&'a str, &'a str, i8, i8);
    type Streams<'a> = BTreeMap<Stream<'a>, Vec<(&'a Delivery, &'a Published, u32)>>;
    let mut streams = Streams::new();
    for delivery in client.received.iter().filter(|d| !d.retain && !d.dup) {
        let Some(message) = sent.whole.get(delivery.id.as_str()) else {
            continue;
        };
        let Some((publisher, number)) = delivery.id.split_once(':') else {
            continue;
        };
        let number = number.parse().unwrap_or(0);
        let (qos, as_it_comes) = (level(message.qos), level(delivery.qos));
        let key = (publisher, delivery.topic.as_str(), qos, as_it_comes);
        streams
            .entry(key)
            .or_default()
            .push((delivery, message, number));
    }
    for ((publisher, topic, qos, _), came) in streams {
        for (at, (late, late_message, number)) in came.iter().enumerate() {
            let overtaker = came[..at].iter().find(|(early, early_message, earlier)| {
                // In one round, or the late one waited for the subscriber until then.
                let at_once =
                    early_message.round == late_message.round || early.round == late.round;
                let handed_over = late.by_broker && !early.by_broker && at_once;
                earlier > number && !handed_over
            });
            if let Some((_, _, earlier)) = overtaker {
                broken.push(format!(
                    "client {}, {name}: {publisher}:{number} of {topic} at QoS {qos} came after \
                     {publisher}:{earlier}",
                    client.n
                ));
                break;
            }
        }
    }
}
