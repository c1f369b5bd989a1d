//! What becomes of a PUBLISH to one topic: the tables that it meets, in their order
//! (docs/data-plane.md), with the entries that are there.

use std::collections::BTreeMap;

use broker::{SubscriberPart, TopicAccount, TopicPart};
use controller::{Member, TopicReport, TopicState};

use super::ControllerAccount;

/// The QoS levels, as they are called here.
const LEVELS: [(&str, i8); 4] = [("qos -1", -1), ("qos 0", 0), ("qos 1", 1), ("qos 2", 2)];

/// What a QoS level is called here.
pub(super) fn level(qos: i8) -> Option<&'static str> {
    let mut levels = LEVELS.iter();
    levels
        .find(|(_, level)| *level == qos)
        .map(|(name, _)| *name)
}

/// The steps for each QoS.
pub(super) fn of(
    broker: Option<&TopicAccount>,
    controller: Option<&ControllerAccount>,
) -> BTreeMap<&'static str, Vec<String>> {
    LEVELS
        .iter()
        .map(|&(name, qos)| (name, steps(qos, broker, controller)))
        .collect()
}

fn steps(
    qos: i8,
    broker: Option<&TopicAccount>,
    controller: Option<&ControllerAccount>,
) -> Vec<String> {
    let mut steps = Vec::new();
    let topic = broker.and_then(|broker| broker.topic.as_ref());
    match in_switch(qos, broker, controller, &mut steps) {
        Some(report) => {
            replicas(qos, report, topic, &mut steps);
            rest(qos, broker, report, &mut steps);
        }
        None => software(qos, broker, &mut steps),
    }
    steps
}

/// The switch's tables up to `topic`; the report if the switch serves the packet.
fn in_switch<'a>(
    qos: i8,
    broker: Option<&TopicAccount>,
    controller: Option<&'a ControllerAccount>,
    steps: &mut Vec<String>,
) -> Option<&'a TopicReport> {
    if let Some(broker) = broker
        && !broker.offload
    {
        steps.push("no switch takes part: the broker gives no work to the network".into());
        return None;
    }
    if broker.is_some_and(|broker| broker.services.is_empty()) {
        steps.push("table service: no entry; the packet is bridged to the broker's host".into());
        return None;
    }
    let Some(controller) = controller else {
        steps.push("switch: no controller was asked, so its entries are not known here".into());
        return None;
    };
    steps.push("parser: MQTT-SN PUBLISH; table service: it is for the broker".into());
    if controller.lease_remaining_ms == 0 {
        steps.push("lease: none, so the packet goes to the broker as it came".into());
        return None;
    }
    steps.push(format!(
        "lease: runs for another {} ms",
        controller.lease_remaining_ms
    ));
    if qos == 2 {
        steps.push("flags: QoS 2 goes to the broker as it came, and so does every DUP".into());
        return None;
    }
    let report = controller.topic.as_ref();
    if !admitted(qos, broker, report, steps) {
        return None;
    }
    let report = report?;
    match (&report.state, report.generation_installed) {
        (TopicState::Software(why), _) => {
            steps.push(format!(
                "table topic: no entry for index {} ({why}); the packet goes to the broker as it came",
                report.index
            ));
            None
        }
        (_, None) if report.share_group.is_some() => {
            selector(qos, report, steps);
            Some(report)
        }
        (_, None) => {
            steps.push(format!(
                "table topic: no entry for index {} yet; the packet goes to the broker as it came",
                report.index
            ));
            None
        }
        (_, Some(generation)) => {
            let [q0, q1] = report.groups;
            let group = if qos == 1 { q1 } else { q0 };
            let group = match (group, report.to_one) {
                (Some(group), _) => format!("multicast group {group}"),
                (None, Some(rid)) => format!("straight to its one subscriber, rid {rid}"),
                (None, None) => "no multicast group".into(),
            };
            steps.push(format!(
                "table topic: index {} is offloaded as generation {generation}: {group}",
                report.index
            ));
            Some(report)
        }
    }
}

/// The switch's choice of a share member.
fn selector(qos: i8, report: &TopicReport, steps: &mut Vec<String>) {
    let group = report.share_group.map_or("?".into(), |id| id.to_string());
    steps.push(format!(
        "table shared_topic: index {} goes to share group {group}, which chooses one member by the \
         publisher's address",
        report.index
    ));
    let selected = report.members.iter().filter_map(|m| m.selected.as_ref());
    let on_switch = selected.filter_map(|member| {
        let generation = member.generation_installed?;
        Some((member.member_id?, generation, member.groups))
    });
    for (id, generation, [q0, q1]) in on_switch.clone().take(super::SHOWN) {
        let group = if qos == 1 { q1 } else { q0 };
        let group = group.map_or("no multicast group".into(), |group| {
            format!("multicast group {group}")
        });
        steps.push(format!(
            "member {id} is offloaded as generation {generation}: {group}"
        ));
    }
    let others = on_switch.count().saturating_sub(super::SHOWN);
    if others > 0 {
        steps.push(format!("and so {others} others"));
    }
}

/// Whether some publisher gets as far as the table `topic`.
fn admitted(
    qos: i8,
    broker: Option<&TopicAccount>,
    report: Option<&TopicReport>,
    steps: &mut Vec<String>,
) -> bool {
    let Some(report) = report else {
        let why = match broker.map(|broker| broker.topic.as_ref()) {
            Some(None) => "nobody uses the topic",
            _ => "the topic is not in the broker's intent",
        };
        let table = if qos < 0 {
            "open_publication"
        } else {
            "publication"
        };
        steps.push(format!(
            "table {table}: no entry ({why}); the packet goes to the broker as it came"
        ));
        return false;
    };
    let anybody = qos < 0;
    let rows: Vec<_> = report
        .publishers
        .iter()
        .filter(|row| row.address.is_none() == anybody)
        .collect();
    let installed = rows.iter().filter(|row| row.installed).count();
    if anybody {
        let aliases: Vec<&str> = rows
            .iter()
            .filter(|row| row.installed)
            .map(|row| row.alias.as_str())
            .collect();
        if aliases.is_empty() {
            steps.push(
                "table open_publication: no predefined or short alias of it is open to anybody; the \
                 packet goes to the broker as it came"
                    .into(),
            );
            return false;
        }
        steps.push(format!(
            "table open_publication: {} leads to index {}",
            aliases.join(", "),
            report.index
        ));
        return true;
    }
    if installed == 0 {
        steps.push(
            "table publication: no entry of any client that may publish; the packet goes to the broker \
             as it came"
                .into(),
        );
        return false;
    }
    let others = rows.len() - installed;
    let also = match others {
        0 => String::new(),
        n => format!("; {n} others are left to the broker"),
    };
    steps.push(format!(
        "table publication: {installed} (port, address, alias) lead to index {}{also}; anybody else's \
         packet goes to the broker as it came",
        report.index
    ));
    true
}

fn serves(member: &Member, qos: i8) -> bool {
    if qos == 1 { member.q1 } else { member.q0 }
}

/// What leaves the switch.
fn replicas(qos: i8, report: &TopicReport, topic: Option<&TopicPart>, steps: &mut Vec<String>) {
    let mut shown = 0;
    let members: Vec<_> = report
        .members
        .iter()
        .filter(|member| serves(member, qos))
        .collect();
    for member in members.iter().take(super::SHOWN) {
        let rid = member.rid.map_or("?".into(), |rid| rid.to_string());
        let to = member.address.map_or("?".into(), |to| to.to_string());
        let port = member.port.map_or("?".into(), |port| port.to_string());
        steps.push(format!(
            "table subscriber: rid {rid} leaves port {port} for {to} at QoS 0 as {}{}",
            member.alias,
            match member.shared {
                true => ", if its share group's turn is its",
                false => "",
            }
        ));
        shown += 1;
    }
    if members.len() > shown {
        steps.push(format!("and so for {} others", members.len() - shown));
    }
    let Some(topic) = topic else { return };
    let copied = if qos == 1 {
        topic.copy_q1
    } else {
        topic.copy_q0
    };
    if copied {
        steps.push(format!(
            "table broker_copy: the broker gets a copy, tagged with index {} and the generation",
            report.index
        ));
    }
    if !copied {
        // The broker stores it.
        let what = match members.is_empty() {
            true => "the packet as it came",
            false => "a tagged copy",
        };
        let acknowledges = match qos == 1 && topic.ack_q1 {
            true => ", and acknowledges in place of the switch",
            false => "",
        };
        steps.push(format!("with Retain the broker gets {what}{acknowledges}"));
    }
    if qos == 1 && topic.ack_q1 {
        steps.push("PUBACK: the switch sends it to the publisher, through its port".into());
    }
    if members.is_empty() && !copied {
        steps.push("nobody is to have it: the packet ends here".into());
    }
}

fn left(qos: i8, subscriber: &SubscriberPart) -> bool {
    if qos == 1 {
        !subscriber.served_q1
    } else {
        !subscriber.served_q0
    }
}

/// What is left to the broker of a packet that the switch served.
fn rest(qos: i8, broker: Option<&TopicAccount>, report: &TopicReport, steps: &mut Vec<String>) {
    let Some(broker) = broker else { return };
    let Some(topic) = &broker.topic else { return };
    let copied = if qos == 1 {
        topic.copy_q1
    } else {
        topic.copy_q0
    };
    if !copied {
        return;
    }
    let rest = broker
        .subscribers
        .iter()
        .filter(|subscriber| left(qos, subscriber))
        .count();
    let acknowledges = match qos {
        1 => "acknowledges, and ",
        _ => "",
    };
    steps.push(format!(
        "broker: {acknowledges}serves those whom generation {} does not: {rest}",
        report.generation
    ));
}

/// What the broker does with a packet that came as it was.
fn software(qos: i8, broker: Option<&TopicAccount>, steps: &mut Vec<String>) {
    let Some(broker) = broker else { return };
    let whom = match broker.subscribers.len() {
        1 => "one subscriber".to_owned(),
        count => format!("{count} subscribers"),
    };
    let answer = match qos {
        1 => ", and acknowledges with PUBACK",
        2 => ", after PUBREC, PUBREL and PUBCOMP",
        _ => "",
    };
    let who = match qos {
        -1 => "from anybody, if the alias is predefined or short",
        _ => "if the publisher may publish",
    };
    steps.push(format!("broker: {who}, it serves {whom}{answer}"));
}
