//! Digests (P4Runtime specification, "DigestEntry") and idle-timeout notifications.

use std::time::Duration;

use crate::p4runtime_fixture::{Fixture, frame};
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::entity::Entity as Kind;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use sim::server::ControllerStream;
use tonic::Code;

const MS: Duration = Duration::from_millis(1);

fn learn(fixture: &Fixture, max_timeout: Duration, list: i32, ack: Duration) -> v1::DigestEntry {
    v1::DigestEntry {
        digest_id: fixture.p4info.digest("learn_t").expect("there").id,
        config: Some(v1::digest_entry::Config {
            max_timeout_ns: max_timeout.as_nanos() as i64,
            max_list_size: list,
            ack_timeout_ns: ack.as_nanos() as i64,
        }),
    }
}

/// The digest lists that came: their ids, and the last byte of each learned address with its port.
fn lists(fixture: &Fixture, stream: &mut ControllerStream) -> Vec<(u64, Vec<(u8, u16)>)> {
    let digest = fixture.p4info.digest("learn_t").expect("there");
    let mut lists = Vec::new();
    while let Some(message) = stream.try_recv() {
        if let Some(Response::Digest(list)) = message.expect("no end").update {
            let messages = digest.decode(&list).expect("of its type");
            let learned = messages.iter().map(|message| {
                let mac = message
                    .get("src_addr")
                    .expect("there")
                    .to_mac()
                    .expect("48 bits");
                (
                    mac[5],
                    message
                        .get("port")
                        .expect("there")
                        .to_u16()
                        .expect("9 bits"),
                )
            });
            lists.push((list.list_id, learned.collect()));
        }
    }
    lists
}

fn acknowledge(fixture: &Fixture, stream: &ControllerStream, list_id: u64) {
    let digest_id = fixture.p4info.digest("learn_t").expect("there").id;
    let ack = v1::DigestListAck { digest_id, list_id };
    let message = v1::StreamMessageRequest {
        update: Some(Request::DigestAck(ack)),
    };
    stream.send(fixture.now, message).expect("the stream stays");
}

#[test]
fn nothing_is_sent_before_a_digest_is_enabled() {
    let (mut fixture, mut stream) = Fixture::ready();
    fixture.inject(1, &frame(1, 7));
    assert_eq!(lists(&fixture, &mut stream), []);
    fixture.must([Update::insert(learn(&fixture, Duration::ZERO, 1, MS))]);
    fixture.step(MS);
    assert_eq!(
        lists(&fixture, &mut stream),
        [],
        "what came before is not told"
    );
    fixture.inject(2, &frame(1, 7));
    assert_eq!(lists(&fixture, &mut stream), [(1, vec![(7, 2)])]);
}

#[test]
fn a_list_is_sent_when_it_is_full_or_old() {
    let (mut fixture, mut stream) = Fixture::ready();
    fixture.must([Update::insert(learn(&fixture, 10 * MS, 2, 1000 * MS))]);
    fixture.inject(1, &frame(1, 7));
    assert_eq!(lists(&fixture, &mut stream), []);
    fixture.inject(1, &frame(1, 8));
    assert_eq!(lists(&fixture, &mut stream), [(1, vec![(7, 1), (8, 1)])]);
    fixture.inject(1, &frame(1, 9));
    fixture.step(9 * MS);
    assert_eq!(lists(&fixture, &mut stream), []);
    fixture.step(MS);
    assert_eq!(lists(&fixture, &mut stream), [(2, vec![(9, 1)])]);
}

#[test]
fn the_next_step_is_due_when_a_list_is() {
    let (mut fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(learn(&fixture, 10 * MS, 0, MS))]);
    fixture.inject(1, &frame(1, 7));
    let next = fixture.runtime.step(fixture.now).next;
    assert_eq!(next, Some(fixture.now + 10 * MS));
}

#[test]
fn the_same_message_comes_again_only_after_acknowledgement_or_timeout() {
    let (mut fixture, mut stream) = Fixture::ready();
    fixture.must([Update::insert(learn(&fixture, Duration::ZERO, 1, 50 * MS))]);
    fixture.inject(1, &frame(1, 7));
    fixture.inject(1, &frame(1, 7));
    assert_eq!(lists(&fixture, &mut stream), [(1, vec![(7, 1)])]);
    acknowledge(&fixture, &stream, 1);
    fixture.inject(1, &frame(1, 7));
    assert_eq!(lists(&fixture, &mut stream), [(2, vec![(7, 1)])]);
    fixture.step(50 * MS);
    fixture.inject(1, &frame(1, 7));
    assert_eq!(lists(&fixture, &mut stream), [(3, vec![(7, 1)])]);
}

#[test]
fn a_disabled_digest_is_silent_and_unreadable() {
    let (mut fixture, mut stream) = Fixture::ready();
    let entry = learn(&fixture, Duration::ZERO, 1, MS);
    assert_eq!(fixture.code(Update::modify(entry)), Code::NotFound);
    fixture.must([Update::insert(entry)]);
    assert_eq!(fixture.code(Update::insert(entry)), Code::AlreadyExists);
    assert_eq!(
        fixture.read(v1::DigestEntry::default()),
        [Kind::DigestEntry(entry)]
    );
    fixture.must([Update::delete(entry)]);
    assert_eq!(fixture.read(v1::DigestEntry::default()), []);
    fixture.inject(1, &frame(1, 7));
    assert_eq!(lists(&fixture, &mut stream), []);
}

#[test]
fn an_acknowledgement_of_an_unknown_digest_is_an_error() {
    let (fixture, mut stream) = Fixture::ready();
    let ack = v1::DigestListAck {
        digest_id: 1,
        list_id: 1,
    };
    let message = v1::StreamMessageRequest {
        update: Some(Request::DigestAck(ack)),
    };
    stream.send(fixture.now, message).expect("the stream stays");
    match crate::p4runtime_fixture::next(&mut stream) {
        Response::Error(error) => {
            assert_eq!(Code::from(error.canonical_code), Code::InvalidArgument);
            assert!(matches!(
                error.details,
                Some(v1::stream_error::Details::DigestListAck(_))
            ));
        }
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn an_idle_entry_is_told_and_stays() {
    let (mut fixture, mut stream) = Fixture::ready();
    let entry = fixture.p4info.table("smac").expect("there").entry();
    let entry = entry.exact("src_addr", [2, 0, 0, 0, 0, 7]).expect("valid");
    let entry = entry
        .action("NoAction")
        .expect("there")
        .idle_timeout(500 * MS);
    let entry = entry.metadata(*b"note").build().expect("valid");
    fixture.must([Update::insert(entry.clone())]);
    fixture.step(400 * MS);
    fixture.inject(1, &frame(1, 7));
    fixture.step(400 * MS);
    let mut told = |fixture: &mut Fixture| {
        std::iter::from_fn(|| stream.try_recv())
            .filter_map(|message| match message.expect("no end").update {
                Some(Response::IdleTimeoutNotification(note)) => Some((note, fixture.now)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&mut fixture), [], "the frame was a hit");
    fixture.step(200 * MS);
    let notes = told(&mut fixture);
    let [(note, now)] = &notes[..] else {
        panic!("one notification: {notes:?}")
    };
    assert_eq!(note.timestamp, now.as_nanos() as i64);
    let [idle] = &note.table_entry[..] else {
        panic!("one entry: {note:?}")
    };
    assert_eq!(
        (idle.table_id, &idle.r#match),
        (entry.table_id, &entry.r#match)
    );
    assert_eq!(
        (idle.idle_timeout_ns, &idle.metadata[..]),
        (500_000_000, &b"note"[..])
    );
    fixture.step(400 * MS);
    assert_eq!(told(&mut fixture), [], "its timer started again");
    fixture.step(100 * MS);
    assert_eq!(told(&mut fixture).len(), 1);
    let table_id = entry.table_id;
    assert_eq!(
        fixture.entries(v1::TableEntry {
            table_id,
            ..Default::default()
        }),
        [entry]
    );
}
