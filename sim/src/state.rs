//! The state of one loaded pipeline.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::bmv2::Pipeline;
use crate::control::key::compile_entry;
use crate::control::{ActionCall, ActionHandle, TableAction, TableEntry};
use crate::externs::counter::CounterArray;
use crate::externs::digest::DigestQueue;
use crate::externs::meter::Meter;
use crate::externs::register::RegisterCells;
use crate::pre::Pre;
use crate::program::Call;
use crate::switch::Limits;
use crate::tables::{Entry, EntryAction, Group, LiveTable, Member, Trie};

/// A member of a value set: as the control plane wrote it, and in the words of the key.
#[derive(Debug, Clone)]
pub(crate) struct ValueSetMember {
    pub(crate) bytes: Vec<u8>,
    pub(crate) words: Box<[u64]>,
}

/// An action profile with its members and groups.
#[derive(Clone, Default)]
pub(crate) struct LiveProfile {
    pub(crate) members: Trie<Member>,
    pub(crate) groups: Trie<Group>,
}

/// Everything that packets read and only the control plane changes. A packet uses one snapshot
/// from its arrival to the last of its copies.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) tables: Vec<Arc<LiveTable>>,
    pub(crate) profiles: Vec<LiveProfile>,
    pub(crate) value_sets: Vec<Arc<[ValueSetMember]>>,
    pub(crate) pre: Pre,
}

/// Everything that packets change.
pub(crate) struct State {
    pub(crate) counters: Vec<CounterArray>,
    pub(crate) meters: Vec<Box<[Meter]>>,
    pub(crate) registers: Vec<RegisterCells>,
    pub(crate) digests: Vec<DigestQueue>,
}

/// Which ports are down. Those beyond the last of these are up.
#[derive(Debug)]
pub(crate) struct PortsDown([AtomicU64; 64]);

impl Default for PortsDown {
    fn default() -> Self {
        PortsDown([const { AtomicU64::new(0) }; 64])
    }
}

impl PortsDown {
    pub(crate) fn is_down(&self, port: u32) -> bool {
        let word = self.0.get(port as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (port % 64) & 1 == 1)
    }

    pub(crate) fn set(&self, port: u32, down: bool) {
        if let Some(word) = self.0.get(port as usize / 64) {
            if down {
                word.fetch_or(1 << (port % 64), Ordering::Relaxed);
            } else {
                word.fetch_and(!(1 << (port % 64)), Ordering::Relaxed);
            }
        }
    }
}

/// What the writer knows besides the next snapshot.
pub(crate) struct Draft {
    pub(crate) next: Snapshot,
    /// How many entries and groups use a member, and how many entries a group, by profile and id.
    pub(crate) member_users: HashMap<(u32, u32), usize>,
    pub(crate) group_users: HashMap<(u32, u32), usize>,
    /// Replicas of all multicast groups.
    pub(crate) multicast_replicas: usize,
    /// Snapshots that were replaced and that packets may still be using. Held here so that a
    /// packet never frees what a write replaced, which may be thousands of entries.
    retired: Vec<Arc<Snapshot>>,
}

impl Draft {
    /// Takes a snapshot that was replaced, and frees those that no packet uses any more.
    pub(crate) fn retire(&mut self, replaced: Arc<Snapshot>) {
        self.retired
            .retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.retired.push(replaced);
    }
}

/// A loaded pipeline.
pub(crate) struct Instance {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) published: Arc<ArcSwap<Snapshot>>,
    pub(crate) draft: Mutex<Draft>,
    pub(crate) state: State,
    pub(crate) limits: Limits,
}

impl Instance {
    pub(crate) fn new(pipeline: Arc<Pipeline>, digest_queue: usize, limits: Limits) -> Self {
        let program = &pipeline.program;
        let counters = pipeline
            .counters()
            .map(|(_, c)| CounterArray::new(c.size))
            .collect();
        let meters = pipeline
            .meters()
            .map(|(_, m)| (0..m.size).map(|_| Meter::default()).collect())
            .collect();
        let registers = pipeline
            .registers()
            .map(|(_, r)| RegisterCells::new(r.size, r.width))
            .collect();
        let digests = program
            .digests
            .iter()
            .map(|digest| DigestQueue::new(digest.words as usize, digest_queue))
            .collect();
        let mut next = Snapshot::default();
        for (handle, info) in pipeline.tables() {
            let table = &program.tables[handle.index()];
            let widths: Vec<u32> = info.keys.iter().map(|key| key.width).collect();
            let mut live = LiveTable::new(table, &widths);
            live.default = table
                .default
                .as_ref()
                .map(|call| default_entry(&pipeline, call));
            for entry in &table.entries {
                let source = TableEntry::new(
                    entry.key.clone(),
                    TableAction::Direct(source_call(&pipeline, &entry.call)),
                );
                let action = EntryAction::Call(entry.call.clone());
                // The loader has checked const entries as it checks any other.
                if let Ok(entry) = compile_entry(table, info, source, action) {
                    live.insert(Arc::new(entry));
                }
            }
            next.tables.push(Arc::new(live));
        }
        next.profiles = vec![LiveProfile::default(); program.profiles.len()];
        next.value_sets = vec![Arc::from([]); program.value_sets.len()];
        let draft = Draft {
            next: next.clone(),
            member_users: HashMap::new(),
            group_users: HashMap::new(),
            multicast_replicas: 0,
            retired: Vec::new(),
        };
        Instance {
            published: Arc::new(ArcSwap::from_pointee(next)),
            draft: Mutex::new(draft),
            state: State {
                counters,
                meters,
                registers,
                digests,
            },
            limits,
            pipeline,
        }
    }
}

/// The default entry of a table.
pub(crate) fn default_entry(pipeline: &Pipeline, call: &Call) -> Arc<Entry> {
    let key = crate::control::EntryKey {
        matches: Vec::new(),
        priority: 0,
    };
    let action = TableAction::Direct(source_call(pipeline, call));
    Arc::new(Entry {
        hash: 0,
        key: Box::default(),
        mask: Box::default(),
        ranges: Box::default(),
        priority: 0,
        action: EntryAction::Call(call.clone()),
        source: TableEntry::new(key, action),
        state: Arc::default(),
    })
}

/// A call as the control plane writes it.
pub(crate) fn source_call(pipeline: &Pipeline, call: &Call) -> ActionCall {
    let action = ActionHandle(call.action);
    let mut at = 0;
    let mut params = Vec::new();
    for param in &pipeline.action_info(action).params {
        let words = param.width.div_ceil(64) as usize;
        params.push(crate::control::key::to_bytes(
            &call.args[at..at + words],
            param.width,
        ));
        at += words;
    }
    ActionCall { action, params }
}
