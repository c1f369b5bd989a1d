//! Reads give back what was written, filtered as asked (P4Runtime specification, "Read RPC",
//! "Wildcard Reads").

use std::time::Duration;

use crate::p4runtime_fixture::{Fixture, frame};
use p4runtime::p4info::EntryBuilder;
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::entity::Entity as Kind;
use p4runtime::v1::table_action::Type as TableActionType;
use tonic::Code;

fn all_of(fixture: &Fixture, table: &str) -> v1::TableEntry {
    let table_id = fixture.p4info.table(table).expect("there").id;
    v1::TableEntry {
        table_id,
        ..Default::default()
    }
}

/// An entry of `acl` whose source addresses begin with `first`, with a meter.
fn acl(fixture: &Fixture, first: u8, priority: i32, action: &str) -> v1::TableEntry {
    let build = fixture
        .p4info
        .table("acl")
        .expect("there")
        .entry()
        .ternary("src_addr", [first, 0, 0, 0], [255, 0, 0, 0])
        .and_then(|e| e.optional("protocol", 17u8))
        .and_then(|e| e.action(action))
        .expect("valid");
    build
        .priority(priority)
        .metadata([first])
        .build()
        .expect("valid")
}

#[test]
fn entries_of_every_match_kind_read_back_as_written() {
    let (fixture, _stream) = Fixture::ready();
    let route = fixture
        .p4info
        .table("route")
        .expect("there")
        .entry()
        .lpm("dst_addr", [10, 128, 0, 0], 9)
        .and_then(|e| e.action("forward"))
        .and_then(|e| e.param("port", 300u16))
        .and_then(EntryBuilder::build)
        .expect("valid");
    let any_route = v1::TableEntry {
        r#match: vec![],
        ..route.clone()
    };
    let range = fixture
        .p4info
        .table("acl")
        .expect("there")
        .entry()
        .range("ttl", 1u8, 63u8)
        .and_then(|e| e.action("drop"))
        .expect("valid");
    let range = range.priority(3).build().expect("valid");
    let ternary = acl(&fixture, 10, 7, "mirror");
    let written = [
        fixture.dmac(1, 2),
        route.clone(),
        any_route.clone(),
        range.clone(),
        ternary.clone(),
    ];
    fixture.must(written.iter().cloned().map(Update::insert));
    assert_eq!(
        fixture.entries(all_of(&fixture, "dmac")),
        [fixture.dmac(1, 2)]
    );
    assert_eq!(
        fixture.entries(all_of(&fixture, "route")),
        [route, any_route]
    );
    let mut acls = fixture.entries(all_of(&fixture, "acl"));
    acls.sort_by_key(|entry| entry.priority);
    assert_eq!(acls, [range, ternary]);
    let everything = fixture.entries(v1::TableEntry::default());
    assert_eq!(
        everything.len(),
        written.len() + 2,
        "with the const entries"
    );
}

#[test]
fn filters_narrow_what_is_read() {
    let (fixture, _stream) = Fixture::ready();
    let (a, b) = (acl(&fixture, 10, 7, "drop"), acl(&fixture, 11, 7, "mirror"));
    let c = acl(&fixture, 10, 8, "mirror");
    fixture.must([a.clone(), b.clone(), c.clone()].map(Update::insert));
    let all = || all_of(&fixture, "acl");
    let read = |filter| {
        let mut found = fixture.entries(filter);
        found.sort_by_key(|entry| (entry.priority, entry.metadata.clone()));
        found
    };
    assert_eq!(
        read(v1::TableEntry {
            priority: 7,
            ..all()
        }),
        [a.clone(), b.clone()]
    );
    let by_match = v1::TableEntry {
        r#match: a.r#match.clone(),
        ..all()
    };
    assert_eq!(read(by_match.clone()), [a.clone(), c.clone()]);
    assert_eq!(
        read(v1::TableEntry {
            priority: 8,
            ..by_match.clone()
        }),
        std::slice::from_ref(&c)
    );
    assert_eq!(
        read(v1::TableEntry {
            priority: 9,
            ..by_match
        }),
        []
    );
    assert_eq!(
        read(v1::TableEntry {
            metadata: vec![11],
            ..all()
        }),
        std::slice::from_ref(&b)
    );
    let action_id = fixture.p4info.action("mirror").expect("there").id;
    let mirror = TableActionType::Action(v1::Action {
        action_id,
        params: vec![],
    });
    let action = Some(v1::TableAction {
        r#type: Some(mirror),
    });
    assert_eq!(read(v1::TableEntry { action, ..all() }), [b, c]);
}

#[test]
fn const_entries_are_read_and_marked() {
    let (fixture, _stream) = Fixture::ready();
    let entries = fixture.entries(all_of(&fixture, "ethertype"));
    assert_eq!(entries.len(), 2);
    assert!(
        entries
            .iter()
            .all(|entry| entry.is_const && entry.action.is_some())
    );
}

#[test]
#[allow(deprecated)]
fn the_old_controller_metadata_is_returned_too() {
    let (fixture, _stream) = Fixture::ready();
    let entry = v1::TableEntry {
        controller_metadata: 0xabcd,
        ..fixture.dmac(1, 1)
    };
    fixture.must([Update::insert(entry.clone())]);
    let filter = v1::TableEntry {
        controller_metadata: 0xabcd,
        ..all_of(&fixture, "dmac")
    };
    assert_eq!(fixture.entries(filter.clone()), [entry]);
    fixture.must([Update::modify(fixture.dmac(1, 1))]);
    assert_eq!(fixture.entries(filter), []);
}

#[test]
fn a_direct_counter_is_read_when_asked_for_and_written() {
    let (mut fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(fixture.dmac(1, 2))]);
    fixture.inject(1, &frame(1, 9));
    fixture.inject(1, &frame(1, 9));
    let asked = |fixture: &Fixture| v1::TableEntry {
        counter_data: Some(v1::CounterData::default()),
        ..all_of(fixture, "dmac")
    };
    let count = |fixture: &Fixture| fixture.entries(asked(fixture))[0].counter_data;
    let two = v1::CounterData {
        byte_count: 120,
        packet_count: 2,
    };
    assert_eq!(count(&fixture), Some(two));
    assert_eq!(
        fixture.entries(all_of(&fixture, "dmac"))[0].counter_data,
        None
    );

    let counter = |data| v1::DirectCounterEntry {
        table_entry: Some(key(&fixture.dmac(1, 2))),
        data,
    };
    assert_eq!(
        fixture.read(counter(None)),
        [Kind::DirectCounterEntry(counter(Some(two)))]
    );
    let seven = v1::CounterData {
        byte_count: 7,
        packet_count: 7,
    };
    fixture.must([Update::modify(counter(Some(seven)))]);
    assert_eq!(count(&fixture), Some(seven));
    fixture.must([Update::modify(fixture.dmac(1, 3))]);
    assert_eq!(count(&fixture), Some(seven), "a MODIFY keeps the count");
    let every = v1::DirectCounterEntry::default();
    assert_eq!(
        fixture.read(every),
        [Kind::DirectCounterEntry(counter(Some(seven)))]
    );
    let missing = v1::DirectCounterEntry {
        table_entry: Some(key(&fixture.dmac(5, 1))),
        data: None,
    };
    assert_eq!(fixture.try_read(missing), Err(Code::NotFound));
}

/// The part of an entry that identifies it.
fn key(entry: &v1::TableEntry) -> v1::TableEntry {
    v1::TableEntry {
        table_id: entry.table_id,
        r#match: entry.r#match.clone(),
        priority: entry.priority,
        ..Default::default()
    }
}

#[test]
fn a_direct_meter_is_set_with_its_entry_and_reset_by_a_modify_without_it() {
    let (fixture, _stream) = Fixture::ready();
    let config = v1::MeterConfig {
        cir: 1,
        cburst: 2,
        pir: 3,
        pburst: 4,
        eburst: 0,
    };
    let plain = acl(&fixture, 10, 7, "drop");
    let metered = v1::TableEntry {
        meter_config: Some(config),
        ..plain.clone()
    };
    fixture.must([Update::insert(metered.clone())]);
    let asked = v1::TableEntry {
        meter_config: Some(v1::MeterConfig::default()),
        ..all_of(&fixture, "acl")
    };
    assert_eq!(
        fixture.entries(asked.clone()),
        std::slice::from_ref(&metered)
    );
    assert_eq!(
        fixture.entries(all_of(&fixture, "acl")),
        std::slice::from_ref(&plain)
    );
    let direct = |config| v1::DirectMeterEntry {
        table_entry: Some(key(&plain)),
        config,
        counter_data: None,
    };
    assert_eq!(
        fixture.read(direct(None)),
        [Kind::DirectMeterEntry(direct(Some(config)))]
    );
    fixture.must([Update::modify(plain.clone())]);
    assert_eq!(fixture.entries(asked.clone()), std::slice::from_ref(&plain));
    fixture.must([Update::modify(direct(Some(config)))]);
    assert_eq!(fixture.entries(asked), [metered]);
}

#[test]
fn the_time_since_the_last_hit_is_told_when_asked_for() {
    let (mut fixture, _stream) = Fixture::ready();
    let smac = fixture.p4info.table("smac").expect("there").entry();
    let smac = smac.exact("src_addr", [2, 0, 0, 0, 0, 9]).expect("valid");
    let smac = smac
        .action("NoAction")
        .expect("there")
        .build()
        .expect("valid");
    fixture.must([Update::insert(smac)]);
    fixture.step(Duration::from_millis(5));
    fixture.inject(1, &frame(1, 9));
    fixture.step(Duration::from_millis(3));
    let asked = |table| v1::TableEntry {
        time_since_last_hit: Some(v1::table_entry::IdleTimeout::default()),
        ..all_of(&fixture, table)
    };
    let elapsed = fixture.entries(asked("smac"))[0]
        .time_since_last_hit
        .map(|t| t.elapsed_ns);
    assert_eq!(elapsed, Some(3_000_000));
    assert_eq!(fixture.try_read(asked("dmac")), Err(Code::InvalidArgument));
}

#[test]
fn all_cells_of_an_array_are_read_without_an_index() {
    let (mut fixture, _stream) = Fixture::ready();
    fixture.inject(3, &frame(1, 9));
    let counts = |fixture: &Fixture| {
        fixture
            .read(v1::CounterEntry::default())
            .into_iter()
            .map(|kind| match kind {
                Kind::CounterEntry(entry) => entry.data.expect("read").packet_count,
                other => panic!("not a counter: {other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let mut expected = vec![0; 16];
    expected[3] = 1;
    assert_eq!(counts(&fixture), expected);
    assert_eq!(fixture.read(v1::MeterEntry::default()).len(), 4);
    assert_eq!(fixture.read(v1::RegisterEntry::default()).len(), 8);
}

#[test]
fn one_bad_request_of_several_does_not_hide_the_others() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(fixture.dmac(1, 1))]);
    let bad = v1::TableEntry {
        table_id: 77,
        ..Default::default()
    };
    let request = v1::ReadRequest {
        device_id: 1,
        entities: vec![
            bad.into(),
            all_of(&fixture, "dmac").into(),
            v1::Entity::default(),
        ],
        ..Default::default()
    };
    let device = fixture.runtime.device();
    let (found, status) = device.read(fixture.now, &request).expect("a read at all");
    assert_eq!(found, [fixture.dmac(1, 1).into()]);
    match p4runtime::write_error::WriteError::from(status.expect_err("two are bad")) {
        p4runtime::write_error::WriteError::Updates(errors) => {
            let codes: Vec<Code> = errors.iter().map(p4runtime::write_error::code_of).collect();
            assert_eq!(
                codes,
                [Code::InvalidArgument, Code::Ok, Code::InvalidArgument]
            );
        }
        other => panic!("no details: {other:?}"),
    }
}

#[test]
fn a_meter_counts_what_it_marks_by_colour_until_it_is_cleared() {
    let (mut fixture, _stream) = Fixture::ready();
    let meter = |config, counter_data| v1::MeterEntry {
        meter_id: fixture.p4info.meter("port_meter").expect("there").id,
        index: Some(v1::Index { index: 0 }),
        config,
        counter_data,
    };
    // Bytes: the first frame of 60 is green, the second yellow, the third red.
    let config = v1::MeterConfig {
        cir: 1,
        cburst: 60,
        pir: 1,
        pburst: 120,
        eburst: 0,
    };
    let (set, asked) = (
        meter(Some(config), None),
        meter(None, Some(Default::default())),
    );
    let clear = meter(Some(config), Some(Default::default()));
    let one = v1::CounterData {
        byte_count: 60,
        packet_count: 1,
    };
    let counted = |count| {
        meter(
            Some(config),
            Some(v1::MeterCounterData {
                green: Some(count),
                yellow: Some(count),
                red: Some(count),
            }),
        )
    };
    let (ones, zeros) = (counted(one), counted(v1::CounterData::default()));
    fixture.must([Update::modify(set)]);
    for _ in 0..3 {
        fixture.inject(2, &frame(1, 9));
    }
    assert_eq!(fixture.read(asked), [Kind::MeterEntry(ones)]);
    assert_eq!(fixture.read(set), [Kind::MeterEntry(set)]);
    assert_eq!(fixture.code(Update::modify(ones)), Code::InvalidArgument);
    fixture.must([Update::modify(clear)]);
    assert_eq!(fixture.read(asked), [Kind::MeterEntry(zeros)]);
}
