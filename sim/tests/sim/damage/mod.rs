//! Documents with changed values, drawn from bytes so that proptest and a fuzzer can both write
//! them, and what must hold of every document: it loads and carries frames, or the error names a
//! place in it.
#![allow(unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sim::control::{CloneSession, MulticastGroup, Replica};
use sim::{Pipeline, Switch, SwitchConfig};

/// How many values there are in a document, but for where in the source something stood.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => {
            let members = map.iter().filter(|(key, _)| *key != "source_info");
            members.map(|(_, item)| count(item)).sum()
        }
        _ => 0,
    }
}

/// What becomes of a value.
enum Change {
    Set(Value),
    Remove,
}

/// Changes the `at`-th value, counted from the outside in; whether its parent must drop it.
fn change(value: &mut Value, at: &mut usize, to: &Change) -> bool {
    if *at == 0 {
        *at = usize::MAX;
        match to {
            Change::Set(to) => *value = to.clone(),
            Change::Remove => return true,
        }
        return false;
    }
    *at -= 1;
    match value {
        Value::Array(items) => {
            for i in 0..items.len() {
                if change(&mut items[i], at, to) {
                    items.remove(i);
                }
                if *at == usize::MAX {
                    break;
                }
            }
        }
        Value::Object(map) => {
            let keys: Vec<String> = map
                .keys()
                .filter(|key| *key != "source_info")
                .cloned()
                .collect();
            for key in keys {
                if change(&mut map[&key], at, to) {
                    map.remove(&key);
                }
                if *at == usize::MAX {
                    break;
                }
            }
        }
        _ => {}
    }
    false
}

/// The `at`-th value.
fn nth<'a>(value: &'a Value, at: &mut usize) -> Option<&'a Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter().find_map(|item| nth(item, at)),
        Value::Object(map) => {
            let mut members = map.iter().filter(|(key, _)| *key != "source_info");
            members.find_map(|(_, item)| nth(item, at))
        }
        _ => None,
    }
}

/// Changes values of a document: each change takes four bytes, two for the place.
pub fn damage(document: &mut Value, bytes: &[u8]) {
    for bytes in bytes.chunks(4).take(16) {
        let byte = |i: usize| usize::from(*bytes.get(i).unwrap_or(&0));
        let values = count(document);
        let place = ((byte(0) << 8 | byte(1)) * values) >> 16;
        let other = (byte(3) * values) >> 8;
        let to = match byte(2) {
            0..=39 => Change::Remove,
            40..=59 => Change::Set(Value::Null),
            60..=69 => Change::Set(Value::Bool(byte(3) % 2 == 1)),
            70..=109 => Change::Set(Value::from(byte(3))),
            110..=119 => Change::Set(Value::from(-(byte(3) as i64))),
            120..=139 => Change::Set(Value::from(1u64 << (byte(3) % 64))),
            140..=149 => Change::Set(Value::from(byte(3) as f64 / 3.0)),
            150..=159 => Change::Set(Value::from("no such thing")),
            160..=179 => Change::Set(Value::from(format!("0x{}", "f".repeat(byte(3))))),
            180..=189 => Change::Set(Value::Array(Vec::new())),
            190..=199 => Change::Set(Value::Object(Default::default())),
            // Another value of the same document.
            _ => match nth(document, &mut { other }) {
                Some(value) if count(value) < 2_000 => Change::Set(value.clone()),
                _ => Change::Remove,
            },
        };
        if change(document, &mut { place }, &to) {
            *document = Value::Null;
        }
    }
}

/// The value that a path like `a[0].b` leads to.
fn follow<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let mut rest = path;
    let mut value = document;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            value = value.get(index.parse::<usize>().ok()?)?;
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            // Names of members may hold dots and brackets: the longest that is there.
            let map = value.as_object()?;
            let fits = |key: &&String| {
                let after = rest.strip_prefix(key.as_str());
                after.is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
            };
            let key = map.keys().filter(fits).max_by_key(|key| key.len())?;
            value = &map[key];
            rest = &rest[key.len()..];
        }
    }
    Some(value)
}

/// Loads a document and checks what must hold of any.
pub fn check(bytes: &[u8], document: Option<&Value>) {
    match Pipeline::load(bytes) {
        Ok(pipeline) => exercise(pipeline),
        Err(error) => {
            assert!(!error.reason.is_empty(), "{error}");
            assert!(error.to_string().len() < 4_000, "too long: {error}");
            if let Some(document) = document {
                let known = error.path == "the document" || follow(document, &error.path).is_some();
                assert!(known, "no such place: {error}");
            }
        }
    }
}

/// Sends frames of many lengths through whatever was loaded.
fn exercise(pipeline: Pipeline) {
    let switch = Switch::new(SwitchConfig {
        max_passes: 40,
        ..SwitchConfig::default()
    });
    let control = switch.load(Arc::new(pipeline));
    let mut write = control.write(Duration::ZERO);
    let replicas = [(1, 1), (511, 2)].map(|(port, instance)| Replica { port, instance });
    for id in 1..10 {
        let group = MulticastGroup {
            replicas: replicas.to_vec(),
            metadata: Vec::new(),
        };
        let session = CloneSession {
            replicas: replicas.to_vec(),
            ..CloneSession::default()
        };
        let _ = write.insert_multicast_group(id, group);
        let _ = write.insert_clone_session(id.into(), session);
    }
    write.commit();
    let mut worker = switch.worker();
    for n in 0..60usize {
        let now = Duration::from_micros(n as u64);
        let mixed: Vec<u8> = (0..n).map(|i| (i * 7 + n * (i % 3)) as u8).collect();
        let plain: Vec<u8> = (0..n + 4)
            .map(|i| if i == 0 { n as u8 } else { 5 })
            .collect();
        for frame in [mixed, plain] {
            worker.process(now, n as u32 % 5, &frame, &mut Vec::new());
        }
    }
    assert_eq!(switch.stats().received, 120);
}
