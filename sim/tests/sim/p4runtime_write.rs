//! What a Write accepts and refuses (P4Runtime specification, "P4 Entity Messages", "Write RPC").

use crate::p4runtime_fixture::Fixture;
use p4runtime::p4info::EntryBuilder;
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::field_match::{Exact, FieldMatchType, Lpm, Ternary};
use p4runtime::v1::table_action::Type as TableActionType;
use p4runtime::write_error::{WriteError, code_of};
use sim::runtime::RuntimeConfig;
use sim::server::{Compat, Profile};
use tonic::Code;

/// An entry of a table as the schema's builder begins it.
fn entry<'f>(fixture: &'f Fixture, table: &str) -> EntryBuilder<'f> {
    fixture.p4info.table(table).expect("there").entry()
}

fn acl(fixture: &Fixture, priority: i32) -> v1::TableEntry {
    let build = entry(fixture, "acl")
        .ternary("src_addr", [10, 0, 0, 0], [255, 0, 0, 0])
        .and_then(|e| e.range("ttl", 1u8, 63u8))
        .and_then(|e| e.action("drop"));
    let valid = build.expect("valid").priority(5).build().expect("valid");
    v1::TableEntry { priority, ..valid }
}

fn route(fixture: &Fixture) -> v1::TableEntry {
    entry(fixture, "route")
        .lpm("dst_addr", [10, 0, 0, 0], 8)
        .and_then(|e| e.action("forward"))
        .and_then(|e| e.param("port", 1u16))
        .and_then(EntryBuilder::build)
        .expect("valid")
}

fn default(fixture: &Fixture, table: &str, action: Option<v1::Action>) -> v1::TableEntry {
    let action = action.map(|a| v1::TableAction {
        r#type: Some(TableActionType::Action(a)),
    });
    let table_id = fixture.p4info.table(table).expect("there").id;
    v1::TableEntry {
        table_id,
        is_default_action: true,
        action,
        ..Default::default()
    }
}

fn action(fixture: &Fixture, name: &str, params: &[&[u8]]) -> v1::Action {
    let params = params.iter().zip(1..);
    let params = params
        .map(|(value, param_id)| v1::action::Param {
            param_id,
            value: value.to_vec(),
        })
        .collect();
    v1::Action {
        action_id: fixture.p4info.action(name).expect("there").id,
        params,
    }
}

#[test]
fn insert_modify_and_delete_know_what_exists() {
    let (fixture, _stream) = Fixture::ready();
    let entry = || fixture.dmac(1, 1);
    assert_eq!(fixture.code(Update::modify(entry())), Code::NotFound);
    assert_eq!(fixture.code(Update::delete(entry())), Code::NotFound);
    assert_eq!(fixture.code(Update::insert(entry())), Code::Ok);
    assert_eq!(fixture.code(Update::insert(entry())), Code::AlreadyExists);
    assert_eq!(fixture.code(Update::modify(fixture.dmac(1, 2))), Code::Ok);
    assert_eq!(fixture.code(Update::delete(entry())), Code::Ok);
    assert_eq!(fixture.code(Update::delete(entry())), Code::NotFound);
}

#[test]
fn each_update_of_a_batch_has_its_own_outcome() {
    let (fixture, _stream) = Fixture::ready();
    let updates = vec![
        Update::insert(fixture.dmac(1, 1)),
        Update::delete(fixture.dmac(9, 1)),
        Update::insert(fixture.dmac(2, 1)),
    ];
    let errors = match fixture.write(updates) {
        Err(WriteError::Updates(errors)) => errors,
        other => panic!("one update should have failed: {other:?}"),
    };
    let codes: Vec<Code> = errors.iter().map(code_of).collect();
    assert_eq!(codes, [Code::Ok, Code::NotFound, Code::Ok]);
    assert!(
        errors[1].message.contains("MyIngress.dmac"),
        "{}",
        errors[1].message
    );
    let table_id = fixture.dmac(1, 1).table_id;
    assert_eq!(
        fixture
            .entries(v1::TableEntry {
                table_id,
                ..Default::default()
            })
            .len(),
        2
    );
}

#[test]
fn values_may_be_longer_than_canonical_and_not_larger_than_their_field() {
    let (fixture, _stream) = Fixture::ready();
    let with_value = |value: &[u8]| {
        let mut entry = fixture.dmac(1, 1);
        let exact = Exact {
            value: value.to_vec(),
        };
        entry.r#match[0].field_match_type = Some(FieldMatchType::Exact(exact));
        entry
    };
    assert_eq!(
        fixture.code(Update::insert(with_value(&[0, 0, 0, 0, 0, 0, 0, 0, 9]))),
        Code::Ok
    );
    assert_eq!(
        fixture.code(Update::insert(with_value(&[9]))),
        Code::AlreadyExists
    );
    assert_eq!(
        fixture.code(Update::insert(with_value(&[]))),
        Code::OutOfRange
    );
    let too_large = with_value(&[1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(fixture.code(Update::insert(too_large)), Code::OutOfRange);
    let mut wide_param = fixture.dmac(2, 1);
    if let Some(TableActionType::Action(action)) = wide_param
        .action
        .as_mut()
        .and_then(|action| action.r#type.as_mut())
    {
        action.params[0].value = vec![0x02, 0x00];
    }
    assert_eq!(fixture.code(Update::insert(wide_param)), Code::OutOfRange);
}

#[test]
fn wrong_matches_are_refused() {
    let (fixture, _stream) = Fixture::ready();
    let no_field = v1::TableEntry {
        r#match: vec![],
        ..fixture.dmac(1, 1)
    };
    let mut twice = fixture.dmac(1, 1);
    twice.r#match.push(twice.r#match[0].clone());
    let mut unknown = fixture.dmac(1, 1);
    unknown.r#match[0].field_id = 9;
    let mut other_kind = fixture.dmac(1, 1);
    let lpm = Lpm {
        value: vec![1],
        prefix_len: 8,
    };
    other_kind.r#match[0].field_match_type = Some(FieldMatchType::Lpm(lpm));
    let mut behind_prefix = route(&fixture);
    let lpm = Lpm {
        value: vec![10, 0, 0, 1],
        prefix_len: 8,
    };
    behind_prefix.r#match[0].field_match_type = Some(FieldMatchType::Lpm(lpm));
    let mut outside_mask = acl(&fixture, 5);
    let ternary = Ternary {
        value: vec![10, 1, 0, 0],
        mask: vec![255, 0, 0, 0],
    };
    outside_mask.r#match[0].field_match_type = Some(FieldMatchType::Ternary(ternary));
    let unknown_table = v1::TableEntry {
        table_id: 77,
        ..fixture.dmac(1, 1)
    };
    for entry in [
        no_field,
        twice,
        unknown,
        other_kind,
        behind_prefix,
        outside_mask,
        unknown_table,
    ] {
        assert_eq!(
            fixture.code(Update::insert(entry.clone())),
            Code::InvalidArgument,
            "{entry:?}"
        );
    }
}

#[test]
fn priorities_are_for_ternary_range_and_optional_only() {
    let (fixture, _stream) = Fixture::ready();
    assert_eq!(
        fixture.code(Update::insert(acl(&fixture, 0))),
        Code::InvalidArgument
    );
    assert_eq!(
        fixture.code(Update::insert(acl(&fixture, -1))),
        Code::InvalidArgument
    );
    assert_eq!(fixture.code(Update::insert(acl(&fixture, 1))), Code::Ok);
    assert_eq!(
        fixture.code(Update::insert(acl(&fixture, 2))),
        Code::Ok,
        "another entry"
    );
    assert_eq!(
        fixture.code(Update::insert(acl(&fixture, 2))),
        Code::AlreadyExists
    );
    let exact = v1::TableEntry {
        priority: 1,
        ..fixture.dmac(1, 1)
    };
    assert_eq!(fixture.code(Update::insert(exact)), Code::InvalidArgument);
}

#[test]
fn wrong_actions_are_refused() {
    let (fixture, _stream) = Fixture::ready();
    let with = |action: Option<v1::Action>| {
        let action = action.map(|a| v1::TableAction {
            r#type: Some(TableActionType::Action(a)),
        });
        v1::TableEntry {
            action,
            ..fixture.dmac(1, 1)
        }
    };
    let action = |name, params: &[&[u8]]| Some(action(&fixture, name, params));
    let mut extra = action("forward", &[&[1]]).expect("some");
    extra.params.push(v1::action::Param {
        param_id: 9,
        value: vec![1],
    });
    for (given, code) in [
        (None, Code::InvalidArgument),
        (action("forward", &[]), Code::InvalidArgument),
        (Some(extra), Code::InvalidArgument),
        (action("mirror", &[]), Code::InvalidArgument),
        (action("to_controller", &[&[1]]), Code::PermissionDenied),
    ] {
        assert_eq!(
            fixture.code(Update::insert(with(given.clone()))),
            code,
            "{given:?}"
        );
    }
    let member = v1::TableAction {
        r#type: Some(TableActionType::ActionProfileMemberId(1)),
    };
    let indirect = v1::TableEntry {
        action: Some(member),
        ..fixture.dmac(1, 1)
    };
    assert_eq!(
        fixture.code(Update::insert(indirect)),
        Code::InvalidArgument
    );
}

#[test]
fn a_modify_without_an_action_keeps_the_action() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(fixture.dmac(1, 3))]);
    let bare = v1::TableEntry {
        action: None,
        metadata: b"m".to_vec(),
        ..fixture.dmac(1, 3)
    };
    fixture.must([Update::modify(bare)]);
    let table_id = fixture.dmac(1, 3).table_id;
    let read = fixture.entries(v1::TableEntry {
        table_id,
        ..Default::default()
    });
    assert_eq!(
        read,
        [v1::TableEntry {
            metadata: b"m".to_vec(),
            ..fixture.dmac(1, 3)
        }]
    );
}

#[test]
fn the_default_entry_is_modified_and_reset() {
    let (fixture, _stream) = Fixture::ready();
    let original = fixture.entries(default(&fixture, "dmac", None));
    let forward = default(&fixture, "dmac", Some(action(&fixture, "forward", &[&[2]])));
    assert_eq!(
        fixture.code(Update::insert(forward.clone())),
        Code::InvalidArgument
    );
    assert_eq!(
        fixture.code(Update::delete(forward.clone())),
        Code::InvalidArgument
    );
    assert_eq!(fixture.code(Update::modify(forward.clone())), Code::Ok);
    assert_eq!(
        fixture.entries(default(&fixture, "dmac", None)),
        std::slice::from_ref(&forward)
    );
    fixture.must([Update::modify(default(&fixture, "dmac", None))]);
    assert_eq!(fixture.entries(default(&fixture, "dmac", None)), original);

    let with_match = v1::TableEntry {
        r#match: fixture.dmac(1, 1).r#match,
        ..forward.clone()
    };
    assert_eq!(
        fixture.code(Update::modify(with_match)),
        Code::InvalidArgument
    );
    let table_only = default(&fixture, "dmac", Some(action(&fixture, "drop", &[])));
    assert_eq!(
        fixture.code(Update::modify(table_only)),
        Code::PermissionDenied
    );
    let constant = default(
        &fixture,
        "route",
        Some(action(&fixture, "forward", &[&[1]])),
    );
    assert_eq!(
        fixture.code(Update::modify(constant)),
        Code::PermissionDenied
    );
}

#[test]
fn const_entries_are_not_written() {
    let (fixture, _stream) = Fixture::ready();
    let lldp = entry(&fixture, "ethertype")
        .exact("ether_type", 0x88ccu16)
        .expect("valid");
    let key = lldp.build_key().expect("valid");
    let no_action = TableActionType::Action(action(&fixture, "NoAction", &[]));
    let action = Some(v1::TableAction {
        r#type: Some(no_action),
    });
    let lldp = v1::TableEntry {
        action,
        ..key.clone()
    };
    assert_eq!(
        fixture.code(Update::insert(lldp.clone())),
        Code::PermissionDenied
    );
    assert_eq!(
        fixture.code(Update::modify(lldp.clone())),
        Code::PermissionDenied
    );
    assert_eq!(
        fixture.code(Update::delete(lldp.clone())),
        Code::PermissionDenied
    );
    assert_eq!(
        fixture.code(Update::modify(key)),
        Code::Ok,
        "changes nothing"
    );
    let is_const = v1::TableEntry {
        is_const: true,
        ..fixture.dmac(1, 1)
    };
    assert_eq!(
        fixture.code(Update::insert(is_const)),
        Code::InvalidArgument
    );
}

#[test]
fn a_full_table_is_resource_exhausted() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must((1..=8).map(|mac| Update::insert(fixture.dmac(mac, 1))));
    assert_eq!(
        fixture.code(Update::insert(fixture.dmac(9, 1))),
        Code::ResourceExhausted
    );
    fixture.must([Update::delete(fixture.dmac(1, 1))]);
    assert_eq!(fixture.code(Update::insert(fixture.dmac(9, 1))), Code::Ok);
}

#[test]
fn a_profile_bounds_groups_and_sessions() {
    let mut config = RuntimeConfig::default();
    config.switch.limits = Profile::Bmv2.limits();
    config.switch.limits.multicast_groups = Some(1);
    let fixture = Fixture::bare(config);
    let _stream = fixture.primary(1);
    fixture
        .set_pipeline(crate::p4runtime_fixture::config())
        .expect("good");
    let group = |multicast_group_id| v1::MulticastGroupEntry {
        multicast_group_id,
        ..Default::default()
    };
    assert_eq!(fixture.code(Update::insert(group(1))), Code::Ok);
    assert_eq!(
        fixture.code(Update::insert(group(2))),
        Code::ResourceExhausted
    );
}

#[test]
fn idle_timeouts_are_for_tables_that_have_them() {
    let (fixture, _stream) = Fixture::ready();
    let with = |idle_timeout_ns| v1::TableEntry {
        idle_timeout_ns,
        ..fixture.dmac(1, 1)
    };
    assert_eq!(
        fixture.code(Update::insert(with(1_000))),
        Code::InvalidArgument
    );
    let smac = entry(&fixture, "smac")
        .exact("src_addr", [2, 0, 0, 0, 0, 1])
        .expect("valid");
    let smac = smac
        .action("NoAction")
        .expect("there")
        .build()
        .expect("valid");
    let with = |idle_timeout_ns| v1::TableEntry {
        idle_timeout_ns,
        ..smac.clone()
    };
    assert_eq!(
        fixture.code(Update::insert(with(-1))),
        Code::InvalidArgument
    );
    assert_eq!(fixture.code(Update::insert(with(1_000))), Code::Ok);
}

#[test]
fn counters_are_set_within_their_array() {
    let (fixture, _stream) = Fixture::ready();
    let counter = |index, data| v1::CounterEntry {
        counter_id: fixture.p4info.counter("port_counter").expect("there").id,
        index: Some(v1::Index { index }),
        data,
    };
    let data = Some(v1::CounterData {
        byte_count: 100,
        packet_count: 2,
    });
    assert_eq!(fixture.code(Update::modify(counter(3, data))), Code::Ok);
    assert_eq!(
        fixture.read(counter(3, None)),
        [v1::Entity::from(counter(3, data)).entity.expect("set")]
    );
    assert_eq!(
        fixture.code(Update::modify(counter(16, data))),
        Code::OutOfRange
    );
    assert_eq!(
        fixture.code(Update::modify(counter(-1, data))),
        Code::InvalidArgument
    );
    assert_eq!(
        fixture.code(Update::insert(counter(3, data))),
        Code::InvalidArgument
    );
    let negative = Some(v1::CounterData {
        byte_count: -1,
        packet_count: 0,
    });
    assert_eq!(
        fixture.code(Update::modify(counter(3, negative))),
        Code::InvalidArgument
    );
}

#[test]
fn meters_take_sane_rates_and_reset_without_a_config() {
    let (fixture, _stream) = Fixture::ready();
    let meter = |config| v1::MeterEntry {
        meter_id: fixture.p4info.meter("port_meter").expect("there").id,
        index: Some(v1::Index { index: 1 }),
        config,
        counter_data: None,
    };
    let good = v1::MeterConfig {
        cir: 10,
        cburst: 20,
        pir: 30,
        pburst: 40,
        eburst: 0,
    };
    fixture.must([Update::modify(meter(Some(good)))]);
    let read = |config| v1::Entity::from(meter(config)).entity.expect("set");
    assert_eq!(fixture.read(meter(None)), [read(Some(good))]);
    fixture.must([Update::modify(meter(None))]);
    assert_eq!(fixture.read(meter(None)), [read(None)]);
    for bad in [
        v1::MeterConfig { pir: 5, ..good },
        v1::MeterConfig { eburst: 1, ..good },
        v1::MeterConfig { cburst: -1, ..good },
    ] {
        assert_eq!(
            fixture.code(Update::modify(meter(Some(bad)))),
            Code::InvalidArgument
        );
    }
}

#[test]
fn registers_are_written_unless_like_bmv2() {
    let register = |fixture: &Fixture, value: &[u8]| v1::RegisterEntry {
        register_id: fixture.p4info.register("scratch").expect("there").id,
        index: Some(v1::Index { index: 2 }),
        data: Some(v1::P4Data {
            data: Some(v1::p4_data::Data::Bitstring(value.to_vec())),
        }),
    };
    let (fixture, _stream) = Fixture::ready();
    assert_eq!(
        fixture.code(Update::modify(register(&fixture, &[1, 2]))),
        Code::Ok
    );
    let expected = v1::Entity::from(register(&fixture, &[1, 2]))
        .entity
        .expect("set");
    assert_eq!(fixture.read(register(&fixture, &[])), [expected]);
    let wide = register(&fixture, &[1, 0, 0, 0, 0]);
    assert_eq!(fixture.code(Update::modify(wide)), Code::InvalidArgument);
    let (fixture, _stream) = Fixture::ready_as(Compat::Bmv2);
    assert_eq!(
        fixture.code(Update::modify(register(&fixture, &[1]))),
        Code::Unimplemented
    );
}

#[test]
fn a_value_set_is_replaced_as_a_whole() {
    let (fixture, _stream) = Fixture::ready();
    let value_set = |values: &[u16]| v1::ValueSetEntry {
        value_set_id: fixture.p4info.value_set("trusted_types").expect("there").id,
        members: values
            .iter()
            .map(|value| v1::ValueSetMember {
                r#match: vec![v1::FieldMatch {
                    field_id: 1,
                    field_match_type: Some(FieldMatchType::Exact(Exact {
                        value: value.to_be_bytes().to_vec(),
                    })),
                }],
            })
            .collect(),
    };
    fixture.must([Update::modify(value_set(&[0x88cc, 0x8809]))]);
    let expected = v1::Entity::from(value_set(&[0x88cc, 0x8809]))
        .entity
        .expect("set");
    assert_eq!(fixture.read(value_set(&[])), [expected]);
    assert_eq!(
        fixture.code(Update::insert(value_set(&[0x88cc]))),
        Code::InvalidArgument
    );
    assert_eq!(
        fixture.code(Update::modify(value_set(&[0x88cc, 0x88cc]))),
        Code::AlreadyExists
    );
    let five = value_set(&[0x8801, 0x8802, 0x8803, 0x8804, 0x8805]);
    assert_eq!(fixture.code(Update::modify(five)), Code::ResourceExhausted);
    fixture.must([Update::modify(value_set(&[]))]);
}
