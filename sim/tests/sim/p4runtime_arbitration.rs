//! Who may write (P4Runtime specification, "Client Arbitration and Controller Replication").

use crate::p4runtime_fixture::{Fixture, arbitration, bid, next};
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::stream_message_response::Update as Response;
use p4runtime::write_error::WriteError;
use sim::runtime::RuntimeConfig;
use sim::server::Compat;
use tonic::Code;

fn rpc_code(result: Result<(), WriteError>) -> Code {
    match result {
        Err(WriteError::Rpc(status)) => status.code(),
        other => panic!("the whole Write should have failed: {other:?}"),
    }
}

#[test]
fn the_first_controller_is_primary() {
    let fixture = Fixture::bare(RuntimeConfig::default());
    fixture.primary(1);
}

#[test]
fn backups_cannot_write() {
    let (fixture, _primary) = Fixture::ready();
    let mut backup = fixture.runtime.device().open_stream();
    backup.send(fixture.now, bid(1, Some(0))).expect("accepted");
    assert_eq!(arbitration(&mut backup), (Code::AlreadyExists, 1));
    let update = || vec![Update::insert(fixture.dmac(1, 1))];
    assert_eq!(
        rpc_code(fixture.write_as(0, update())),
        Code::PermissionDenied
    );
    assert_eq!(
        rpc_code(fixture.write_as(7, update())),
        Code::PermissionDenied
    );
    fixture.must(update());
}

#[test]
fn backups_cannot_set_the_pipeline_but_may_read() {
    let (fixture, first) = Fixture::ready();
    let _second = fixture.primary(2);
    let refused = fixture
        .set_pipeline(crate::p4runtime_fixture::config())
        .expect_err("not primary");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        fixture.entries(v1::TableEntry::default()).len(),
        2,
        "the const entries"
    );
    drop(first);
}

#[test]
fn a_higher_election_id_takes_over_and_both_are_told() {
    let (fixture, mut old) = Fixture::ready();
    let _new = fixture.primary(2);
    assert_eq!(arbitration(&mut old), (Code::AlreadyExists, 2));
    let update = vec![Update::insert(fixture.dmac(1, 1))];
    assert_eq!(
        rpc_code(fixture.write_as(1, update.clone())),
        Code::PermissionDenied
    );
    assert!(fixture.write_as(2, update).is_ok());
}

#[test]
fn nobody_is_promoted_when_the_primary_disconnects() {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let primary = fixture.primary(5);
    let mut backup = fixture.runtime.device().open_stream();
    backup.send(fixture.now, bid(1, Some(4))).expect("accepted");
    assert_eq!(arbitration(&mut backup), (Code::AlreadyExists, 5));
    drop(primary);
    assert_eq!(arbitration(&mut backup), (Code::NotFound, 5));
    assert_eq!(
        rpc_code(fixture.write_as(4, vec![])),
        Code::PermissionDenied
    );
    backup.send(fixture.now, bid(1, Some(6))).expect("accepted");
    assert_eq!(arbitration(&mut backup), (Code::Ok, 6));
}

#[test]
fn a_controller_without_an_election_id_stays_backup() {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let mut stream = fixture.runtime.device().open_stream();
    stream.send(fixture.now, bid(1, None)).expect("accepted");
    assert_eq!(arbitration(&mut stream), (Code::NotFound, 0));
}

#[test]
fn a_used_election_id_ends_the_stream() {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let _primary = fixture.primary(1);
    let mut second = fixture.runtime.device().open_stream();
    let status = second.send(fixture.now, bid(1, Some(1))).expect_err("used");
    assert_eq!(status.code(), Code::InvalidArgument);
    let end = second.try_recv().expect("the end").expect_err("a status");
    assert_eq!(end.code(), Code::InvalidArgument);
}

#[test]
fn another_device_is_not_found_and_named() {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let stream = fixture.runtime.device().open_stream();
    let status = stream
        .send(fixture.now, bid(9, Some(1)))
        .expect_err("no such device");
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("device 9") && status.message().contains("device 1"));
    let request = v1::WriteRequest {
        device_id: 0,
        ..Default::default()
    };
    let status = fixture
        .runtime
        .device()
        .write(fixture.now, &request)
        .expect_err("device 0");
    assert_eq!(status.code(), Code::NotFound);
}

#[test]
fn like_bmv2_device_0_is_the_device_and_nobody_connected_may_write() {
    let (fixture, stream) = Fixture::ready_as(Compat::Bmv2);
    let request = v1::WriteRequest {
        device_id: 0,
        updates: vec![Update::insert(fixture.dmac(1, 1))],
        ..Default::default()
    };
    let device = fixture.runtime.device();
    let status = device
        .write(fixture.now, &request)
        .expect_err("a controller is connected");
    assert_eq!(status.code(), Code::PermissionDenied);
    drop(stream);
    device
        .write(fixture.now, &request)
        .expect("nobody is connected");
}

#[test]
fn a_stream_message_of_no_kind_is_answered_with_an_error() {
    let (fixture, mut stream) = Fixture::ready();
    let empty = v1::StreamMessageRequest { update: None };
    stream.send(fixture.now, empty).expect("the stream stays");
    match next(&mut stream) {
        Response::Error(error) => {
            assert_eq!(Code::from(error.canonical_code), Code::InvalidArgument)
        }
        other => panic!("not an error: {other:?}"),
    }
}
