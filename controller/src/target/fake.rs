//! A switch in memory that records what it is told and fails as it is told, for tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tonic::Code;

use super::{Counter, Event, Hit, Switch, Target, TargetError};
use crate::apply::{Op, RowError, Update};
use crate::tables::{Key, Value};

/// A failure to come.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Of updates of this table (a name of [`Key::table`]).
    pub table: &'static str,
    /// Only of this kind.
    pub op: Option<Op>,
    /// What the switch answers.
    pub code: Code,
    /// How many updates fail.
    pub times: usize,
}

/// What the switch holds and has been told.
#[derive(Debug, Default)]
pub struct State {
    /// Its rows.
    pub rows: BTreeMap<Key, Value>,
    /// Every batch written, whatever came of it.
    pub batches: Vec<Vec<Update>>,
    /// Failures to come.
    pub faults: Vec<Fault>,
    /// The most rows of a table.
    pub room: HashMap<&'static str, usize>,
    /// The lease's deadline, in the switch's clock, µs.
    pub deadline_us: u64,
    /// Every deadline that was written.
    pub deadlines: Vec<u64>,
    /// The switch's clock, µs.
    pub clock_us: u64,
    /// Of rows that were hit: how often, and how long ago last.
    pub hits: BTreeMap<Key, (u64, Duration)>,
    /// Writes are answered only while this is false.
    pub stalled: bool,
    /// Whether a program is loaded.
    pub loaded: bool,
    /// The election id that the controller bids with.
    pub election_id: u128,
    /// Whether it is primary as soon as it is connected; else it is told by a report.
    pub contested: bool,
}

impl State {
    /// Writes a batch as a P4Runtime server would.
    pub fn write(&mut self, updates: &[Update]) -> Vec<Result<(), RowError>> {
        self.batches.push(updates.to_vec());
        updates
            .iter()
            .map(|update| self.write_one(update))
            .collect()
    }

    /// What a row of a publication says.
    pub fn hit(&self, row: &Key) -> Option<Hit> {
        self.rows.get(row)?;
        let hit = self.hits.get(row).copied();
        let (packets, idle) = hit.unwrap_or_default();
        Some(Hit { packets, idle })
    }

    fn write_one(&mut self, update: &Update) -> Result<(), RowError> {
        let fail = |code, message: &str| {
            Err(RowError {
                code,
                message: message.into(),
            })
        };
        let table = update.key.table();
        if let Some(fault) = self.faults.iter_mut().find(|fault| {
            fault.times > 0 && fault.table == table && fault.op.is_none_or(|op| op == update.op)
        }) {
            fault.times -= 1;
            return fail(fault.code, "as told");
        }
        let there = self.rows.contains_key(&update.key);
        match (update.op, &update.value) {
            (Op::Insert, _) if there => return fail(Code::AlreadyExists, "it is there"),
            (Op::Modify | Op::Delete, _) if !there => {
                return fail(Code::NotFound, "it is not there");
            }
            (Op::Insert, Some(value)) => {
                let used = self.rows.keys().filter(|key| key.table() == table).count();
                if self.room.get(table).is_some_and(|room| used >= *room) {
                    return fail(Code::ResourceExhausted, "full");
                }
                self.rows.insert(update.key, value.clone());
            }
            (Op::Modify, Some(value)) => {
                self.rows.insert(update.key, value.clone());
            }
            (Op::Delete, _) => {
                self.rows.remove(&update.key);
                self.hits.remove(&update.key);
            }
            (_, None) => return fail(Code::InvalidArgument, "it has no value"),
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    events: Mutex<Option<mpsc::Sender<Event>>>,
}

/// The switch; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct FakeSwitch {
    shared: Arc<Shared>,
}

impl FakeSwitch {
    /// What it holds, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // Only tests panic while they hold it.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes wait from now on, or (false) no longer.
    pub fn stall(&self, stalled: bool) {
        self.state().stalled = stalled;
        self.shared.changed.notify_waiters();
    }

    fn events(&self) -> MutexGuard<'_, Option<mpsc::Sender<Event>>> {
        self.shared
            .events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports something to the connected controller.
    pub async fn report(&self, event: Event) {
        let sender = self.events().clone();
        if let Some(sender) = sender {
            // Nobody listens any more: then nobody is to hear it.
            let _ = sender.send(event).await;
        }
    }

    /// Cuts the connection. The rows stay.
    pub fn cut(&self) {
        *self.events() = None;
    }
}

impl Switch for FakeSwitch {
    type Target = FakeSwitch;

    async fn connect(&mut self) -> Result<(FakeSwitch, mpsc::Receiver<Event>), TargetError> {
        let (sender, receiver) = mpsc::channel(64);
        *self.events() = Some(sender);
        if !self.state().contested {
            self.report(Event::Primary).await;
        }
        Ok((self.clone(), receiver))
    }

    fn raise(&mut self, election_id: u128) {
        self.state().election_id = election_id;
    }

    fn election_id(&self) -> u128 {
        self.state().election_id
    }

    fn address(&self) -> String {
        "a switch in memory".into()
    }
}

impl Target for FakeSwitch {
    async fn prepare(&self) -> Result<bool, TargetError> {
        Ok(!std::mem::replace(&mut self.state().loaded, true))
    }

    async fn write(&self, updates: Vec<Update>) -> Result<Vec<Result<(), RowError>>, TargetError> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut state = self.state();
                if !state.stalled {
                    return Ok(state.write(&updates));
                }
            }
            changed.await;
        }
    }

    async fn read(&self) -> Result<Vec<(Key, Value)>, TargetError> {
        let state = self.state();
        let rows = state.rows.iter();
        Ok(rows.map(|(key, value)| (*key, value.clone())).collect())
    }

    async fn hits(&self, rows: Vec<Key>) -> Result<Vec<Option<Hit>>, TargetError> {
        let state = self.state();
        Ok(rows.iter().map(|row| state.hit(row)).collect())
    }

    async fn counters(&self, rows: Vec<Key>) -> Result<Vec<Counter>, TargetError> {
        Ok(vec![Counter::default(); rows.len()])
    }

    async fn paths(&self) -> Result<BTreeMap<String, u64>, TargetError> {
        Ok(BTreeMap::new())
    }

    async fn send_lease(&self, deadline_us: u64, request: u32) -> Result<(), TargetError> {
        let timestamp_us = {
            let mut state = self.state();
            state.deadline_us = deadline_us;
            state.deadlines.push(deadline_us);
            state.clock_us
        };
        self.report(Event::Echo {
            request,
            timestamp_us,
        })
        .await;
        Ok(())
    }

    fn sizes(&self) -> HashMap<&'static str, usize> {
        HashMap::new()
    }
}
