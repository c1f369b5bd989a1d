//! `topicswitch status` for people: what matters of each part, a few lines each.

use std::fmt::Write as _;

use serde_json::Value;

/// A table's name without its control.
fn short(table: &str) -> &str {
    table.rsplit('.').next().unwrap_or(table)
}

/// The parts, each under its name.
pub fn text(status: &Value) -> String {
    let mut out = String::new();
    let Value::Object(parts) = status else {
        return out;
    };
    for (name, part) in parts {
        let lines = match name.split(' ').next() {
            _ if part.get("error").is_some() => vec![count(&part["error"])],
            Some("broker") => broker(part),
            Some("controller") => controller(part),
            Some("switch") => switch(part),
            _ => counters(part).into_iter().collect(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name}");
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

fn count(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What of an object is not zero.
fn counters(value: &Value) -> Option<String> {
    let Value::Object(map) = value else {
        return None;
    };
    let shown: Vec<String> = map
        .iter()
        .filter(|(_, value)| value.as_u64().is_some_and(|n| n > 0))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

fn broker(part: &Value) -> Vec<String> {
    let (state, counted) = (&part["state"], &part["counters"]);
    let n = |name: &str| count(&state[name]);
    let mut lines = vec![
        format!(
            "{} sessions ({} connected, {} asleep), {} subscriptions, {} topics, {} retained messages",
            n("sessions"),
            n("active"),
            n("asleep"),
            n("subscriptions"),
            n("topics"),
            n("retained"),
        ),
        format!(
            "PUBLISH: {} as they were sent, {} copies of the switch; delivered {} itself, left {} to the \
             switch",
            count(&counted["publish_untagged"]),
            count(&counted["publish_tagged"]),
            count(&counted["delivered"]),
            count(&counted["delivered_by_data_plane"]),
        ),
    ];
    let dropped: serde_json::Map<String, Value> = counted
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| {
            ["dropped", "refused", "tag_unknown"]
                .iter()
                .any(|start| name.starts_with(start))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    lines.extend(counters(&Value::Object(dropped)));
    if state["offload"] != true {
        lines.push("offload: off".into());
        return lines;
    }
    match &state["controller"] {
        Value::String(controller) => lines.push(format!(
            "offload: controller `{controller}` (election id {}), revision {} of {} installed, {} answers \
             wait, lease granted {} times and withheld {}",
            n("election_id"),
            n("installed"),
            n("revision"),
            n("answers_waiting"),
            count(&counted["grants"]),
            count(&counted["grants_withheld"]),
        )),
        _ => lines.push("offload: no controller is linked".into()),
    }
    lines.push(format!(
        "intent: {} topics, {} publications",
        n("intent_topics"),
        n("intent_publications")
    ));
    lines
}

fn controller(part: &Value) -> Vec<String> {
    let n = |name: &str| count(&part[name]);
    let mastership = &part["mastership"];
    let state = count(&mastership["state"]);
    let mut lines = vec![match &mastership["why"] {
        Value::String(why) => format!("{state} at {}: {why}", n("switch")),
        _ => format!(
            "{state} at {} with election id {}",
            n("switch"),
            n("election_id")
        ),
    }];
    if state != "primary" {
        return lines;
    }
    let linked = match part["broker_linked"].as_bool() {
        Some(true) => "linked to the broker",
        _ => "not linked to the broker",
    };
    lines.push(format!(
        "{linked}; revision {} of {} installed; lease: {} ms left{}",
        n("revision_installed"),
        n("revision_wanted"),
        n("lease_remaining_ms"),
        part["lease_why"]
            .as_str()
            .map_or(String::new(), |why| format!(" ({why})")),
    ));
    lines.push(format!(
        "topics: {} of {} on the switch; policy: {}",
        n("topics_offloaded"),
        n("topics_wanted"),
        n("policy"),
    ));
    let of = |name: &str| count(&part["publications"][name]);
    lines.push(format!(
        "publications: {} on the switch, {} wait for room, {} are silent; {} gave way, {} came back",
        of("rows"),
        of("waiting"),
        of("silent"),
        of("evicted"),
        of("returned"),
    ));
    lines.extend(counters(&part["refused_by_reason"]).map(|by| format!("in software: {by}")));
    let install = &part["install"];
    let ms = |name: &str| install[name].as_f64().unwrap_or(0.0) / 1000.0;
    lines.push(format!(
        "changes installed: {}, in {:.2} ms (half of them), {:.2} ms (99 of 100), {:.2} ms at most{}",
        count(&install["changes"]),
        ms("p50_us"),
        ms("p99_us"),
        ms("max_us"),
        match part["waiting_ms"].as_u64() {
            Some(ms) => format!("; one waits for {ms} ms"),
            None => String::new(),
        }
    ));
    if let Value::Object(tables) = &part["tables"] {
        let used: Vec<String> = tables
            .iter()
            .map(|(table, rows)| match part["table_sizes"].get(table) {
                Some(size) => format!("{} {rows}/{size}", short(table)),
                None => format!("{} {rows}", short(table)),
            })
            .collect();
        lines.push(format!("rows: {}", used.join(", ")));
    }
    lines.extend(
        counters(&part["paths"])
            .map(|paths| format!("packets for the broker, by what became of them: {paths}")),
    );
    lines.push(format!(
        "clients known: {}; the broker is behind port {}",
        part["endpoints"].as_array().map_or(0, Vec::len),
        n("broker_port")
    ));
    lines
}

fn switch(part: &Value) -> Vec<String> {
    let mut lines = vec![format!("up for {} s", count(&part["uptime_s"]))];
    lines.extend(counters(&part["packets"]));
    let ports = part["ports"].as_object().into_iter().flatten();
    for (number, port) in ports {
        lines.push(format!(
            "port {number} ({}): {} frames in, {} out{}",
            count(&port["spec"]),
            count(&port["rx_frames"]),
            count(&port["tx_frames"]),
            ["rx_drops", "tx_drops"]
                .iter()
                .filter_map(|drops| counters(&port[*drops]).map(|by| format!("; {drops}: {by}")))
                .collect::<String>(),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_part_has_its_lines_and_what_is_zero_is_left_out() {
        let status = json!({
            "broker": {
                "state": {"sessions": 3, "active": 2, "asleep": 1, "subscriptions": 4, "topics": 5,
                    "retained": 0, "offload": true, "controller": "c", "election_id": 7,
                    "installed": 8, "revision": 9, "answers_waiting": 1, "intent_topics": 2,
                    "intent_publications": 6},
                "counters": {"publish_untagged": 10, "dropped_rate": 0, "dropped_too_long": 2},
            },
            "controller": {
                "switch": "10.0.0.9:9559", "mastership": {"state": "primary"}, "election_id": 7,
                "broker_linked": true, "lease_remaining_ms": 0, "lease_why": "late", "install": {"changes": 2, "p50_us": 1500},
                "tables": {"MqttsnIngress.topic": 5, "multicast group": 1},
                "table_sizes": {"MqttsnIngress.topic": 64},
                "refused_by_reason": {"capacity": 3}, "paths": {"no_lease": 0, "offloaded": 12},
            },
            "controller at 127.0.0.1:2": {"switch": "s", "mastership": {"state": "backup", "why": "w"}},
            "switch": {"error": "gone"},
        });
        let text = text(&status);
        for wanted in [
            "3 sessions (2 connected, 1 asleep), 4 subscriptions",
            "  dropped_too_long 2\n",
            "controller `c` (election id 7), revision 8 of 9 installed, 1 answers wait",
            "primary at 10.0.0.9:9559 with election id 7",
            "lease: 0 ms left (late)\n",
            "in software: capacity 3",
            "1.50 ms (half of them)",
            "rows: topic 5/64, multicast group 1",
            "packets for the broker, by what became of them: offloaded 12\n",
            "controller at 127.0.0.1:2\n  backup at s: w\n",
            "switch\n  gone\n",
        ] {
            assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
        }
    }
}
