//! An explanation for people.

use std::fmt::Write as _;

use super::{Explanation, Verdict};

/// Lines of one list that are shown.
const LINES: usize = 50;

pub(super) fn of(explanation: &Explanation) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, explanation);
    out
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Offloaded => "offloaded: the switch serves its subscribers",
        Verdict::Partly => {
            "partly offloaded: the switch serves some subscribers, the broker the others"
        }
        Verdict::Software => "in software: the broker serves its subscribers",
        Verdict::Pending => "under way to the switch; the broker serves meanwhile",
        Verdict::Unused => "not in use",
    }
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

fn write(out: &mut String, explanation: &Explanation) -> std::fmt::Result {
    writeln!(
        out,
        "{}: {}",
        explanation.topic,
        verdict(explanation.verdict)
    )?;
    for why in &explanation.why {
        writeln!(out, "  {why}")?;
    }
    for part in &explanation.not_asked {
        writeln!(out, "  (no {part} was asked: give its --at, too)")?;
    }
    let numbers = &explanation.numbers;
    if numbers.index.is_some() {
        writeln!(
            out,
            "\nindex {}, home alias {}, generation {} (on the switch: {})",
            number(numbers.index),
            number(numbers.home_alias.as_ref()),
            number(numbers.generation),
            match numbers.share_group {
                Some(_) if numbers.generation_installed.is_none() => {
                    "each share member its own".into()
                }
                _ => number(numbers.generation_installed),
            },
        )?;
        if numbers.share_group.is_some() {
            share(out, explanation)?;
        } else if let Some([None, None]) = numbers.groups {
            // One copy or none at each QoS.
            writeln!(
                out,
                "no multicast group is needed; also: {}",
                numbers.copies.as_deref().unwrap_or("nothing"),
            )?;
        } else if let Some([q0, q1]) = numbers.groups {
            writeln!(
                out,
                "multicast groups: {} at QoS 0 and -1, {} at QoS 1; also: {}",
                number(q0),
                number(q1),
                numbers.copies.as_deref().unwrap_or("nothing"),
            )?;
        }
        if let (Some(packets), Some(bytes)) = (explanation.packets, explanation.bytes) {
            writeln!(
                out,
                "the switch has counted {packets} packets, {bytes} octets"
            )?;
        }
    }
    subscribers(out, explanation)?;
    publishers(out, explanation)?;
    writeln!(out, "\npath of a PUBLISH")?;
    for (qos, steps) in &explanation.path {
        writeln!(out, "  {qos}")?;
        for (n, step) in steps.iter().enumerate() {
            writeln!(out, "    {}. {step}", n + 1)?;
        }
    }
    Ok(())
}

/// The members of the action selector.
fn share(out: &mut String, explanation: &Explanation) -> std::fmt::Result {
    let members = explanation.subscribers.iter().filter_map(|subscriber| {
        let member = subscriber.switch.as_ref()?;
        Some((subscriber, member.selected.as_ref()?))
    });
    let numbers = &explanation.numbers;
    let all = members.clone().count();
    writeln!(
        out,
        "share group {} of the action selector; its members: {all}; also: {}",
        number(numbers.share_group),
        numbers.copies.as_deref().unwrap_or("nothing"),
    )?;
    for (subscriber, member) in members.take(LINES) {
        let client = &subscriber.broker.client_id;
        match member.member_id {
            Some(id) => writeln!(
                out,
                "  {client}: member {id}, generation {} (on the switch: {}), multicast groups {} and {}",
                member.generation,
                number(member.generation_installed),
                number(member.groups[0]),
                number(member.groups[1]),
            )?,
            None => writeln!(
                out,
                "  {client}: not on the switch yet, generation {}",
                member.generation
            )?,
        }
    }
    if all > LINES {
        writeln!(out, "  and {} others", all - LINES)?;
    }
    Ok(())
}

fn subscribers(out: &mut String, explanation: &Explanation) -> std::fmt::Result {
    let all = &explanation.subscribers;
    writeln!(out, "\nsubscribers: {}", all.len())?;
    for subscriber in all.iter().take(LINES) {
        let broker = &subscriber.broker;
        // The broker leaves it to the switch, which may not do it: see the verdict.
        let left = broker.served_q0 || broker.served_q1;
        let by = match (broker.served_q0, broker.served_q1) {
            _ if explanation.verdict == Verdict::Software && left => {
                "by the broker, while the topic is in software"
            }
            (true, true) => "by the switch",
            (true, false) => "QoS 0 by the switch, QoS 1 by the broker",
            (false, true) => "QoS 1 by the switch, QoS 0 by the broker",
            (false, false) => "by the broker",
        };
        write!(
            out,
            "  {} at {} ({}), {}as {}: {by}",
            broker.client_id,
            broker.address,
            broker.state,
            // A member of share groups may have no subscription of its own.
            broker
                .granted
                .map_or(String::new(), |granted| format!("QoS {granted}, ")),
            number(broker.alias.as_ref()),
        )?;
        if !broker.share_groups.is_empty() {
            write!(out, ", member of {}", broker.share_groups.join(", "))?;
        }
        if let Some(member) = &subscriber.switch {
            write!(
                out,
                ", port {}, rid {} ({} copies, of all its topics)",
                number(member.port),
                number(member.rid),
                member.packets
            )?;
        }
        match &broker.why {
            Some(why) => writeln!(out, " ({why})")?,
            None => writeln!(out)?,
        }
    }
    if all.len() > LINES {
        writeln!(out, "  and {} others", all.len() - LINES)?;
    }
    Ok(())
}

fn publishers(out: &mut String, explanation: &Explanation) -> std::fmt::Result {
    let all = &explanation.publishers;
    writeln!(out, "\npublishers: {}", all.len())?;
    for publisher in all.iter().take(LINES) {
        let who = publisher
            .client_id
            .as_deref()
            .unwrap_or("anybody, at QoS -1");
        let at = publisher.address.as_ref();
        let at = at.map_or(String::new(), |at| format!(" at {at}"));
        let admitted = match publisher.installed {
            Some(true) => ": admitted by the switch",
            Some(false) => ": left to the broker",
            None => "",
        };
        write!(out, "  {who}{at} as {}{admitted}", publisher.alias)?;
        if let Some(packets) = publisher.packets.filter(|_| publisher.address.is_some()) {
            write!(out, ", {packets} packets")?;
        }
        match &publisher.why {
            Some(why) => writeln!(out, " ({why})")?,
            None => writeln!(out)?,
        }
    }
    if all.len() > LINES {
        writeln!(out, "  and {} others", all.len() - LINES)?;
    }
    Ok(())
}
