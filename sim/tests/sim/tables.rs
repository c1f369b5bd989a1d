//! Tables: what matches, what wins, what is refused.
use crate::programs::{Bench, run, run_with};
use proptest::prelude::*;
use sim::control::{
    ActionCall, ControlError, EntryKey, MatchValue, TableAction, TableEntry, TableHandle,
};
use sim::{Limits, SwitchConfig};

const EXACT: u8 = 0;
const LPM: u8 = 1;
const TERNARY: u8 = 2;
const RANGE: u8 = 3;
const OPTIONAL: u8 = 4;
const CONST: u8 = 5;
const CONST_RANGE: u8 = 6;
const CONST_LPM: u8 = 7;
const INVALID_KEY: u8 = 8;
const SWITCHED: u8 = 9;
const LPM_WIDE: u8 = 10;

const HIT: u8 = 1;
const MISS: u8 = 2;

/// Result and way.
fn ask(bench: &mut Bench, table: u8, x: u16, y: u32, z: u128) -> (u8, u8) {
    let mut frame = vec![table, 0, 0];
    frame.extend(x.to_be_bytes());
    frame.extend(y.to_be_bytes());
    frame.extend(z.to_be_bytes());
    let out = bench.send(&frame);
    (out[1], out[2])
}

fn entry(bench: &Bench, table: TableHandle, key: EntryKey, n: u8) -> TableEntry {
    TableEntry::new(
        key,
        TableAction::Direct(bench.call(table, "answer", &[&[n]])),
    )
}

fn exact(value: impl Into<u128>) -> MatchValue {
    MatchValue::Exact(value.into().to_be_bytes().to_vec())
}

fn ternary(value: u128, mask: u128) -> MatchValue {
    let (value, mask) = (value.to_be_bytes().to_vec(), mask.to_be_bytes().to_vec());
    MatchValue::Ternary { value, mask }
}

fn lpm(value: u128, prefix_len: u32) -> MatchValue {
    MatchValue::Lpm {
        value: value.to_be_bytes().to_vec(),
        prefix_len,
    }
}

fn key(matches: &[MatchValue], priority: u32) -> EntryKey {
    EntryKey {
        matches: matches.to_vec(),
        priority,
    }
}

#[test]
fn an_exact_entry_is_inserted_modified_read_and_deleted() {
    let mut bench = run("tables");
    let table = bench.table("exact_table");
    let k = key(&[exact(7u8), exact(1u128 << 100)], 0);
    assert_eq!(ask(&mut bench, EXACT, 7, 0, 1 << 100), (0, MISS));
    let e = entry(&bench, table, k.clone(), 42);
    bench
        .control
        .write(bench.now)
        .insert(table, e.clone())
        .expect("insert");
    assert_eq!(ask(&mut bench, EXACT, 7, 0, 1 << 100), (42, HIT));
    assert_eq!(ask(&mut bench, EXACT, 7, 0, 1), (0, MISS));
    assert_eq!(ask(&mut bench, EXACT, 8, 0, 1 << 100), (0, MISS));
    let twice = bench.control.write(bench.now).insert(table, e);
    assert!(matches!(twice, Err(ControlError::AlreadyExists(_))));
    let e = entry(&bench, table, k.clone(), 43);
    bench
        .control
        .write(bench.now)
        .modify(table, e)
        .expect("modify");
    assert_eq!(ask(&mut bench, EXACT, 7, 0, 1 << 100), (43, HIT));
    let read = bench.control.entry(table, &k).expect("it is there");
    assert_eq!(
        read.key.matches[0],
        MatchValue::Exact(vec![0, 7]),
        "canonical bytes"
    );
    assert_eq!(bench.control.entries(table), [read]);
    bench
        .control
        .write(bench.now)
        .delete(table, &k)
        .expect("delete");
    assert_eq!(ask(&mut bench, EXACT, 7, 0, 1 << 100), (0, MISS));
    assert!(matches!(
        bench.control.write(bench.now).delete(table, &k),
        Err(ControlError::NotFound(_))
    ));
    assert_eq!(bench.control.entry_count(table), 0);
}

#[test]
fn packets_see_a_write_only_when_it_is_committed() {
    let mut bench = run("tables");
    let table = bench.table("exact_table");
    let control = bench.control.clone();
    let mut write = control.write(bench.now);
    for x in 0..10u8 {
        let e = entry(&bench, table, key(&[exact(x), exact(0u8)], 0), x + 1);
        write.insert(table, e).expect("insert");
    }
    assert_eq!(ask(&mut bench, EXACT, 3, 0, 0), (0, MISS));
    write.commit();
    for x in 0..10u8 {
        assert_eq!(ask(&mut bench, EXACT, x.into(), 0, 0), (x + 1, HIT));
    }
}

#[test]
fn the_longest_prefix_wins() {
    let mut bench = run("tables");
    let table = bench.table("lpm_table");
    let mut write = bench.control.write(bench.now);
    for (value, len, n) in [(0u128, 0, 1), (0x0a00_0000, 8, 2), (0x0a01_0000, 16, 3)] {
        let e = entry(&bench, table, key(&[exact(5u8), lpm(value, len)], 0), n);
        write.insert(table, e).expect("insert");
    }
    write.commit();
    assert_eq!(ask(&mut bench, LPM, 5, 0x0a01_0203, 0), (3, HIT));
    assert_eq!(ask(&mut bench, LPM, 5, 0x0a02_0203, 0), (2, HIT));
    assert_eq!(ask(&mut bench, LPM, 5, 0x0b02_0203, 0), (1, HIT));
    assert_eq!(ask(&mut bench, LPM, 6, 0x0a01_0203, 0), (99, MISS));
    let wide = bench.table("lpm_wide");
    let prefix = 0x2001_0db8u128 << 96;
    let mut write = bench.control.write(bench.now);
    for (value, len, n) in [
        (prefix, 32, 1),
        (prefix | 1 << 64, 64, 2),
        (prefix | 1 << 62, 66, 3),
    ] {
        write
            .insert(wide, entry(&bench, wide, key(&[lpm(value, len)], 0), n))
            .expect("insert");
    }
    write.commit();
    assert_eq!(
        ask(&mut bench, LPM_WIDE, 0, 0, prefix | 1 << 62 | 5),
        (3, HIT)
    );
    assert_eq!(
        ask(&mut bench, LPM_WIDE, 0, 0, prefix | 1 << 64 | 5),
        (2, HIT)
    );
    assert_eq!(ask(&mut bench, LPM_WIDE, 0, 0, prefix | 1 << 90), (1, HIT));
    assert_eq!(ask(&mut bench, LPM_WIDE, 0, 0, 1), (0, MISS));
}

#[test]
fn the_greatest_priority_wins() {
    let mut bench = run("tables");
    let table = bench.table("ternary_table");
    let mut write = bench.control.write(bench.now);
    for (value, mask, priority, n) in [
        (0x1200, 0xff00, 10, 1),
        (0x1000, 0xf000, 20, 2),
        (0, 0, 5, 3),
        (0x1234, 0xffff, 15, 4),
    ] {
        let k = key(&[ternary(value, mask), ternary(0, 0)], priority);
        write
            .insert(table, entry(&bench, table, k, n))
            .expect("insert");
    }
    write.commit();
    assert_eq!(ask(&mut bench, TERNARY, 0x1234, 0, 0), (2, HIT));
    assert_eq!(ask(&mut bench, TERNARY, 0x2234, 0, 0), (3, HIT));
    let k = key(&[ternary(0x1000, 0xf000), ternary(0, 0)], 20);
    bench
        .control
        .write(bench.now)
        .delete(table, &k)
        .expect("delete");
    assert_eq!(ask(&mut bench, TERNARY, 0x1234, 0, 0), (4, HIT));
    assert_eq!(ask(&mut bench, TERNARY, 0x1235, 0, 0), (1, HIT));
}

#[test]
fn const_entries_win_in_their_order_and_cannot_be_written() {
    let mut bench = run("tables");
    assert_eq!(ask(&mut bench, CONST, 0x1234, 1, 0), (1, HIT));
    assert_eq!(ask(&mut bench, CONST, 0x1334, 1, 0), (2, HIT));
    assert_eq!(ask(&mut bench, CONST, 0x2334, 1, 0), (3, HIT));
    assert_eq!(ask(&mut bench, CONST, 0x1234, 2, 0), (4, HIT));
    assert_eq!(ask(&mut bench, CONST, 0x1234, 3, 0), (0, MISS));
    assert_eq!(ask(&mut bench, CONST_RANGE, 17, 0, 0), (1, HIT));
    assert_eq!(ask(&mut bench, CONST_RANGE, 21, 0, 0), (2, HIT));
    assert_eq!(ask(&mut bench, CONST_RANGE, 31, 0, 0), (0, MISS));
    assert_eq!(ask(&mut bench, CONST_LPM, 0, 0x0a01_0001, 0), (16, HIT));
    assert_eq!(ask(&mut bench, CONST_LPM, 0, 0x0a02_0001, 0), (8, HIT));
    let table = bench.table("const_table");
    let entries = bench.control.entries(table);
    assert_eq!(entries.len(), 4);
    assert!(
        entries.iter().all(|entry| entry.key.priority > 0),
        "readable as any other"
    );
    let refused = bench
        .control
        .write(bench.now)
        .delete(table, &entries[0].key);
    assert!(matches!(refused, Err(ControlError::PermissionDenied(_))));
    let call = bench.call(table, "answer", &[&[1]]);
    let refused = bench
        .control
        .write(bench.now)
        .set_default_action(table, Some(call));
    assert!(matches!(refused, Err(ControlError::PermissionDenied(_))));
}

#[test]
fn an_optional_key_matches_its_value_or_anything() {
    let mut bench = run("tables");
    let table = bench.table("optional_table");
    let some = |v: u8| MatchValue::Optional(Some(vec![v]));
    let any = MatchValue::Optional(None);
    let mut write = bench.control.write(bench.now);
    for (k, n) in [
        (key(&[some(1), some(2)], 30), 1),
        (key(&[some(1), any.clone()], 20), 2),
        (key(&[any.clone(), some(2)], 10), 3),
    ] {
        write
            .insert(table, entry(&bench, table, k, n))
            .expect("insert");
    }
    write.commit();
    assert_eq!(ask(&mut bench, OPTIONAL, 1, 2, 0), (1, HIT));
    assert_eq!(ask(&mut bench, OPTIONAL, 1, 3, 0), (2, HIT));
    assert_eq!(ask(&mut bench, OPTIONAL, 2, 2, 0), (3, HIT));
    assert_eq!(ask(&mut bench, OPTIONAL, 2, 3, 0), (0, MISS));
}

#[test]
fn fields_of_an_invalid_header_are_zero_in_a_key() {
    let mut bench = run("tables");
    let table = bench.table("invalid_key");
    let mut write = bench.control.write(bench.now);
    for (value, valid, n) in [(0u8, 0u8, 1), (5, 1, 2)] {
        let k = key(&[exact(value), exact(valid)], 0);
        write
            .insert(table, entry(&bench, table, k, n))
            .expect("insert");
    }
    write.commit();
    assert_eq!(
        ask(&mut bench, INVALID_KEY, 0, 0, 0),
        (1, HIT),
        "never valid"
    );
    let mut frame = vec![INVALID_KEY, 0, 7, 0, 0];
    frame.extend([0; 20]);
    frame.push(5);
    assert_eq!(bench.send(&frame)[1], 2);
    // The program makes the header invalid, whatever it held.
    frame[4] = 1;
    assert_eq!(bench.send(&frame)[1], 1);
}

#[test]
fn control_follows_the_action_that_ran() {
    let mut bench = run("tables");
    let table = bench.table("switched");
    let nothing = bench.call(table, "nothing", &[]);
    let mut write = bench.control.write(bench.now);
    write
        .insert(table, entry(&bench, table, key(&[exact(1u8)], 0), 9))
        .expect("insert");
    let e = TableEntry::new(key(&[exact(2u8)], 0), TableAction::Direct(nothing.clone()));
    write.insert(table, e).expect("insert");
    write.commit();
    assert_eq!(ask(&mut bench, SWITCHED, 1, 0, 0), (9, 3));
    assert_eq!(ask(&mut bench, SWITCHED, 2, 0, 0), (0, 4));
    assert_eq!(ask(&mut bench, SWITCHED, 3, 0, 0), (0, 5));
    bench
        .control
        .write(bench.now)
        .set_default_action(table, Some(nothing))
        .expect("default");
    assert_eq!(ask(&mut bench, SWITCHED, 3, 0, 0), (0, 4));
    bench
        .control
        .write(bench.now)
        .set_default_action(table, None)
        .expect("default");
    assert_eq!(ask(&mut bench, SWITCHED, 3, 0, 0), (0, 5));
}

#[test]
fn the_default_action_can_be_read_and_changed() {
    let mut bench = run("tables");
    let table = bench.table("lpm_table");
    let (own, is_own) = bench
        .control
        .default_action(table)
        .expect("the program gives one");
    assert_eq!((own.params, is_own), (vec![vec![99]], true));
    let call = bench.call(table, "answer", &[&[0, 0, 77]]);
    bench
        .control
        .write(bench.now)
        .set_default_action(table, Some(call))
        .expect("default");
    assert_eq!(ask(&mut bench, LPM, 1, 1, 0), (77, MISS));
    let (now, is_own) = bench.control.default_action(table).expect("there is one");
    assert_eq!((now.params, is_own), (vec![vec![77]], false));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let bench = run("tables");
    let table = bench.table("exact_table");
    let ternary_table = bench.table("ternary_table");
    let answer = |n: &[u8]| TableAction::Direct(bench.call(table, "answer", &[n]));
    let good = key(&[exact(1u8), exact(1u8)], 0);
    let try_insert = |table, key: EntryKey, action| {
        bench
            .control
            .write(bench.now)
            .insert(table, TableEntry::new(key, action))
    };
    let refused = |result: Result<(), ControlError>| {
        assert!(
            matches!(result, Err(ControlError::InvalidArgument(_))),
            "{result:?}"
        );
    };
    refused(try_insert(table, key(&[exact(1u8)], 0), answer(&[1])));
    refused(try_insert(
        table,
        key(&[exact(0x1_0000u32), exact(1u8)], 0),
        answer(&[1]),
    ));
    refused(try_insert(
        table,
        key(&[ternary(1, 1), exact(1u8)], 0),
        answer(&[1]),
    ));
    refused(try_insert(table, key(&good.matches, 1), answer(&[1])));
    refused(try_insert(table, good.clone(), answer(&[1, 0])));
    refused(try_insert(table, good.clone(), TableAction::Member(1)));
    let no_params = ActionCall::new(bench.action(table, "answer"), []);
    refused(try_insert(
        table,
        good.clone(),
        TableAction::Direct(no_params),
    ));
    let wild = [ternary(0, 0), ternary(0, 0)];
    refused(try_insert(ternary_table, key(&wild, 0), answer(&[1])));
    refused(try_insert(
        ternary_table,
        key(&[ternary(3, 1), ternary(0, 0)], 1),
        answer(&[1]),
    ));
    let lpm_table = bench.table("lpm_table");
    refused(try_insert(
        lpm_table,
        key(&[exact(1u8), lpm(1, 31)], 0),
        answer(&[1]),
    ));
    refused(try_insert(
        lpm_table,
        key(&[exact(1u8), lpm(0, 33)], 0),
        answer(&[1]),
    ));
    let backwards = MatchValue::Range {
        low: vec![2],
        high: vec![1],
    };
    let range_table = bench.table("range_table");
    refused(try_insert(
        range_table,
        key(&[backwards, ternary(0, 0)], 1),
        answer(&[1]),
    ));
    let mut timed = TableEntry::new(good, answer(&[1]));
    timed.idle_timeout = std::time::Duration::from_secs(1);
    let result = bench.control.write(bench.now).insert(table, timed);
    assert!(matches!(result, Err(ControlError::Unsupported(_))));
    assert!(
        [table, ternary_table, lpm_table, range_table]
            .iter()
            .all(|table| bench.control.entry_count(*table) == 0)
    );
}

#[test]
fn a_full_table_says_so() {
    let limits = Limits {
        table_entries: Some(3),
        ..Limits::default()
    };
    let bench = run_with(
        "tables",
        SwitchConfig {
            limits,
            ..SwitchConfig::default()
        },
    );
    let table = bench.table("exact_table");
    let mut write = bench.control.write(bench.now);
    for x in 0..3u8 {
        let e = entry(&bench, table, key(&[exact(x), exact(0u8)], 0), x);
        write.insert(table, e).expect("insert");
    }
    let e = entry(&bench, table, key(&[exact(3u8), exact(0u8)], 0), 3);
    assert!(matches!(
        write.insert(table, e.clone()),
        Err(ControlError::Full { limit: 3, .. })
    ));
    write
        .delete(table, &key(&[exact(0u8), exact(0u8)], 0))
        .expect("delete");
    write.insert(table, e).expect("there is room again");
}

/// An entry of a naive table.
#[derive(Debug, Clone)]
struct Naive {
    x: (u16, u16),
    second: (u128, u128),
    priority: u32,
    n: u8,
}

fn small_mask() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![0u16, 1, 3, 0xfffe, 0xffff])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ternary_lookups_agree_with_a_scan(
        ops in prop::collection::vec(
            (0u16..4, small_mask(), 0u128..3, 0u128..4, any::<u8>(), any::<bool>()), 1..40),
    ) {
        let mut bench = run("tables");
        let table = bench.table("ternary_table");
        let mut naive: Vec<Naive> = Vec::new();
        for (i, (x, x_mask, z, z_mask, n, remove)) in ops.into_iter().enumerate() {
            if remove && !naive.is_empty() {
                let old = naive.remove(n as usize % naive.len());
                let k = key(&[ternary(old.x.0.into(), old.x.1.into()),
                              ternary(old.second.0, old.second.1)], old.priority);
                bench.control.write(bench.now).delete(table, &k).expect("it is there");
            } else {
                // Priorities differ: what wins among equals is nobody's business.
                let priority = (u32::from(n) << 8) + i as u32 + 1;
                let e = Naive { x: (x & x_mask, x_mask), second: (z & z_mask, z_mask), priority, n };
                let k = key(&[ternary(e.x.0.into(), e.x.1.into()),
                              ternary(e.second.0, e.second.1)], priority);
                bench.control.write(bench.now)
                    .insert(table, entry(&bench, table, k, n)).expect("it is new");
                naive.push(e);
            }
            for x in 0..4 {
                for z in 0..4 {
                    let matches = |e: &&Naive| x & e.x.1 == e.x.0 && z & e.second.1 == e.second.0;
                    let winner = naive.iter().filter(matches).max_by_key(|e| e.priority);
                    let expected = winner.map_or((0, MISS), |e| (e.n, HIT));
                    prop_assert_eq!(ask(&mut bench, TERNARY, x, 0, z), expected);
                }
            }
            prop_assert_eq!(bench.control.entry_count(table), naive.len());
        }
    }

    #[test]
    fn range_lookups_agree_with_a_scan(
        entries in prop::collection::vec((0u16..30, 0u16..30, 0u128..2, any::<u8>()), 1..20),
    ) {
        let mut bench = run("tables");
        let table = bench.table("range_table");
        let mut naive = Vec::new();
        for (i, (a, b, y_mask, n)) in entries.into_iter().enumerate() {
            let (low, high, priority) = (a.min(b), a.max(b), (u32::from(n) << 8) + i as u32 + 1);
            let range = MatchValue::Range {
                low: low.to_be_bytes().to_vec(), high: high.to_be_bytes().to_vec() };
            let k = key(&[range, ternary(y_mask, y_mask)], priority);
            bench.control.write(bench.now)
                .insert(table, entry(&bench, table, k, n)).expect("it is new");
            naive.push((low, high, y_mask as u32, priority, n));
        }
        for x in 0..32 {
            for y in 0..2u32 {
                let winner = naive.iter()
                    .filter(|(low, high, mask, ..)| (*low..=*high).contains(&x) && y & mask == *mask)
                    .max_by_key(|(.., priority, _)| *priority);
                let expected = winner.map_or((0, MISS), |(.., n)| (*n, HIT));
                prop_assert_eq!(ask(&mut bench, RANGE, x, y, 0), expected);
            }
        }
    }

    #[test]
    fn prefix_lookups_agree_with_a_scan(
        entries in prop::collection::vec((any::<u32>(), 0u32..33, any::<u8>()), 1..40),
        probes in prop::collection::vec(any::<u32>(), 1..20),
    ) {
        let mut bench = run("tables");
        let table = bench.table("lpm_table");
        let mask = |len: u32| if len == 0 { 0 } else { u32::MAX << (32 - len) };
        let mut naive: Vec<(u32, u32, u8)> = Vec::new();
        for (value, len, n) in entries {
            let value = value & mask(len);
            if naive.iter().any(|(v, l, _)| (*v, *l) == (value, len)) {
                continue;
            }
            let k = key(&[exact(1u8), lpm(value.into(), len)], 0);
            bench.control.write(bench.now)
                .insert(table, entry(&bench, table, k, n)).expect("it is new");
            naive.push((value, len, n));
        }
        let near: Vec<u32> = naive.iter().flat_map(|(v, ..)| [*v, v ^ 1, v ^ 0x8000]).collect();
        for y in probes.into_iter().chain(near) {
            let winner = naive.iter().filter(|(v, l, _)| y & mask(*l) == *v).max_by_key(|e| e.1);
            let expected = winner.map_or((99, MISS), |(.., n)| (*n, HIT));
            prop_assert_eq!(ask(&mut bench, LPM, 1, y, 0), expected);
        }
    }
}
