//! Action profiles and selectors.
use std::collections::HashMap;

use crate::programs::{Bench, run};
use sim::control::{
    ControlError, EntryKey, GroupMember, ProfileGroup, ProfileHandle, TableAction, TableEntry,
    TableHandle,
};

const SELECT: u8 = 17;
const PROFILE: u8 = 23;

fn ask(bench: &mut Bench, op: u8, arg: u8, value: u16) -> u16 {
    let mut frame = vec![op, arg];
    frame.extend(value.to_be_bytes());
    let out = bench.send(&frame);
    u16::from_be_bytes([out[18], out[19]])
}

fn selector(bench: &Bench) -> (TableHandle, ProfileHandle) {
    let table = bench.table("selected");
    let profile = bench
        .control
        .pipeline()
        .profile("TestIngress.choices")
        .expect("selector");
    assert_eq!(
        bench.control.pipeline().table_info(table).profile,
        Some(profile)
    );
    (table, profile)
}

fn group(members: &[(u32, u32, Option<u32>)]) -> ProfileGroup {
    let members = members
        .iter()
        .map(|&(member, weight, watch_port)| GroupMember {
            member,
            weight,
            watch_port,
        })
        .collect();
    ProfileGroup {
        members,
        max_size: 0,
    }
}

/// Members 1 to 3, which set the value to 0x101 and so on, and an entry for arg 1.
fn start(bench: &Bench, g: ProfileGroup) -> (TableHandle, ProfileHandle) {
    let (table, profile) = selector(bench);
    let mut write = bench.control.write(bench.now);
    for member in 1..=3u8 {
        let call = bench.call(table, "set_value", &[&[1, member]]);
        write
            .insert_member(profile, member.into(), call)
            .expect("member");
    }
    write.insert_group(profile, 5, g).expect("group");
    let key = EntryKey::exact([&[1u8][..]]);
    write
        .insert(table, TableEntry::new(key, TableAction::Group(5)))
        .expect("entry");
    (table, profile)
}

fn spread(bench: &mut Bench) -> HashMap<u16, u32> {
    let mut counts = HashMap::new();
    for value in 0..4000 {
        *counts.entry(ask(bench, SELECT, 1, value)).or_default() += 1;
    }
    counts
}

#[test]
fn a_group_spreads_flows_by_weight_and_keeps_each_with_its_member() {
    let mut bench = run("traffic");
    start(&bench, group(&[(1, 1, None), (2, 3, None)]));
    let counts = spread(&mut bench);
    assert_eq!(counts.len(), 2);
    assert!((900..1100).contains(&counts[&0x101]), "{counts:?}");
    assert!((2900..3100).contains(&counts[&0x102]), "{counts:?}");
    let again = ask(&mut bench, SELECT, 1, 77);
    assert!((0..10).all(|_| ask(&mut bench, SELECT, 1, 77) == again));
}

#[test]
fn members_that_watch_a_port_that_is_down_are_skipped() {
    let mut bench = run("traffic");
    start(
        &bench,
        group(&[(1, 1, Some(10)), (2, 1, Some(11)), (3, 1, None)]),
    );
    assert_eq!(spread(&mut bench).len(), 3);
    bench.switch.set_port_up(10, false);
    assert!(!spread(&mut bench).contains_key(&0x101));
    bench.switch.set_port_up(10, true);
    assert_eq!(spread(&mut bench).len(), 3);
}

#[test]
fn a_modified_member_changes_every_entry_that_uses_it() {
    let mut bench = run("traffic");
    let (table, profile) = start(&bench, group(&[(1, 1, None)]));
    let key = EntryKey::exact([&[2u8][..]]);
    let mut write = bench.control.write(bench.now);
    write
        .insert(table, TableEntry::new(key, TableAction::Member(1)))
        .expect("entry");
    write.commit();
    assert_eq!(
        (ask(&mut bench, SELECT, 1, 9), ask(&mut bench, SELECT, 2, 9)),
        (0x101, 0x101)
    );
    let call = bench.call(table, "set_value", &[&[2, 2]]);
    bench
        .control
        .write(bench.now)
        .modify_member(profile, 1, call.clone())
        .expect("modify");
    assert_eq!(
        (ask(&mut bench, SELECT, 1, 9), ask(&mut bench, SELECT, 2, 9)),
        (0x202, 0x202)
    );
    assert_eq!(bench.control.member(profile, 1), Ok(call));
    assert_eq!(ask(&mut bench, SELECT, 3, 9), 0xffff, "no entry");
}

#[test]
fn what_is_in_use_cannot_be_deleted() {
    let bench = run("traffic");
    let (table, profile) = start(&bench, group(&[(1, 1, None), (2, 1, None)]));
    let in_use = |result| {
        assert!(
            matches!(result, Err(ControlError::FailedPrecondition(_))),
            "{result:?}"
        );
    };
    let mut write = bench.control.write(bench.now);
    in_use(write.delete_member(profile, 1));
    in_use(write.delete_group(profile, 5));
    write.delete_member(profile, 3).expect("nobody uses it");
    write
        .modify_group(profile, 5, group(&[(2, 1, None)]))
        .expect("modify");
    write
        .delete_member(profile, 1)
        .expect("nobody uses it any more");
    write
        .delete(table, &EntryKey::exact([&[1u8][..]]))
        .expect("entry");
    write
        .delete_group(profile, 5)
        .expect("nobody uses it any more");
    write
        .delete_member(profile, 2)
        .expect("nobody uses it any more");
    write.commit();
    assert_eq!(
        (
            bench.control.members(profile),
            bench.control.groups(profile)
        ),
        (vec![], vec![])
    );
}

#[test]
fn groups_and_entries_name_what_exists() {
    let bench = run("traffic");
    let (table, profile) = start(&bench, group(&[]));
    let missing = |result| {
        assert!(
            matches!(result, Err(ControlError::NotFound(_))),
            "{result:?}"
        )
    };
    let mut write = bench.control.write(bench.now);
    missing(write.insert_group(profile, 6, group(&[(9, 1, None)])));
    missing(write.modify_group(profile, 9, group(&[])));
    missing(write.delete_group(profile, 9));
    missing(write.delete_member(profile, 9));
    let entry = |action| TableEntry::new(EntryKey::exact([&[7u8][..]]), action);
    missing(write.insert(table, entry(TableAction::Member(9))));
    missing(write.insert(table, entry(TableAction::Group(9))));
    let direct = TableAction::Direct(bench.call(table, "set_value", &[&[1]]));
    let refused = write.insert(table, entry(direct));
    assert!(matches!(refused, Err(ControlError::InvalidArgument(_))));
    let weightless = write.insert_group(profile, 6, group(&[(1, 0, None)]));
    assert!(matches!(weightless, Err(ControlError::InvalidArgument(_))));
    let small = ProfileGroup {
        max_size: 2,
        ..group(&[(1, 2, None), (2, 1, None)])
    };
    let full = write.insert_group(profile, 6, small);
    assert!(matches!(full, Err(ControlError::Full { limit: 2, .. })));
    for member in 4..=8 {
        let call = bench.call(table, "set_value", &[&[1]]);
        write
            .insert_member(profile, member, call)
            .expect("it holds 8");
    }
    let call = bench.call(table, "set_value", &[&[1]]);
    let full = write.insert_member(profile, 9, call);
    assert!(matches!(full, Err(ControlError::Full { limit: 8, .. })));
}

#[test]
fn an_empty_group_runs_no_action() {
    let mut bench = run("traffic");
    start(&bench, group(&[]));
    assert_eq!(ask(&mut bench, SELECT, 1, 9), 9);
}

#[test]
fn an_action_profile_has_members_and_no_groups() {
    let mut bench = run("traffic");
    let table = bench.table("profiled");
    let profile = bench
        .control
        .pipeline()
        .profile("TestIngress.members")
        .expect("profile");
    assert!(!bench.control.pipeline().profile_info(profile).with_selector);
    let call = bench.call(table, "set_value", &[&[7]]);
    let key = EntryKey::exact([&[1u8][..]]);
    let mut write = bench.control.write(bench.now);
    write.insert_member(profile, 1, call).expect("member");
    let no_groups = write.insert_group(profile, 1, group(&[(1, 1, None)]));
    assert!(matches!(no_groups, Err(ControlError::Unsupported(_))));
    write
        .insert(table, TableEntry::new(key, TableAction::Member(1)))
        .expect("entry");
    write.commit();
    assert_eq!(ask(&mut bench, PROFILE, 1, 0), 7);
}
