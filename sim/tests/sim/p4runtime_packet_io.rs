//! Packets between the data plane and the controller (P4Runtime specification, "Packet I/O").

use std::time::Duration;

use crate::p4runtime_fixture::{Fixture, arbitration, bid, frame, next};
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use sim::server::ControllerStream;
use tonic::Code;

fn metadata(values: &[(u32, &[u8])]) -> Vec<v1::PacketMetadata> {
    let one = |&(metadata_id, value): &(u32, &[u8])| v1::PacketMetadata {
        metadata_id,
        value: value.to_vec(),
    };
    values.iter().map(one).collect()
}

fn send_out(fixture: &Fixture, stream: &ControllerStream, packet: v1::PacketOut) {
    let message = v1::StreamMessageRequest {
        update: Some(Request::Packet(packet)),
    };
    stream.send(fixture.now, message).expect("the stream stays");
}

fn error_code(stream: &mut ControllerStream) -> Code {
    match next(stream) {
        Response::Error(error) => {
            assert!(matches!(
                error.details,
                Some(v1::stream_error::Details::PacketOut(_))
            ));
            Code::from(error.canonical_code)
        }
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn a_packet_in_carries_its_metadata_and_the_frame() {
    let (mut fixture, mut stream) = Fixture::ready();
    fixture.inject(3, &frame(1, 2));
    match next(&mut stream) {
        Response::Packet(packet) => {
            assert_eq!(packet.payload, frame(1, 2));
            assert_eq!(packet.metadata, metadata(&[(1, &[3]), (2, &[1])]));
        }
        other => panic!("not a packet: {other:?}"),
    }
    assert_eq!(fixture.runtime.device().stats().packet_ins, 1);
}

#[test]
fn packets_go_to_the_primary_only() {
    let (mut fixture, mut old) = Fixture::ready();
    let mut new = fixture.primary(2);
    assert_eq!(arbitration(&mut old), (Code::AlreadyExists, 2));
    fixture.inject(1, &frame(1, 2));
    assert!(matches!(next(&mut new), Response::Packet(_)));
    assert!(old.try_recv().is_none());
    drop(new);
    assert_eq!(arbitration(&mut old), (Code::NotFound, 2));
    fixture.inject(1, &frame(1, 2));
    assert!(old.try_recv().is_none());
    assert_eq!(fixture.runtime.device().stats().packet_ins_dropped, 1);
}

#[test]
fn a_packet_out_leaves_where_its_metadata_say() {
    let (mut fixture, stream) = Fixture::ready();
    let packet = v1::PacketOut {
        payload: frame(1, 2),
        metadata: metadata(&[(1, &[4]), (2, &[0])]),
    };
    send_out(&fixture, &stream, packet);
    fixture.step(Duration::from_micros(1));
    assert_eq!(fixture.left(), [(4, frame(1, 2))]);
}

#[test]
fn a_packet_out_with_wrong_metadata_is_refused() {
    let (mut fixture, mut stream) = Fixture::ready();
    for wrong in [
        &[(1, &[4][..])][..],
        &[(1, &[4]), (2, &[0]), (7, &[1])],
        &[(1, &[0x02, 0x00]), (2, &[0])],
        &[(1, &[]), (2, &[0])],
    ] {
        let packet = v1::PacketOut {
            payload: frame(1, 2),
            metadata: metadata(wrong),
        };
        send_out(&fixture, &stream, packet);
        assert_eq!(error_code(&mut stream), Code::InvalidArgument);
    }
    fixture.step(Duration::from_micros(1));
    assert_eq!(fixture.left(), []);
    assert_eq!(fixture.runtime.device().stats().packet_outs_dropped, 4);
}

#[test]
fn backups_cannot_send_packets() {
    let (fixture, _primary) = Fixture::ready();
    let mut backup = fixture.runtime.device().open_stream();
    backup.send(fixture.now, bid(1, None)).expect("accepted");
    assert_eq!(arbitration(&mut backup), (Code::AlreadyExists, 1));
    let packet = v1::PacketOut {
        payload: frame(1, 2),
        metadata: metadata(&[(1, &[4]), (2, &[0])]),
    };
    send_out(&fixture, &backup, packet);
    assert_eq!(error_code(&mut backup), Code::PermissionDenied);
}

#[test]
fn what_a_write_installed_forwards_without_the_controller() {
    let (mut fixture, mut stream) = Fixture::ready();
    fixture.must([Update::insert(fixture.dmac(1, 2))]);
    fixture.inject(1, &frame(1, 9));
    assert_eq!(fixture.left(), [(2, frame(1, 9))]);
    assert!(stream.try_recv().is_none());
}

#[test]
fn a_controller_that_reads_nothing_loses_packets_and_no_arbitration() {
    let (mut fixture, mut stream) = Fixture::ready();
    for _ in 0..10_000 {
        fixture.inject(1, &frame(1, 2));
    }
    let stats = fixture.runtime.device().stats();
    assert!(stats.packet_ins_dropped > 0 && stats.packet_ins > 1_000);
    assert_eq!(stats.packet_ins + stats.packet_ins_dropped, 10_000);
    let _new = fixture.primary(2);
    let told = loop {
        if let Response::Arbitration(update) = next(&mut stream) {
            break update;
        }
    };
    assert_eq!(
        Code::from(told.status.expect("a status").code),
        Code::AlreadyExists
    );
}
