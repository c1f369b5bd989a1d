//! Requests damaged at random are answered, never with a panic, and leave a server that works.

use crate::p4runtime_fixture::{Fixture, config};
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use proptest::prelude::*;
use prost::Message;

/// Damage: bytes overwritten, and bytes cut off the end.
fn damage() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, usize)> {
    (
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        0..3_usize,
    )
}

/// The message with damage, if it still is one.
fn damaged<M: Message + Default>(
    message: &M,
    (overwrites, cut): &(Vec<(prop::sample::Index, u8)>, usize),
) -> Option<M> {
    let mut bytes = message.encode_to_vec();
    for (index, byte) in overwrites {
        let at = index.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes.truncate(bytes.len() - cut);
    M::decode(&bytes[..]).ok()
}

/// A batch with an update of every kind.
fn batch(fixture: &Fixture) -> v1::WriteRequest {
    let info = &fixture.p4info;
    let id = |found: Option<u32>| found.expect("there");
    let exact = |value: &[u8]| v1::FieldMatch {
        field_id: 1,
        field_match_type: Some(v1::field_match::FieldMatchType::Exact(
            v1::field_match::Exact {
                value: value.to_vec(),
            },
        )),
    };
    let acl = info.table("acl").expect("there").entry();
    let acl = acl
        .ternary("src_addr", [10, 0, 0, 0], [255, 0, 0, 0])
        .expect("valid");
    let acl = acl
        .range("ttl", 1u8, 9u8)
        .expect("valid")
        .action("drop")
        .expect("there");
    let meter_config = v1::MeterConfig {
        cir: 1,
        cburst: 2,
        pir: 3,
        pburst: 4,
        eburst: 0,
    };
    let index = Some(v1::Index { index: 1 });
    let port = Some(v1::replica::PortKind::Port(vec![1]));
    let replicas = vec![v1::Replica {
        port_kind: port,
        instance: 1,
        ..Default::default()
    }];
    let member = v1::ActionProfileMember {
        action_profile_id: id(info.action_profile("ecmp_selector").ok().map(|p| p.id)),
        member_id: 1,
        action: Some(v1::Action {
            action_id: id(info.action("forward").ok().map(|a| a.id)),
            params: vec![v1::action::Param {
                param_id: 1,
                value: vec![1],
            }],
        }),
    };
    let updates = vec![
        Update::insert(fixture.dmac(1, 1)),
        Update::insert(
            acl.priority(1)
                .meter_config(meter_config)
                .build()
                .expect("valid"),
        ),
        Update::modify(v1::DirectCounterEntry {
            table_entry: Some(fixture.dmac(1, 1)),
            data: Some(v1::CounterData {
                byte_count: 1,
                packet_count: 1,
            }),
        }),
        Update::modify(v1::CounterEntry {
            counter_id: id(info.counter("port_counter").ok().map(|c| c.id)),
            index,
            data: Some(v1::CounterData {
                byte_count: 1,
                packet_count: 1,
            }),
        }),
        Update::modify(v1::MeterEntry {
            meter_id: id(info.meter("port_meter").ok().map(|m| m.id)),
            index,
            config: Some(meter_config),
            counter_data: None,
        }),
        Update::modify(v1::RegisterEntry {
            register_id: id(info.register("scratch").ok().map(|r| r.id)),
            index,
            data: Some(v1::P4Data {
                data: Some(v1::p4_data::Data::Bitstring(vec![1])),
            }),
        }),
        Update::modify(v1::ValueSetEntry {
            value_set_id: id(info.value_set("trusted_types").ok().map(|v| v.id)),
            members: vec![v1::ValueSetMember {
                r#match: vec![exact(&[1, 2])],
            }],
        }),
        Update::insert(v1::MulticastGroupEntry {
            multicast_group_id: 1,
            replicas: replicas.clone(),
            metadata: vec![1],
        }),
        Update::insert(v1::CloneSessionEntry {
            session_id: 1,
            replicas,
            ..Default::default()
        }),
        Update::insert(member.clone()),
        Update::insert(v1::ActionProfileGroup {
            action_profile_id: member.action_profile_id,
            group_id: 1,
            members: vec![],
            max_size: 1,
        }),
        Update::insert(v1::DigestEntry {
            digest_id: id(info.digest("learn_t").ok().map(|d| d.id)),
            config: Some(v1::digest_entry::Config::default()),
        }),
    ];
    v1::WriteRequest {
        device_id: 1,
        election_id: Some(1.into()),
        updates,
        ..Default::default()
    }
}

#[test]
fn the_undamaged_batch_succeeds() {
    let (fixture, _stream) = Fixture::ready();
    let device = fixture.runtime.device();
    device
        .write(fixture.now, &batch(&fixture))
        .expect("all of it is valid");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_damaged_write_or_read_does_not_panic(damages in prop::collection::vec(damage(), 8)) {
        let (fixture, _stream) = Fixture::ready();
        let device = fixture.runtime.device();
        let write = batch(&fixture);
        let entities = write.updates.iter().filter_map(|update| update.entity.clone()).collect();
        let read = v1::ReadRequest { device_id: 1, entities, ..Default::default() };
        for damage in &damages {
            if let Some(write) = damaged(&write, damage) {
                let _ = device.write(fixture.now, &write);
            }
            if let Some(read) = damaged(&read, damage) {
                let _ = device.read(fixture.now, &read);
            }
        }
        // What was written by accident reads back, and the server still works.
        let everything = v1::ReadRequest {
            device_id: 1,
            entities: vec![v1::TableEntry::default().into(), v1::MulticastGroupEntry::default().into()],
            ..Default::default()
        };
        let (_, status) = device.read(fixture.now, &everything).expect("a read at all");
        prop_assert!(status.is_ok());
    }

    #[test]
    fn a_damaged_pipeline_config_does_not_panic(damage in damage()) {
        let (fixture, _stream) = Fixture::ready();
        let info = config().p4info.expect("set");
        if let Some(p4info) = damaged(&info, &damage) {
            let config = v1::ForwardingPipelineConfig { p4info: Some(p4info), ..config() };
            let _ = fixture.configure(Action::VerifyAndCommit, Some(config));
        }
        let (overwrites, cut) = &damage;
        let mut program = config().p4_device_config;
        for (index, byte) in overwrites {
            let at = index.index(program.len());
            program[at] = *byte;
        }
        program.truncate(program.len() - cut);
        let config = v1::ForwardingPipelineConfig { p4_device_config: program, ..config() };
        let _ = fixture.configure(Action::VerifyAndCommit, Some(config));
        fixture.set_pipeline(self::config()).expect("the server still works");
    }
}
