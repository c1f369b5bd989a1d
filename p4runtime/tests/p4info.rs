//! The P4Info view on a small program: lookups, entities built and read back, and refusals.

#![allow(clippy::unwrap_used)] // What helpers of tests meet fails the test.

use std::time::Duration;

use p4runtime::bytes::Bitstring;
use p4runtime::p4info::{
    DataType, EntityError, LoadError, LookupError, MatchKind, MatchValue, Named, P4Info, Scope,
    TableActionView,
};
use p4runtime::v1;
use prost::Message;
use tonic::Code;

const TEXT: &str = include_str!("data/l2.p4info.txtpb");
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

fn l2() -> P4Info {
    P4Info::from_text(TEXT).unwrap()
}

#[test]
fn objects_are_found_by_full_name_alias_suffix_and_id() {
    let p4info = l2();
    let id = p4info.table("MyIngress.dmac").unwrap().id;
    assert_eq!(p4info.table("dmac").unwrap().id, id);
    assert_eq!(p4info.table_by_id(id).unwrap().name, "MyIngress.dmac");
    let dmac = p4info.table("dmac").unwrap();
    assert_eq!(
        dmac.match_fields.get("dst_addr").unwrap().name,
        "hdr.eth.dst_addr"
    );
    assert_eq!(dmac.match_fields.get("eth.dst_addr").unwrap().id, 1);
    assert_eq!(p4info.pkg_info().unwrap().arch, "v1model");
}

#[test]
fn an_unknown_name_comes_with_the_nearest_known_names() {
    let error = l2().table("dmca").unwrap_err();
    let LookupError::UnknownName { ref nearest, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(nearest[0], "MyIngress.dmac");
    assert!(
        error
            .to_string()
            .starts_with("P4Info has no table named \"dmca\"; nearest: ")
    );
    let error = l2()
        .table("dmac")
        .unwrap()
        .entry()
        .exact("dst_adr", MAC)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "table MyIngress.dmac has no match field named \"dst_adr\"; nearest: hdr.eth.dst_addr"
    );
}

#[test]
fn a_suffix_that_two_objects_share_is_ambiguous() {
    let error = l2().table("acl").unwrap_err();
    assert!(
        matches!(error, LookupError::Ambiguous { ref candidates, .. }
        if *candidates == ["MyIngress.acl", "MyEgress.acl"])
    );
}

#[test]
fn a_table_knows_what_belongs_to_it() {
    let p4info = l2();
    let smac = p4info.table("smac").unwrap();
    assert!(smac.idle_timeout && !smac.needs_priority());
    assert_eq!(smac.const_default_action.as_ref().unwrap().name, "NoAction");
    assert_eq!(
        smac.actions.get("NoAction").unwrap().scope,
        Scope::DefaultOnly
    );
    let dmac = p4info.table("dmac").unwrap();
    assert_eq!(dmac.size, 4096);
    assert_eq!(
        dmac.direct_counter.as_ref().unwrap().name,
        "MyIngress.dmac_packets"
    );
    assert_eq!(
        dmac.direct_meter.as_ref().unwrap().name,
        "MyIngress.dmac_meter"
    );
    let acl = p4info.table("MyIngress.acl").unwrap();
    let kinds: Vec<_> = acl
        .match_fields
        .iter()
        .map(|field| field.kind.clone())
        .collect();
    assert_eq!(
        kinds,
        [
            MatchKind::Ternary,
            MatchKind::Lpm,
            MatchKind::Range,
            MatchKind::Optional
        ]
    );
    assert_eq!(
        acl.initial_default_action.as_ref().unwrap().action_id,
        0x0100_0001
    );
    let ecmp = p4info
        .table("ecmp")
        .unwrap()
        .implementation
        .clone()
        .unwrap();
    assert!(ecmp.with_selector);
    assert_eq!((ecmp.size, ecmp.max_group_size), (256, 16));
    let fixed = p4info.table("MyEgress.acl").unwrap();
    assert!(fixed.is_const && fixed.has_initial_entries);
}

#[test]
fn every_kind_of_object_is_there() {
    let p4info = l2();
    assert_eq!(p4info.counter("port_packets").unwrap().size, 512);
    assert_eq!(p4info.meter("port_meter").unwrap().size, 512);
    assert_eq!(
        p4info.register("deadline").unwrap().data_type,
        DataType::Bit(48)
    );
    assert_eq!(p4info.value_set("services").unwrap().match_fields.len(), 1);
    assert_eq!(p4info.direct_meters().len(), 1);
    assert_eq!(
        p4info
            .action("forward")
            .unwrap()
            .params
            .get("port")
            .unwrap()
            .bitwidth,
        9
    );
    assert_eq!(
        p4info.controller_packets().iter().next().unwrap().name(),
        "packet_in"
    );
}

#[test]
fn an_exact_entry_is_built_and_read_back() {
    let p4info = l2();
    let smac = p4info.table("smac").unwrap();
    let entry = smac
        .entry()
        .exact("src_addr", MAC)
        .unwrap()
        .exact("ingress_port", 7u16)
        .unwrap();
    let entry = entry
        .action("known")
        .unwrap()
        .idle_timeout(Duration::from_secs(300));
    let entry = entry.metadata(*b"cookie").build().unwrap();
    assert_eq!(entry.table_id, 0x0200_0001);
    assert_eq!(entry.idle_timeout_ns, 300_000_000_000);
    let view = p4info.decode_entry(&entry).unwrap();
    assert_eq!(view.exact("hdr.eth.src_addr").unwrap().to_mac(), Ok(MAC));
    assert_eq!(view.exact("ingress_port").unwrap().to_u16(), Ok(7));
    assert_eq!(view.action_name(), Some("MyIngress.known"));
    assert_eq!(view.idle_timeout, Duration::from_secs(300));
    assert_eq!(view.metadata, b"cookie");
}

#[test]
fn values_go_on_the_wire_in_canonical_form() {
    let p4info = l2();
    let dmac = p4info.table("dmac").unwrap();
    let entry = dmac.entry().exact("dst_addr", [0, 0, 0, 0, 1, 2]).unwrap();
    let entry = entry
        .action("forward")
        .unwrap()
        .param("port", 0u64)
        .unwrap()
        .build()
        .unwrap();
    let Some(v1::field_match::FieldMatchType::Exact(exact)) = &entry.r#match[0].field_match_type
    else {
        panic!("{entry:?}")
    };
    assert_eq!(exact.value, [1, 2]);
    let view = p4info.decode_entry(&entry).unwrap();
    assert_eq!(view.param("port").unwrap().as_bytes(), [0]);
}

#[test]
fn an_entry_with_every_other_kind_of_match_is_built_and_read_back() {
    let p4info = l2();
    let acl = p4info.table("MyIngress.acl").unwrap();
    let entry = acl
        .entry()
        .ternary("src_addr", [10, 0, 0, 1], [255, 0, 0, 255])
        .unwrap();
    let entry = entry.lpm("dst_addr", [10, 1, 0, 0], 16).unwrap();
    let entry = entry
        .range("dst_port", 1000u16, 2000u16)
        .unwrap()
        .optional("vid", 5u16)
        .unwrap();
    let entry = entry.action("rewrite").unwrap().param("vid", 6u16).unwrap();
    let entry = entry
        .param("dst_addr", MAC)
        .unwrap()
        .priority(10)
        .build()
        .unwrap();
    let view = acl.decode(&entry).unwrap();
    assert_eq!(view.priority, 10);
    assert_eq!(
        view.field("hdr.ipv4.dst_addr").unwrap(),
        Some(&MatchValue::Lpm {
            value: [10, 1, 0, 0].into(),
            prefix_len: 16
        })
    );
    assert_eq!(view.fields().count(), 4);
    let params: Vec<_> = view
        .call()
        .unwrap()
        .params()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(params, ["dst_addr", "vid"]);
}

#[test]
fn a_match_of_anything_is_left_out() {
    let p4info = l2();
    let acl = p4info.table("MyIngress.acl").unwrap();
    let entry = acl.entry().ternary("src_addr", 0u8, 0u8).unwrap();
    let entry = entry
        .lpm("dst_addr", 0u8, 0)
        .unwrap()
        .range("dst_port", 0u8, 65535u16)
        .unwrap();
    let entry = entry
        .action("NoAction")
        .unwrap()
        .priority(1)
        .build()
        .unwrap();
    assert!(entry.r#match.is_empty());
    assert!(
        acl.decode(&entry)
            .unwrap()
            .matches
            .iter()
            .all(Option::is_none)
    );
}

#[test]
fn what_does_not_fit_the_table_is_refused() {
    let p4info = l2();
    let dmac = p4info.table("dmac").unwrap();
    let acl = p4info.table("MyIngress.acl").unwrap();
    let key = || dmac.entry().exact("dst_addr", MAC).unwrap();
    let forward = || key().action("forward").unwrap();

    let refused = |result: Result<v1::TableEntry, EntityError>| result.unwrap_err().to_string();
    let too_large = forward().param("port", 512u16).unwrap_err();
    assert_eq!(
        too_large.to_string(),
        "port: the value 0x0200 does not fit in 9 bits"
    );
    assert_eq!(too_large.code(), Code::OutOfRange);
    assert!(refused(forward().build()).contains("needs a value for port"));
    assert!(refused(key().build()).contains("has no action"));
    assert!(refused(dmac.entry().action("forward").unwrap().build_key()).contains("exact field"));
    assert!(matches!(
        key().exact("dst_addr", MAC),
        Err(EntityError::Twice { .. })
    ));
    assert!(matches!(
        key().param("port", 1u8),
        Err(EntityError::ParamBeforeAction { .. })
    ));
    assert!(matches!(
        dmac.entry().lpm("dst_addr", MAC, 48),
        Err(EntityError::MatchKind { .. })
    ));
    assert!(refused(key().priority(1).build_key()).contains("takes 0 only"));
    let timeout = key().idle_timeout(Duration::from_secs(1));
    assert!(refused(timeout.build_key()).contains("does not support idle timeouts"));
    assert!(refused(acl.entry().build_key()).contains("takes 1 and above"));
    let behind = acl.entry().lpm("dst_addr", [10, 1, 0, 1], 16).unwrap_err();
    assert!(
        behind.to_string().contains("behind its prefix /16"),
        "{behind}"
    );
    assert!(acl.entry().lpm("dst_addr", [10, 1, 0, 0], 33).is_err());
    assert!(acl.entry().ternary("src_addr", 3u8, 1u8).is_err());
    assert!(acl.entry().range("dst_port", 2u8, 1u8).is_err());
}

#[test]
fn scope_and_const_are_permission_denied() {
    let p4info = l2();
    let smac = p4info.table("smac").unwrap();
    let key = smac
        .entry()
        .exact("src_addr", MAC)
        .unwrap()
        .exact("ingress_port", 1u8)
        .unwrap();
    let default_only = key.action("NoAction").unwrap().build().unwrap_err();
    assert!(
        matches!(default_only, EntityError::Scope { .. }),
        "{default_only}"
    );
    let fixed = smac
        .default_entry()
        .action("NoAction")
        .unwrap()
        .build()
        .unwrap_err();
    let table = p4info.table("MyEgress.acl").unwrap();
    let entry = table.entry().exact("egress_port", 1u8).unwrap();
    let const_table = entry.action("NoAction").unwrap().build().unwrap_err();
    let dmac = p4info
        .table("dmac")
        .unwrap()
        .default_entry()
        .action("rewrite")
        .unwrap();
    let table_only = dmac
        .param("vid", 1u8)
        .unwrap()
        .param("dst_addr", MAC)
        .unwrap()
        .build();
    for error in [default_only, fixed, const_table, table_only.unwrap_err()] {
        assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    }
}

#[test]
fn the_default_entry_has_no_key() {
    let p4info = l2();
    let dmac = p4info.table("dmac").unwrap();
    let entry = dmac
        .default_entry()
        .action("forward")
        .unwrap()
        .param("port", 1u8)
        .unwrap();
    let entry = entry.build().unwrap();
    assert!(entry.is_default_action && entry.r#match.is_empty());
    assert!(dmac.decode(&entry).unwrap().is_default);
    assert!(
        dmac.default_entry().build().unwrap().action.is_none(),
        "resets the table"
    );
    let keyed = dmac
        .default_entry()
        .exact("dst_addr", MAC)
        .unwrap()
        .build_key();
    assert!(matches!(keyed, Err(EntityError::DefaultEntry { .. })));
}

#[test]
fn a_table_with_a_selector_takes_members_groups_and_weighted_actions() {
    let p4info = l2();
    let ecmp = p4info.table("ecmp").unwrap();
    let key = || ecmp.entry().lpm("dst_addr", [10, 0, 0, 0], 8).unwrap();
    let group = key().group(7).build().unwrap();
    let view = ecmp.decode(&group).unwrap();
    assert!(matches!(view.action, Some(TableActionView::Group(7))));
    let weighted = key()
        .weighted_action("forward", 2)
        .unwrap()
        .param("port", 1u8)
        .unwrap();
    let weighted = weighted
        .weighted_action("forward", 1)
        .unwrap()
        .param("port", 2u8)
        .unwrap();
    let weighted = weighted.build().unwrap();
    let view = ecmp.decode(&weighted).unwrap();
    let Some(TableActionView::Weighted(actions)) = view.action else {
        panic!("{weighted:?}")
    };
    let ports: Vec<_> = actions
        .iter()
        .map(|(call, weight)| (call.param("port").unwrap().to_u16(), *weight))
        .collect();
    assert_eq!(ports, [(Ok(1), 2), (Ok(2), 1)]);
    let direct = key().action("NoAction").unwrap().build();
    assert!(matches!(direct, Err(EntityError::Implementation { .. })));
    let member = p4info
        .table("dmac")
        .unwrap()
        .entry()
        .exact("dst_addr", MAC)
        .unwrap()
        .member(1);
    assert!(matches!(
        member.build(),
        Err(EntityError::Implementation { .. })
    ));
}

#[test]
fn what_arrives_wrong_is_refused_as_a_server_must() {
    let p4info = l2();
    let dmac = p4info.table("dmac").unwrap();
    let good = dmac
        .entry()
        .exact("dst_addr", MAC)
        .unwrap()
        .action("forward")
        .unwrap();
    let good = good.param("port", 1u8).unwrap().build().unwrap();
    let refused = |change: &dyn Fn(&mut v1::TableEntry)| {
        let mut entry = good.clone();
        change(&mut entry);
        p4info.decode_entry(&entry).unwrap_err().code()
    };
    let set_value = |entry: &mut v1::TableEntry, value: &[u8]| {
        let exact = v1::field_match::Exact {
            value: value.to_vec(),
        };
        entry.r#match[0].field_match_type = Some(v1::field_match::FieldMatchType::Exact(exact));
    };
    assert_eq!(refused(&|entry| set_value(entry, &[])), Code::OutOfRange);
    assert_eq!(
        refused(&|entry| set_value(entry, &[1; 7])),
        Code::OutOfRange
    );
    assert_eq!(refused(&|entry| entry.table_id = 1), Code::InvalidArgument);
    assert_eq!(
        refused(&|entry| entry.r#match.clear()),
        Code::InvalidArgument
    );
    assert_eq!(
        refused(&|entry| entry.r#match[0].field_id = 2),
        Code::InvalidArgument
    );
    assert_eq!(
        refused(&|entry| entry.r#match.push(entry.r#match[0].clone())),
        Code::InvalidArgument
    );
    assert_eq!(refused(&|entry| entry.priority = -1), Code::InvalidArgument);
    assert_eq!(
        refused(&|entry| entry.idle_timeout_ns = -1),
        Code::InvalidArgument
    );
    assert_eq!(
        refused(&|entry| entry.is_default_action = true),
        Code::InvalidArgument
    );
    assert_eq!(
        refused(&|entry| entry.action = Some(v1::TableAction::default())),
        Code::InvalidArgument
    );
    let mut padded = good.clone();
    set_value(&mut padded, &[0, 0, 2, 0, 0, 0, 0, 1]);
    assert_eq!(
        p4info
            .decode_entry(&padded)
            .unwrap()
            .exact("dst_addr")
            .unwrap()
            .to_mac(),
        Ok(MAC)
    );
}

#[test]
fn digest_messages_come_back_by_member_name() {
    let p4info = l2();
    let learn = p4info.digest("learn_t").unwrap();
    let names: Vec<_> = learn
        .members()
        .into_iter()
        .map(|leaf| (leaf.name, leaf.bitwidth))
        .collect();
    let expected = [
        ("src_addr", 48),
        ("port", 9),
        ("vlan.tagged", 1),
        ("vlan.vid", 12),
    ];
    assert_eq!(names, expected.map(|(name, bits)| (name.to_owned(), bits)));
    let values: Vec<Bitstring> = vec![MAC.into(), 3u16.into(), true.into(), 100u16.into()];
    let data = vec![learn.encode(&values).unwrap()];
    let list = v1::DigestList {
        digest_id: learn.id,
        list_id: 1,
        data,
        timestamp: 0,
    };
    let messages = learn.decode(&list).unwrap();
    assert_eq!(messages[0].get("src_addr").unwrap().to_mac(), Ok(MAC));
    assert_eq!(messages[0].get("vlan.vid").unwrap().to_u16(), Ok(100));
    assert_eq!(messages[0].values(), values);
    assert!(
        messages[0]
            .get("vid")
            .unwrap_err()
            .to_string()
            .contains("vlan.vid")
    );
    assert!(learn.encode(&values[..3]).is_err());
    assert!(learn.encode(&[values.clone(), values].concat()).is_err());
    let other = v1::DigestList {
        data: vec![v1::P4Data::default()],
        ..list
    };
    assert!(matches!(
        learn.decode(&other),
        Err(EntityError::Shape { .. })
    ));
}

#[test]
fn controller_packets_are_built_and_read_by_metadata_name() {
    let p4info = l2();
    let header = p4info.packet_out().unwrap();
    let packet = header.packet().metadata("egress_port", 3u16).unwrap();
    assert!(matches!(
        packet.clone().packet_out([]),
        Err(EntityError::Missing { .. })
    ));
    let packet = packet
        .metadata("flood", false)
        .unwrap()
        .packet_out(*b"frame")
        .unwrap();
    assert_eq!(packet.payload, b"frame");
    let view = header.decode(&packet.metadata).unwrap();
    assert_eq!(view.get("egress_port").unwrap().to_u16(), Ok(3));
    let header = p4info.packet_in().unwrap();
    let packet = header.packet().metadata("ingress_port", 511u16).unwrap();
    let packet = packet
        .metadata("reason", 1u8)
        .unwrap()
        .packet_in([])
        .unwrap();
    let view = header.decode(&packet.metadata).unwrap();
    let metadata: Vec<_> = view
        .metadata()
        .map(|(name, value)| (name, value.to_u16()))
        .collect();
    assert_eq!(metadata, [("ingress_port", Ok(511)), ("reason", Ok(1))]);
    assert!(header.packet().metadata("ingress_port", 512u16).is_err());
}

#[test]
fn text_binary_and_json_files_say_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let message = l2().message().clone();
    let json =
        r#"{"pkgInfo":{"arch":"v1model"},"tables":[{"preamble":{"id":33554433,"name":"t"}}]}"#;
    for (name, bytes) in [
        ("l2.p4info.txtpb", TEXT.as_bytes().to_vec()),
        ("l2.p4info", TEXT.as_bytes().to_vec()),
        ("l2.pb.txt", TEXT.as_bytes().to_vec()),
        ("l2.p4info.bin", message.encode_to_vec()),
        ("l2.pb", message.encode_to_vec()),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(*P4Info::load(&path).unwrap().message(), message, "{name}");
    }
    let path = directory.path().join("t.json");
    std::fs::write(&path, json).unwrap();
    assert_eq!(
        P4Info::load(&path).unwrap().table("t").unwrap().id,
        33_554_433
    );
}

#[test]
fn a_broken_file_is_reported_with_its_path_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.p4info.txtpb");
    std::fs::write(&path, "pkg_info { }\ntables {\n  preambel { id: 1 }\n}\n").unwrap();
    let error = P4Info::load(&path).unwrap_err().to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(
        error.contains("line 3: field 'preambel' not found"),
        "{error}"
    );
    let error = P4Info::from_text("tables {\n").unwrap_err();
    assert!(matches!(error, LoadError::Text { line: 2, .. }), "{error}");
    assert!(matches!(
        P4Info::load(directory.path().join("none")),
        Err(LoadError::Io { .. })
    ));
}

#[test]
fn a_p4info_that_contradicts_itself_is_refused() {
    for (text, part) in [
        ("tables { size: 1 }", "no preamble"),
        (
            "tables { preamble { id: 1 name: \"t\" } action_refs { id: 9 } }",
            "action 0x9",
        ),
        (
            "actions { preamble { id: 1 name: \"a\" } } actions { preamble { id: 1 name: \"b\" } }",
            "two actions with the id 0x1",
        ),
        (
            "tables { preamble { id: 1 name: \"t\" } match_fields { id: 1 name: \"f\" bitwidth: -1 } }",
            "bitwidth must not be -1",
        ),
    ] {
        let error = P4Info::from_text(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
