//! Faults on purpose and bounded rates, as controllers meet them.

use std::time::Duration;

use p4runtime::v1::Update;
use p4runtime::write_error::{WriteError, code_of};
use sim::runtime::RuntimeConfig;
use sim::server::{ControllerStream, Left};
use tonic::Code;

use crate::p4runtime_fixture::{Fixture, arbitration, bid, config, frame};

/// A switch with these faults, a primary and the pipeline.
fn faulty(faults: &[&str]) -> (Fixture, ControllerStream) {
    let mut runtime = RuntimeConfig::default();
    runtime.device.faults = faults.iter().map(|f| f.parse().expect("a fault")).collect();
    let fixture = Fixture::bare(runtime);
    let stream = fixture.primary(1);
    fixture.set_pipeline(config()).expect("good");
    (fixture, stream)
}

fn end(stream: &mut ControllerStream) -> Code {
    loop {
        match stream.try_recv().expect("an end") {
            Ok(_) => {}
            Err(status) => return status.code(),
        }
    }
}

#[test]
fn every_n_th_update_is_refused_and_changes_nothing() {
    let (fixture, _stream) = faulty(&["write:every=3,code=INTERNAL"]);
    let updates = (1..=6).map(|mac| Update::insert(fixture.dmac(mac, 1)));
    let codes: Vec<Code> = match fixture.write(updates.collect()) {
        Err(WriteError::Updates(errors)) => errors.iter().map(code_of).collect(),
        other => panic!("two should have failed: {other:?}"),
    };
    let (ok, no) = (Code::Ok, Code::Internal);
    assert_eq!(codes, [ok, ok, no, ok, ok, no]);
    assert_eq!(
        fixture.code(Update::delete(fixture.dmac(3, 1))),
        Code::NotFound
    );
}

#[test]
fn a_stream_ends_after_so_many_messages_and_the_next_one_starts_anew() {
    let (mut fixture, mut stream) = faulty(&["stream:after=4"]);
    // The bid and its answer were two.
    for _ in 0..3 {
        fixture.inject(2, &frame(8, 9));
    }
    assert_eq!(end(&mut stream), Code::Unavailable);
    drop(stream);
    fixture.primary(1);
}

#[test]
fn all_streams_end_every_so_often() {
    let (mut fixture, mut stream) = faulty(&["stream:every=2s"]);
    fixture.step(Duration::from_secs(1));
    assert!(stream.try_recv().is_none());
    fixture.step(Duration::from_secs(1));
    assert_eq!(end(&mut stream), Code::Unavailable);
}

#[test]
fn after_a_restart_the_pipeline_runs_without_entries_and_nobody_is_primary() {
    let (mut fixture, mut stream) = faulty(&["restart:after=2"]);
    fixture.must([Update::insert(fixture.dmac(1, 1))]);
    match fixture.write(vec![Update::insert(fixture.dmac(2, 2))]) {
        Err(WriteError::Rpc(status)) => assert_eq!(status.code(), Code::Unavailable),
        other => panic!("the switch should have restarted: {other:?}"),
    }
    assert_eq!(end(&mut stream), Code::Unavailable);
    // A lower election id than before is the highest that the switch remembers.
    let mut stream = fixture.runtime.device().open_stream();
    stream.send(fixture.now, bid(1, Some(0))).expect("accepted");
    assert_eq!(arbitration(&mut stream), (Code::Ok, 0));
    let left = fixture.entries(Default::default());
    assert_eq!(left.len(), 2, "the const entries");
    // dmac's default action: to the controller.
    fixture.inject(3, &frame(1, 9));
    assert_eq!(fixture.left(), []);
}

#[test]
fn a_restart_may_lose_the_pipeline_too() {
    let (fixture, mut stream) = faulty(&[]);
    fixture.runtime.device().restart(Left::Nothing);
    assert_eq!(end(&mut stream), Code::Unavailable);
    let _stream = fixture.primary(1);
    match fixture.write(vec![]) {
        Err(WriteError::Rpc(status)) => assert_eq!(status.code(), Code::FailedPrecondition),
        other => panic!("there should be no pipeline: {other:?}"),
    }
}

#[test]
fn updates_beyond_the_rate_are_resource_exhausted_and_pass_later() {
    let mut runtime = RuntimeConfig::default();
    runtime.switch.limits.updates_per_second = Some(20);
    let mut fixture = Fixture::bare(runtime);
    let _stream = fixture.primary(1);
    fixture.set_pipeline(config()).expect("good");
    let insert = |fixture: &Fixture, mac| fixture.code(Update::insert(fixture.dmac(mac, 1)));
    assert_eq!(insert(&fixture, 1), Code::Ok);
    assert_eq!(insert(&fixture, 2), Code::Ok);
    assert_eq!(insert(&fixture, 3), Code::ResourceExhausted);
    fixture.step(Duration::from_millis(50));
    assert_eq!(insert(&fixture, 3), Code::Ok);
    assert_eq!(insert(&fixture, 4), Code::ResourceExhausted);
}
