//! The packet path neither allocates nor frees once it is warm.
#![allow(missing_docs)]

mod programs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use programs::run;
use sim::OutputFn;
use sim::control::{
    CloneSession, EntryKey, MeterConfig, MulticastGroup, Replica, TableAction, TableEntry,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static FREES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks for and gives back.
struct Counting;

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory
// that it manages (a `const` thread-local without destructor).
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREES.with(|n| n.set(n.get() + 1));
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn frames_pass_without_allocation_once_the_worker_is_warm() {
    let mut bench = run("traffic");
    let replicas = vec![
        Replica {
            port: 1,
            instance: 1,
        },
        Replica {
            port: 2,
            instance: 2,
        },
    ];
    let table = bench.table("direct_table");
    let call = bench.call(table, "metered", &[&[0, 7]]);
    let key = EntryKey::exact([&[1u8][..]]);
    let mut write = bench.control.write(Duration::ZERO);
    let group = MulticastGroup {
        replicas: replicas.clone(),
        metadata: vec![],
    };
    write.insert_multicast_group(7, group).expect("group");
    for session in [7, 9] {
        let clones = CloneSession {
            replicas: replicas.clone(),
            ..CloneSession::default()
        };
        write
            .insert_clone_session(session, clones)
            .expect("session");
    }
    let entry = TableEntry::new(key.clone(), TableAction::Direct(call));
    write.insert(table, entry).expect("entry");
    write.commit();
    let config = MeterConfig {
        cir: 1,
        cburst: 1,
        pir: 1,
        pburst: 1,
    };
    bench
        .control
        .write_direct_meter(table, Some(&key), Some(config))
        .expect("meter");

    // Forward, drop, multicast, clones, resubmit, digest, truncate, registers, counters, meters,
    // hash, random, direct counter and meter; not recirculate, which makes a new frame.
    let ops = [0u8, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 16];
    let mut leave = 0u64;
    let mut pass = |bench: &mut programs::Bench| {
        for op in ops {
            let frame = [op, 1, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8];
            let mut out = OutputFn(|_, _: &[u8], _: &[u8]| leave += 1);
            bench.worker.process(bench.now, 3, &frame, &mut out);
        }
    };
    pass(&mut bench);
    pass(&mut bench);
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..100 {
        pass(&mut bench);
    }
    let after = ALLOCATIONS.with(Cell::get);
    assert_eq!(
        after - before,
        0,
        "allocations in {} frames",
        100 * ops.len()
    );
    assert_eq!(leave, 102 * 19, "all of them passed");
}

#[test]
fn a_packet_frees_nothing_of_what_a_write_replaced() {
    let mut bench = run("traffic");
    let table = bench.table("direct_table");
    let entry = |bench: &programs::Bench, n: u8| {
        let call = bench.call(table, "metered", &[&[0, n]]);
        TableEntry::new(EntryKey::exact([&[n][..]]), TableAction::Direct(call))
    };
    let mut write = bench.control.write(Duration::ZERO);
    for n in 0..8 {
        write.insert(table, entry(&bench, n)).expect("entry");
    }
    write.commit();
    let pass = |bench: &mut programs::Bench| {
        let mut out = OutputFn(|_, _: &[u8], _: &[u8]| {});
        let frame = [0, 1, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8];
        bench.worker.process(bench.now, 3, &frame, &mut out);
    };
    pass(&mut bench);
    for n in 0..8 {
        // The worker is the last to have seen the entry before this.
        let key = EntryKey::exact([&[n][..]]);
        let mut write = bench.control.write(Duration::ZERO);
        write.delete(table, &key).expect("there");
        write.commit();
        let before = FREES.with(Cell::get);
        pass(&mut bench);
        assert_eq!(FREES.with(Cell::get), before, "frees after write {n}");
    }
}
