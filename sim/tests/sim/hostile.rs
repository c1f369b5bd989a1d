//! Nothing panics: neither packets nor documents.
use std::time::Duration;

use crate::damage::{check, damage};
use crate::programs::{json, run};
use proptest::prelude::*;
use serde_json::Value;
use sim::Pipeline;

const PROGRAMS: [&str; 6] = [
    "arithmetic",
    "checksums",
    "everything",
    "parser",
    "tables",
    "traffic",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_document_with_changed_values_loads_or_says_where_it_is_wrong(
        program in prop::sample::select(PROGRAMS.to_vec()),
        changes in prop::collection::vec(any::<[u8; 4]>(), 1..4),
    ) {
        let mut document: Value = serde_json::from_slice(&json(program)).expect("JSON");
        damage(&mut document, &changes.concat());
        check(document.to_string().as_bytes(), Some(&document));
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
