//! Nothing panics: neither packets nor documents.
use std::sync::Arc;
use std::time::Duration;

use crate::programs::{json, run};
use proptest::prelude::*;
use serde_json::Value;
use sim::control::{CloneSession, MulticastGroup, Replica};
use sim::{Pipeline, Switch, SwitchConfig};

const PROGRAMS: [&str; 5] = ["arithmetic", "checksums", "parser", "tables", "traffic"];

/// Every value in a document, by the path to it.
fn places(value: &Value, path: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    all.push(path.clone());
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                path.push(i.to_string());
                places(item, path, all);
                path.pop();
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                // Where in the source something stood does not matter to anyone.
                if key != "source_info" {
                    path.push(key.clone());
                    places(item, path, all);
                    path.pop();
                }
            }
        }
        _ => {}
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().expect("an index")],
        other => &mut other[step],
    })
}

fn replacement() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(Value::Bool(true))),
        any::<u64>().prop_map(|n| Some(Value::from(n))),
        (0u64..70).prop_map(|n| Some(Value::from(n))),
        Just(Some(Value::from(-1))),
        Just(Some(Value::from("0xffffffffffffffffffffffffffffffffffff"))),
        Just(Some(Value::from("0x00"))),
        Just(Some(Value::from("no such thing"))),
        Just(Some(Value::Array(vec![]))),
        Just(Some(Value::Object(Default::default()))),
    ]
}

/// Sends frames of many lengths through whatever was loaded.
fn exercise(pipeline: Pipeline) {
    let switch = Switch::new(SwitchConfig {
        max_passes: 40,
        ..SwitchConfig::default()
    });
    let control = switch.load(Arc::new(pipeline));
    let mut write = control.write(Duration::ZERO);
    let replicas = vec![
        Replica {
            port: 1,
            instance: 1,
        },
        Replica {
            port: 511,
            instance: 2,
        },
    ];
    for id in 0..10 {
        let group = MulticastGroup {
            replicas: replicas.clone(),
            metadata: vec![],
        };
        let session = CloneSession {
            replicas: replicas.clone(),
            ..CloneSession::default()
        };
        let _ = write.insert_multicast_group(id, group);
        let _ = write.insert_clone_session(id.into(), session);
    }
    write.commit();
    let mut worker = switch.worker();
    for n in 0..60usize {
        let frame: Vec<u8> = (0..n).map(|i| (i * 7 + n * (i % 3)) as u8).collect();
        worker.process(
            Duration::from_micros(n as u64),
            n as u32 % 5,
            &frame,
            &mut Vec::new(),
        );
        let frame: Vec<u8> = (0..n + 4)
            .map(|i| if i == 0 { n as u8 } else { 5 })
            .collect();
        worker.process(
            Duration::from_micros(n as u64),
            n as u32 % 5,
            &frame,
            &mut Vec::new(),
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_document_with_changed_values_loads_or_says_where_it_is_wrong(
        program in prop::sample::select(PROGRAMS.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), replacement()), 1..4),
    ) {
        let mut document: Value = serde_json::from_slice(&json(program)).expect("JSON");
        for (place, new) in changes {
            let mut all = Vec::new();
            places(&document, &mut Vec::new(), &mut all);
            let path = place.get(&all);
            match (new, path.split_last()) {
                (Some(new), _) => *at(&mut document, path) = new,
                (None, Some((last, parent))) => match at(&mut document, parent) {
                    Value::Object(map) => {
                        map.remove(last);
                    }
                    Value::Array(items) => {
                        items.remove(last.parse::<usize>().expect("an index"));
                    }
                    _ => {}
                },
                (None, None) => {}
            }
        }
        match Pipeline::load(document.to_string().as_bytes()) {
            Ok(pipeline) => exercise(pipeline),
            Err(error) => prop_assert!(!error.path.is_empty() && !error.reason.is_empty()),
        }
    }

    #[test]
    fn bytes_that_are_no_document_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Pipeline::load(&bytes).is_err());
    }

    #[test]
    fn any_frame_goes_through_any_program(
        program in prop::sample::select(PROGRAMS.to_vec()),
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..30),
    ) {
        let mut bench = run(program);
        for (i, frame) in frames.iter().enumerate() {
            bench.now = Duration::from_micros(i as u64);
            bench.send_on(i as u32, frame);
        }
        prop_assert_eq!(bench.switch.stats().received, frames.len() as u64);
    }

    #[test]
    fn the_same_frames_at_the_same_times_leave_the_same(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 4..20), 1..20),
    ) {
        let run_once = || {
            let mut bench = run("traffic");
            frames.iter().map(|frame| bench.send_on(1, frame)).collect::<Vec<_>>()
        };
        prop_assert_eq!(run_once(), run_once());
    }
}

#[test]
fn errors_name_the_place() {
    let load = |change: fn(&mut Value)| {
        let mut document: Value = serde_json::from_slice(&json("tables")).expect("JSON");
        change(&mut document);
        Pipeline::load(document.to_string().as_bytes())
            .expect_err("it is wrong")
            .to_string()
    };
    let message = load(|d| {
        let actions = d["actions"].as_array_mut().expect("an array");
        let answer = actions
            .iter_mut()
            .find(|a| a["name"] == "TestIngress.answer");
        answer.expect("the action")["primitives"][0]["op"] = "teleport".into();
    });
    assert!(
        message.contains("].primitives[0]: primitive `teleport`"),
        "{message}"
    );
    let message = load(|d| d["parsers"][0]["init_state"] = "nowhere".into());
    assert!(message.contains("parsers[0].init_state"), "{message}");
    let message = load(|d| d["headers"][2]["header_type"] = 5.into());
    assert!(
        message.contains("headers[2].header_type: expected a string"),
        "{message}"
    );
    let message = load(|d| *d = Value::Null);
    assert!(
        message.contains("the document: expected an object"),
        "{message}"
    );
}
