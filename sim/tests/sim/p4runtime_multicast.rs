//! Multicast groups and clone sessions (P4Runtime specification, "PacketReplicationEngineEntry").

use crate::p4runtime_fixture::{Fixture, frame};
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::entity::Entity as Kind;
use p4runtime::v1::packet_replication_engine_entry::Type;
use p4runtime::v1::replica::PortKind;
use tonic::Code;

fn replica(port: &[u8], instance: u32) -> v1::Replica {
    let port_kind = Some(PortKind::Port(port.to_vec()));
    v1::Replica {
        port_kind,
        instance,
        ..Default::default()
    }
}

fn group(id: u32, replicas: &[(u8, u32)]) -> v1::MulticastGroupEntry {
    v1::MulticastGroupEntry {
        multicast_group_id: id,
        replicas: replicas
            .iter()
            .map(|&(port, instance)| replica(&[port], instance))
            .collect(),
        metadata: vec![],
    }
}

fn groups(fixture: &Fixture, id: u32) -> Result<Vec<v1::MulticastGroupEntry>, Code> {
    let group = |kind| match kind {
        Kind::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry {
            r#type: Some(Type::MulticastGroupEntry(group)),
        }) => group,
        other => panic!("not a group: {other:?}"),
    };
    Ok(fixture
        .try_read(self::group(id, &[]))?
        .into_iter()
        .map(group)
        .collect())
}

#[test]
fn a_group_reads_back_as_written_metadata_included() {
    let (fixture, _stream) = Fixture::ready();
    let one = v1::MulticastGroupEntry {
        metadata: b"mine".to_vec(),
        ..group(1, &[(1, 1), (2, 7)])
    };
    fixture.must([Update::insert(one.clone()), Update::insert(group(2, &[]))]);
    assert_eq!(groups(&fixture, 1), Ok(vec![one.clone()]));
    let mut all = groups(&fixture, 0).expect("readable");
    all.sort_by_key(|group| group.multicast_group_id);
    assert_eq!(all, [one, group(2, &[])]);
    assert_eq!(groups(&fixture, 3), Err(Code::NotFound));
}

#[test]
fn ports_given_as_numbers_come_back_as_numbers() {
    let (fixture, _stream) = Fixture::ready();
    #[allow(deprecated)]
    let port_kind = Some(PortKind::EgressPort(3));
    let replicas = vec![v1::Replica {
        port_kind,
        instance: 1,
        ..Default::default()
    }];
    let old = v1::MulticastGroupEntry {
        replicas,
        ..group(1, &[])
    };
    fixture.must([Update::insert(old.clone())]);
    assert_eq!(groups(&fixture, 1), Ok(vec![old]));
}

#[test]
fn every_replica_gets_a_copy_until_the_group_is_gone() {
    let (mut fixture, _stream) = Fixture::ready();
    let flood = fixture.p4info.table("dmac").expect("there").entry();
    let flood = flood.exact("dst_addr", [2, 0, 0, 0, 0, 1]).expect("valid");
    let flood = flood
        .action("broadcast")
        .expect("there")
        .param("group", 5u16)
        .expect("valid");
    fixture.must([
        Update::insert(flood.build().expect("valid")),
        Update::insert(group(5, &[(2, 1), (3, 1), (3, 2)])),
    ]);
    fixture.inject(1, &frame(1, 9));
    let copies: Vec<usize> = fixture.left().into_iter().map(|(port, _)| port).collect();
    assert_eq!(copies, [2, 3, 3]);
    fixture.must([Update::modify(group(5, &[(4, 1)]))]);
    fixture.inject(1, &frame(1, 9));
    assert_eq!(fixture.left(), [(4, frame(1, 9))]);
    fixture.must([Update::delete(group(5, &[]))]);
    fixture.inject(1, &frame(1, 9));
    assert_eq!(fixture.left(), []);
}

#[test]
fn wrong_groups_are_refused() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(group(1, &[]))]);
    let backup = v1::BackupReplica {
        port: vec![2],
        instance: 2,
    };
    let with_backup = v1::Replica {
        backup_replicas: vec![backup],
        ..replica(&[1], 1)
    };
    let with = |replicas| v1::MulticastGroupEntry {
        replicas,
        ..group(9, &[])
    };
    for (update, code) in [
        (Update::insert(group(1, &[])), Code::AlreadyExists),
        (Update::modify(group(2, &[])), Code::NotFound),
        (Update::delete(group(2, &[])), Code::NotFound),
        (Update::insert(group(0, &[])), Code::InvalidArgument),
        (Update::insert(group(65_536, &[])), Code::InvalidArgument),
        (
            Update::insert(group(9, &[(1, 1), (1, 1)])),
            Code::InvalidArgument,
        ),
        (
            Update::insert(group(9, &[(1, 65_536)])),
            Code::InvalidArgument,
        ),
        (
            Update::insert(with(vec![replica(&[], 1)])),
            Code::OutOfRange,
        ),
        (
            Update::insert(with(vec![v1::Replica::default()])),
            Code::InvalidArgument,
        ),
        (Update::insert(with(vec![with_backup])), Code::Unimplemented),
    ] {
        assert_eq!(fixture.code(update.clone()), code, "{update:?}");
    }
}

#[test]
fn a_clone_session_reads_back_as_written() {
    let (fixture, _stream) = Fixture::ready();
    let session = v1::CloneSessionEntry {
        session_id: 5,
        replicas: vec![replica(&[0x01, 0xfe], 3)],
        class_of_service: 1,
        packet_length_bytes: 64,
    };
    fixture.must([Update::insert(session.clone())]);
    let read = fixture.read(v1::CloneSessionEntry::default());
    let expected = v1::Entity::from(session.clone()).entity.expect("set");
    assert_eq!(read, [expected]);
    fixture.must([Update::delete(session)]);
    assert_eq!(fixture.read(v1::CloneSessionEntry::default()), []);
    let zero = v1::CloneSessionEntry::default();
    assert_eq!(fixture.code(Update::insert(zero)), Code::InvalidArgument);
}
