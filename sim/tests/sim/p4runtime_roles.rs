//! Roles: several primaries, each with its part of the pipeline (P4Runtime specification, "Client
//! Arbitration and Controller Replication", "Role Config").

use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use p4runtime::write_error::{WriteError, code_of};
use prost::Message;
use sim::runtime::RuntimeConfig;
use sim::server::ControllerStream;
use tonic::{Code, Status};

use crate::p4runtime_fixture::{Fixture, arbitration, config, frame, next};

/// `stream` asks to be primary of `role`.
fn bid(
    fixture: &Fixture,
    stream: &ControllerStream,
    role: v1::Role,
    election_id: u128,
) -> Result<(), Status> {
    let update = v1::MasterArbitrationUpdate {
        device_id: 1,
        role: Some(role),
        election_id: Some(election_id.into()),
        status: None,
    };
    let update = Some(Request::Arbitration(update));
    stream.send(fixture.now, v1::StreamMessageRequest { update })
}

fn role(name: &str) -> v1::Role {
    v1::Role {
        name: name.to_owned(),
        ..Default::default()
    }
}

/// A new stream that is primary of `role`.
fn primary(fixture: &Fixture, role: v1::Role) -> ControllerStream {
    let mut stream = fixture.runtime.device().open_stream();
    bid(fixture, &stream, role, 1).expect("accepted");
    assert_eq!(arbitration(&mut stream), (Code::Ok, 1));
    stream
}

fn write(fixture: &Fixture, role: &str, update: Update) -> Code {
    let request = v1::WriteRequest {
        device_id: 1,
        role: role.to_owned(),
        election_id: Some(1.into()),
        updates: vec![update],
        ..Default::default()
    };
    let written = fixture.runtime.device().write(fixture.now, &request);
    match written.map_err(WriteError::from) {
        Ok(()) => Code::Ok,
        Err(WriteError::Updates(errors)) => code_of(&errors[0]),
        Err(WriteError::Rpc(status)) => status.code(),
    }
}

/// The tables whose entries a role reads.
fn tables(fixture: &Fixture, role: &str) -> Vec<String> {
    let request = v1::ReadRequest {
        device_id: 1,
        role: role.to_owned(),
        entities: vec![v1::TableEntry::default().into()],
    };
    let device = fixture.runtime.device();
    let (found, status) = device.read(fixture.now, &request).expect("readable");
    status.expect("readable");
    let name = |entity: &v1::Entity| match &entity.entity {
        Some(v1::entity::Entity::TableEntry(entry)) => {
            let table = fixture.p4info.tables().by_id(entry.table_id);
            table.expect("known").alias.clone()
        }
        other => panic!("not an entry: {other:?}"),
    };
    let mut names: Vec<String> = found.iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// `everything.p4` as if `@p4runtime_role` stood before some of its objects.
fn annotated() -> v1::ForwardingPipelineConfig {
    let mut config = config();
    let p4info = config.p4info.as_mut().expect("set");
    let preambles = (p4info.tables.iter_mut().map(|o| &mut o.preamble))
        .chain(p4info.digests.iter_mut().map(|o| &mut o.preamble))
        .chain(
            p4info
                .controller_packet_metadata
                .iter_mut()
                .map(|o| &mut o.preamble),
        );
    for preamble in preambles.flatten() {
        let owner = match &preamble.alias[..] {
            "dmac" => "bridging",
            "learn_t" => "learning",
            "packet_in" | "packet_out" => "packets",
            _ => continue,
        };
        let annotation = format!("@p4runtime_role(\"{owner}\")");
        preamble.annotations.push(annotation);
    }
    config
}

fn stratum(exclusive: &[u32], shared: &[u32], packets: bool) -> prost_types::Any {
    /// `stratum.P4RoleConfig`, as much of it as is sent here.
    #[derive(Clone, PartialEq, Message)]
    struct P4RoleConfig {
        #[prost(uint32, repeated, tag = "1")]
        exclusive_p4_ids: Vec<u32>,
        #[prost(uint32, repeated, tag = "2")]
        shared_p4_ids: Vec<u32>,
        #[prost(bool, tag = "4")]
        receives_packet_ins: bool,
    }
    let config = P4RoleConfig {
        exclusive_p4_ids: exclusive.to_vec(),
        shared_p4_ids: shared.to_vec(),
        receives_packet_ins: packets,
    };
    prost_types::Any {
        type_url: "type.googleapis.com/stratum.P4RoleConfig".into(),
        value: config.encode_to_vec(),
    }
}

#[test]
fn each_role_has_its_own_primary_and_election() {
    let (fixture, _default) = Fixture::ready();
    let _a = primary(&fixture, role("a"));
    let mut b = primary(&fixture, role("b"));
    let mut second = fixture.runtime.device().open_stream();
    bid(&fixture, &second, role("b"), 2).expect("accepted");
    assert_eq!(arbitration(&mut second), (Code::Ok, 2));
    assert_eq!(arbitration(&mut b), (Code::AlreadyExists, 2));
    let update = || Update::insert(fixture.dmac(1, 1));
    assert_eq!(write(&fixture, "b", update()), Code::PermissionDenied);
    assert_eq!(write(&fixture, "a", update()), Code::Ok);
    assert_eq!(write(&fixture, "", update()), Code::AlreadyExists);
}

#[test]
fn a_role_that_nobody_asked_for_is_not_found() {
    let (fixture, _default) = Fixture::ready();
    let update = Update::insert(fixture.dmac(1, 1));
    assert_eq!(write(&fixture, "observer", update), Code::NotFound);
    let request = v1::ReadRequest {
        device_id: 1,
        role: "observer".into(),
        ..Default::default()
    };
    let device = fixture.runtime.device();
    let status = device.read(fixture.now, &request).expect_err("no role");
    assert_eq!(status.code(), Code::NotFound);
}

#[test]
fn a_stream_keeps_its_role() {
    let (fixture, _default) = Fixture::ready();
    let stream = primary(&fixture, role("a"));
    let status = bid(&fixture, &stream, role("b"), 1).expect_err("another role");
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[test]
fn an_annotated_table_is_its_roles_and_the_default_roles() {
    let (fixture, _default) = Fixture::ready();
    fixture.set_pipeline(annotated()).expect("good");
    let _bridging = primary(&fixture, role("bridging"));
    let _other = primary(&fixture, role("other"));
    let dmac = |mac| Update::insert(fixture.dmac(mac, 1));
    assert_eq!(write(&fixture, "bridging", dmac(1)), Code::Ok);
    assert_eq!(write(&fixture, "", dmac(2)), Code::Ok);
    assert_eq!(write(&fixture, "other", dmac(3)), Code::PermissionDenied);
    let ethertype = fixture.p4info.table("ethertype").expect("there").id;
    let default = v1::TableEntry {
        table_id: ethertype,
        is_default_action: true,
        ..Default::default()
    };
    let denied = write(&fixture, "bridging", Update::modify(default.clone()));
    assert_eq!(denied, Code::PermissionDenied, "it is not bridging's");
    assert_eq!(write(&fixture, "other", Update::modify(default)), Code::Ok);
}

#[test]
fn a_role_reads_what_is_its_own() {
    let (fixture, _default) = Fixture::ready();
    fixture.set_pipeline(annotated()).expect("good");
    fixture.must([Update::insert(fixture.dmac(1, 1))]);
    assert_eq!(tables(&fixture, ""), ["dmac", "ethertype"]);
    assert_eq!(tables(&fixture, "bridging"), ["dmac"]);
    let _other = primary(&fixture, role("other"));
    assert_eq!(tables(&fixture, "other"), ["ethertype"]);
}

#[test]
fn digests_and_packets_go_to_the_roles_that_have_them() {
    let (mut fixture, mut default) = Fixture::ready();
    fixture.set_pipeline(annotated()).expect("good");
    let mut learning = primary(&fixture, role("learning"));
    let mut packets = primary(&fixture, role("packets"));
    let digest = v1::DigestEntry {
        digest_id: fixture.p4info.digest("learn_t").expect("there").id,
        config: Some(v1::digest_entry::Config {
            max_list_size: 1,
            ..Default::default()
        }),
    };
    fixture.must([Update::insert(digest)]);
    // Unknown to smac, a digest; unknown to dmac, a packet for the controller.
    fixture.inject(2, &frame(8, 9));
    fixture.step(Duration::from_millis(1));
    let kinds = |stream: &mut ControllerStream| {
        let mut kinds = Vec::new();
        while let Some(Ok(message)) = stream.try_recv() {
            kinds.push(match message.update {
                Some(Response::Digest(_)) => "digest",
                Some(Response::Packet(_)) => "packet",
                other => panic!("neither: {other:?}"),
            });
        }
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(kinds(&mut default), ["digest", "packet"]);
    assert_eq!(kinds(&mut learning), ["digest"]);
    assert_eq!(kinds(&mut packets), ["packet"]);
    let out = v1::PacketOut {
        payload: frame(1, 2),
        metadata: Vec::new(),
    };
    let update = Some(Request::Packet(out));
    learning
        .send(fixture.now, v1::StreamMessageRequest { update })
        .expect("the stream stays");
    match next(&mut learning) {
        Response::Error(error) => {
            assert_eq!(Code::from(error.canonical_code), Code::PermissionDenied)
        }
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn a_role_config_lists_what_the_role_may_write() {
    let (mut fixture, _default) = Fixture::ready();
    let id = |name| fixture.p4info.table(name).expect("there").id;
    let (dmac, smac) = (id("dmac"), id("smac"));
    let with = |name, config| v1::Role {
        config: Some(config),
        ..role(name)
    };
    let mut a = primary(&fixture, with("a", stratum(&[dmac], &[], false)));
    let mut b = primary(&fixture, with("b", stratum(&[], &[smac], true)));
    let _free = primary(&fixture, role("free"));
    let update = || Update::insert(fixture.dmac(1, 1));
    assert_eq!(write(&fixture, "b", update()), Code::PermissionDenied);
    assert_eq!(write(&fixture, "free", update()), Code::PermissionDenied);
    assert_eq!(write(&fixture, "a", update()), Code::Ok);
    fixture.inject(2, &frame(8, 9));
    assert!(matches!(next(&mut b), Response::Packet(_)));
    assert!(a.try_recv().is_none(), "it receives no packets");
}

#[test]
fn a_role_config_of_an_unknown_scheme_ends_the_stream() {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let stream = fixture.runtime.device().open_stream();
    let config = prost_types::Any {
        type_url: "type.googleapis.com/somebody.Config".into(),
        value: Vec::new(),
    };
    let role = v1::Role {
        config: Some(config),
        ..role("a")
    };
    let status = bid(&fixture, &stream, role, 1).expect_err("unknown");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[test]
fn the_role_config_of_the_primary_is_told_to_everybody() {
    let (fixture, _default) = Fixture::ready();
    let config = stratum(&[1], &[], true);
    let with = v1::Role {
        config: Some(config.clone()),
        ..role("a")
    };
    let _first = primary(&fixture, with);
    let mut second = fixture.runtime.device().open_stream();
    bid(&fixture, &second, role("a"), 0).expect("accepted");
    match next(&mut second) {
        Response::Arbitration(update) => {
            assert_eq!(update.role.expect("named").config, Some(config));
        }
        other => panic!("not an arbitration: {other:?}"),
    }
}
