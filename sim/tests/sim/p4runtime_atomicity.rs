//! Batches of which all or nothing is applied (P4Runtime specification, "Batch Atomicity").

use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::write_request::Atomicity;
use p4runtime::write_error::{WriteError, code_of};
use tonic::Code;

use crate::p4runtime_fixture::{Fixture, frame};

const BOTH: [Atomicity; 2] = [Atomicity::RollbackOnError, Atomicity::DataplaneAtomic];

fn codes(result: Result<(), WriteError>) -> Vec<Code> {
    match result {
        Err(WriteError::Updates(errors)) => errors.iter().map(code_of).collect(),
        other => panic!("not a failed batch: {other:?}"),
    }
}

fn group(id: u32, ports: &[u8]) -> v1::MulticastGroupEntry {
    let replica = |port: &u8| v1::Replica {
        port_kind: Some(v1::replica::PortKind::Port(vec![*port])),
        ..Default::default()
    };
    v1::MulticastGroupEntry {
        multicast_group_id: id,
        replicas: ports.iter().map(replica).collect(),
        metadata: Vec::new(),
    }
}

fn member(fixture: &Fixture, id: u32) -> v1::ActionProfileMember {
    let profile = fixture.p4info.action_profile("qos_profile").expect("there");
    let action = fixture.p4info.action("set_diffserv").expect("there");
    v1::ActionProfileMember {
        action_profile_id: profile.id,
        member_id: id,
        action: Some(v1::Action {
            action_id: action.id,
            params: vec![v1::action::Param {
                param_id: 1,
                value: vec![1],
            }],
        }),
    }
}

fn register(fixture: &Fixture, value: u8) -> v1::RegisterEntry {
    v1::RegisterEntry {
        register_id: fixture.p4info.register("scratch").expect("there").id,
        index: Some(v1::Index { index: 3 }),
        data: Some(v1::P4Data {
            data: Some(v1::p4_data::Data::Bitstring(vec![value])),
        }),
    }
}

fn digest(fixture: &Fixture, max_list_size: i32) -> v1::DigestEntry {
    v1::DigestEntry {
        digest_id: fixture.p4info.digest("learn_t").expect("there").id,
        config: Some(v1::digest_entry::Config {
            max_list_size,
            ..Default::default()
        }),
    }
}

#[test]
fn a_batch_without_errors_is_applied() {
    for atomicity in BOTH {
        let (mut fixture, _stream) = Fixture::ready();
        let updates = vec![
            Update::insert(fixture.dmac(1, 1)),
            Update::insert(group(5, &[1, 2])),
            Update::insert(member(&fixture, 1)),
        ];
        let written = fixture.write_atomically(atomicity, updates);
        assert!(written.is_ok(), "{atomicity:?}: {written:?}");
        fixture.inject(3, &frame(1, 9));
        assert_eq!(fixture.left(), [(1, frame(1, 9))]);
    }
}

#[test]
fn after_an_error_everything_is_as_before() {
    for atomicity in BOTH {
        let (mut fixture, _stream) = Fixture::ready();
        fixture.must([
            Update::insert(fixture.dmac(1, 1)),
            Update::insert(fixture.dmac(2, 2)),
            Update::insert(group(5, &[1, 2])),
            Update::insert(digest(&fixture, 4)),
            Update::modify(register(&fixture, 9)),
        ]);
        let before = fixture.everything();
        let cookie = v1::TableEntry {
            metadata: b"other".to_vec(),
            ..fixture.dmac(1, 3)
        };
        let updates = vec![
            Update::modify(cookie),
            Update::delete(fixture.dmac(2, 2)),
            Update::insert(fixture.dmac(3, 3)),
            Update::modify(group(5, &[3])),
            Update::insert(member(&fixture, 1)),
            Update::modify(digest(&fixture, 8)),
            Update::modify(register(&fixture, 8)),
            Update::insert(fixture.dmac(3, 3)),
            Update::insert(fixture.dmac(4, 4)),
        ];
        let mut expected = vec![Code::Aborted; 9];
        expected[7] = Code::AlreadyExists;
        assert_eq!(
            codes(fixture.write_atomically(atomicity, updates)),
            expected
        );
        assert_eq!(fixture.everything(), before, "{atomicity:?}");
        fixture.inject(3, &frame(1, 9));
        assert_eq!(fixture.left(), [(1, frame(1, 9))]);
    }
}

#[test]
fn what_a_rolled_back_batch_used_is_free_again() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(member(&fixture, 1))]);
    let qos = |member| v1::TableEntry {
        table_id: fixture.p4info.table("qos").expect("there").id,
        r#match: vec![v1::FieldMatch {
            field_id: 1,
            field_match_type: Some(v1::field_match::FieldMatchType::Exact(
                v1::field_match::Exact { value: vec![17] },
            )),
        }],
        action: Some(v1::TableAction {
            r#type: Some(v1::table_action::Type::ActionProfileMemberId(member)),
        }),
        ..Default::default()
    };
    let updates = vec![Update::insert(qos(1)), Update::insert(qos(1))];
    let failed = fixture.write_atomically(Atomicity::RollbackOnError, updates);
    assert_eq!(codes(failed), [Code::Aborted, Code::AlreadyExists]);
    fixture.must([Update::delete(member(&fixture, 1))]);
}

#[test]
fn meters_and_registers_are_not_changed_atomically_with_tables() {
    let (fixture, _stream) = Fixture::ready();
    let before = fixture.everything();
    let updates = || {
        vec![
            Update::insert(fixture.dmac(1, 1)),
            Update::modify(register(&fixture, 8)),
        ]
    };
    match fixture.write_atomically(Atomicity::DataplaneAtomic, updates()) {
        Err(WriteError::Rpc(status)) => assert_eq!(status.code(), Code::Unimplemented),
        other => panic!("it should have been refused as a whole: {other:?}"),
    }
    assert_eq!(fixture.everything(), before);
    let rolled_back = fixture.write_atomically(Atomicity::RollbackOnError, updates());
    assert!(rolled_back.is_ok(), "{rolled_back:?}");
}

#[test]
fn an_unknown_atomicity_is_invalid() {
    let (fixture, _stream) = Fixture::ready();
    let request = v1::WriteRequest {
        device_id: 1,
        election_id: Some(1.into()),
        atomicity: 17,
        ..Default::default()
    };
    let device = fixture.runtime.device();
    let status = device.write(fixture.now, &request).expect_err("unknown");
    assert_eq!(status.code(), Code::InvalidArgument);
}
