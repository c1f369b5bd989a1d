//! Reading a pipeline's state, and the state that is changed in place.

use std::sync::Arc;
use std::time::Duration;

use super::error::ControlError;
use super::info::TableInfo;
use super::key::{compile_key, to_bytes, to_words};
use super::types::{
    ActionCall, CloneSession, ColorCounts, CounterData, CounterHandle, DigestHandle, DigestMessage,
    EntryKey, IdleNotification, MeterConfig, MeterHandle, MulticastGroup, ProfileGroup,
    ProfileHandle, RegisterHandle, TableEntry, TableHandle, ValueSetHandle,
};
use super::write::Write;
use crate::bmv2::Pipeline;
use crate::externs::counter::CounterCell;
use crate::externs::meter::Meter;
use crate::state::{Instance, Snapshot, source_call};
use crate::switch::nanoseconds;
use crate::tables::{Entry, EntryAction, hash_words};

/// The control plane of one loaded pipeline; see the [module](super). Cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(crate) instance: Arc<Instance>,
}

impl Control {
    /// The pipeline, for handles and widths.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.instance.pipeline
    }

    /// Opens a set of changes. Waits for another writer to finish.
    #[must_use = "dropping it at once changes nothing"]
    pub fn write(&self, now: Duration) -> Write<'_> {
        Write::new(self, now)
    }

    /// The entry with this key.
    pub fn entry(&self, table: TableHandle, key: &EntryKey) -> Result<TableEntry, ControlError> {
        Ok(self.find(table, key)?.source.clone())
    }

    /// All entries, const ones included, in no particular order.
    #[must_use]
    pub fn entries(&self, table: TableHandle) -> Vec<TableEntry> {
        let snapshot = self.snapshot();
        let mut entries = Vec::new();
        snapshot.tables[table.index()].for_each(&mut |entry| entries.push(entry.source.clone()));
        entries
    }

    /// How many entries the table has.
    #[must_use]
    pub fn entry_count(&self, table: TableHandle) -> usize {
        self.snapshot().tables[table.index()].len()
    }

    /// The default action as it is now, and whether it is the program's own. `None` if the program
    /// gives none and none was set.
    #[must_use]
    pub fn default_action(&self, table: TableHandle) -> Option<(ActionCall, bool)> {
        let snapshot = self.snapshot();
        let entry = snapshot.tables[table.index()].default.as_ref()?;
        let EntryAction::Call(call) = &entry.action else {
            return None;
        };
        let own = &self.instance.pipeline.program.tables[table.index()].default;
        Some((
            source_call(&self.instance.pipeline, call),
            own.as_ref() == Some(call),
        ))
    }

    /// How long ago the entry was last hit (or inserted, or modified, if that is later).
    /// `Unsupported` in a table without idle timeouts.
    pub fn time_since_last_hit(
        &self,
        table: TableHandle,
        key: &EntryKey,
        now: Duration,
    ) -> Result<Duration, ControlError> {
        let info = self.instance.pipeline.table_info(table);
        if !info.idle_timeout {
            let reason = format!("table `{}` has no idle timeouts", info.name);
            return Err(ControlError::Unsupported(reason));
        }
        let entry = self.find(table, key)?;
        Ok(Duration::from_nanos(entry.state.idle(nanoseconds(now))))
    }

    /// The direct counter of an entry, or of the default entry (`None`).
    pub fn direct_counter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<CounterData, ControlError> {
        Ok(self.counted(table, key)?.state.counter.read())
    }

    /// Sets the direct counter of an entry, or of the default entry (`None`).
    pub fn write_direct_counter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
        value: CounterData,
    ) -> Result<(), ControlError> {
        self.counted(table, key)?.state.counter.write(value);
        Ok(())
    }

    /// The direct meter's configuration of an entry, or of the default entry (`None`).
    pub fn direct_meter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<Option<MeterConfig>, ControlError> {
        Ok(self.metered(table, key)?.state.meter.config())
    }

    /// What the direct meter of an entry has marked, or that of the default entry (`None`).
    pub fn direct_meter_colors(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<ColorCounts, ControlError> {
        Ok(self.metered(table, key)?.state.meter.colors())
    }

    /// Configures the direct meter of an entry, or of the default entry (`None`): full buckets
    /// from now on. No configuration marks everything green.
    pub fn write_direct_meter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
        config: Option<MeterConfig>,
    ) -> Result<(), ControlError> {
        let entry = self.metered(table, key)?;
        check_meter(config)?;
        entry.state.meter.configure(config);
        Ok(())
    }

    /// The entries that expired since they were last reported.
    #[must_use]
    pub fn expired(&self, now: Duration) -> Vec<IdleNotification> {
        let snapshot = self.snapshot();
        let now = nanoseconds(now);
        let mut notifications = Vec::new();
        for (table, info) in self.instance.pipeline.tables() {
            if !info.idle_timeout {
                continue;
            }
            snapshot.tables[table.index()].for_each(&mut |entry| {
                let timeout = nanoseconds(entry.source.idle_timeout);
                if timeout > 0 && entry.state.expire(now, timeout) {
                    notifications.push(IdleNotification {
                        table,
                        entry: entry.source.clone(),
                    });
                }
            });
        }
        notifications
    }

    /// One member of an action profile.
    pub fn member(&self, profile: ProfileHandle, member: u32) -> Result<ActionCall, ControlError> {
        let snapshot = self.snapshot();
        let id = [u64::from(member)];
        match snapshot.profiles[profile.index()]
            .members
            .get(hash_words(&id), &id)
        {
            Some(member) => Ok(member.source.clone()),
            None => Err(ControlError::NotFound(
                self.member_name(profile, "member", member),
            )),
        }
    }

    /// All members of an action profile, by id.
    #[must_use]
    pub fn members(&self, profile: ProfileHandle) -> Vec<(u32, ActionCall)> {
        let snapshot = self.snapshot();
        let mut members = Vec::new();
        snapshot.profiles[profile.index()]
            .members
            .for_each(&mut |member| members.push((member.id[0] as u32, member.source.clone())));
        members.sort_unstable_by_key(|(id, _)| *id);
        members
    }

    /// One group of an action selector.
    pub fn group(&self, profile: ProfileHandle, group: u32) -> Result<ProfileGroup, ControlError> {
        let snapshot = self.snapshot();
        let id = [u64::from(group)];
        match snapshot.profiles[profile.index()]
            .groups
            .get(hash_words(&id), &id)
        {
            Some(group) => Ok(group.source.clone()),
            None => Err(ControlError::NotFound(
                self.member_name(profile, "group", group),
            )),
        }
    }

    /// All groups of an action selector, by id.
    #[must_use]
    pub fn groups(&self, profile: ProfileHandle) -> Vec<(u32, ProfileGroup)> {
        let snapshot = self.snapshot();
        let mut groups = Vec::new();
        snapshot.profiles[profile.index()]
            .groups
            .for_each(&mut |group| groups.push((group.id[0] as u32, group.source.clone())));
        groups.sort_unstable_by_key(|(id, _)| *id);
        groups
    }

    /// The members of a value set.
    #[must_use]
    pub fn value_set(&self, value_set: ValueSetHandle) -> Vec<Vec<u8>> {
        let snapshot = self.snapshot();
        snapshot.value_sets[value_set.index()]
            .iter()
            .map(|member| member.bytes.clone())
            .collect()
    }

    /// One multicast group.
    #[must_use]
    pub fn multicast_group(&self, id: u16) -> Option<MulticastGroup> {
        self.snapshot()
            .pre
            .group(id.into())
            .map(|group| group.source.clone())
    }

    /// All multicast groups, by id.
    #[must_use]
    pub fn multicast_groups(&self) -> Vec<(u16, MulticastGroup)> {
        let snapshot = self.snapshot();
        let mut groups = Vec::new();
        snapshot
            .pre
            .groups
            .for_each(&mut |group| groups.push((group.id() as u16, group.source.clone())));
        groups.sort_unstable_by_key(|(id, _)| *id);
        groups
    }

    /// One clone session.
    #[must_use]
    pub fn clone_session(&self, id: u32) -> Option<CloneSession> {
        self.snapshot()
            .pre
            .session(id.into())
            .map(|session| session.source.clone())
    }

    /// All clone sessions, by id.
    #[must_use]
    pub fn clone_sessions(&self) -> Vec<(u32, CloneSession)> {
        let snapshot = self.snapshot();
        let mut sessions = Vec::new();
        snapshot
            .pre
            .sessions
            .for_each(&mut |session| sessions.push((session.id() as u32, session.source.clone())));
        sessions.sort_unstable_by_key(|(id, _)| *id);
        sessions
    }

    /// One cell of a counter array. `NotFound` beyond its size.
    pub fn counter(
        &self,
        counter: CounterHandle,
        index: usize,
    ) -> Result<CounterData, ControlError> {
        self.counter_cell(counter, index).map(CounterCell::read)
    }

    /// Sets one cell of a counter array.
    pub fn write_counter(
        &self,
        counter: CounterHandle,
        index: usize,
        value: CounterData,
    ) -> Result<(), ControlError> {
        self.counter_cell(counter, index)?.write(value);
        Ok(())
    }

    /// The configuration of one cell of a meter array; `None` if it has none.
    pub fn meter(
        &self,
        meter: MeterHandle,
        index: usize,
    ) -> Result<Option<MeterConfig>, ControlError> {
        self.meter_cell(meter, index).map(Meter::config)
    }

    /// What one cell of a meter array has marked.
    pub fn meter_colors(
        &self,
        meter: MeterHandle,
        index: usize,
    ) -> Result<ColorCounts, ControlError> {
        self.meter_cell(meter, index).map(Meter::colors)
    }

    /// Configures one cell of a meter array: full buckets from now on. `None` marks everything
    /// green.
    pub fn write_meter(
        &self,
        meter: MeterHandle,
        index: usize,
        config: Option<MeterConfig>,
    ) -> Result<(), ControlError> {
        let meter = self.meter_cell(meter, index)?;
        check_meter(config)?;
        meter.configure(config);
        Ok(())
    }

    /// One cell of a register array.
    pub fn register(
        &self,
        register: RegisterHandle,
        index: usize,
    ) -> Result<Vec<u8>, ControlError> {
        let info = self.instance.pipeline.register_info(register);
        let cells = &self.instance.state.registers[register.index()];
        let mut words = vec![0; cells.words()];
        match cells.read(index as u64, &mut words) {
            true => Ok(to_bytes(&words, info.width)),
            false => Err(beyond("register", &info.name, index, info.size)),
        }
    }

    /// Sets one cell of a register array.
    pub fn write_register(
        &self,
        register: RegisterHandle,
        index: usize,
        value: &[u8],
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.register_info(register);
        let words = to_words(value, info.width, &format!("register `{}`", info.name))?;
        match self.instance.state.registers[register.index()].write(index as u64, &words) {
            true => Ok(()),
            false => Err(beyond("register", &info.name, index, info.size)),
        }
    }

    /// Takes up to `max` messages of one digest, oldest first. The queue holds
    /// [`SwitchConfig::digest_queue`](crate::SwitchConfig::digest_queue) messages of each digest;
    /// what comes when it is full is lost and counted ([`Control::digests_lost`]). Digests are
    /// queued whether or not anyone asked for them: whoever does not want them discards them.
    #[must_use]
    pub fn take_digests(&self, digest: DigestHandle, max: usize) -> Vec<DigestMessage> {
        let fields = &self.instance.pipeline.program.digests[digest.index()].fields;
        let mut messages = Vec::new();
        self.instance.state.digests[digest.index()].take(max, |cell| {
            let mut at = 0;
            let mut message = Vec::with_capacity(fields.len());
            for (span, width) in fields {
                let words = span.words as usize;
                message.push(to_bytes(&cell[at..at + words], *width));
                at += words;
            }
            messages.push(DigestMessage { fields: message });
        });
        messages
    }

    /// How many messages of one digest were lost because its queue was full.
    #[must_use]
    pub fn digests_lost(&self, digest: DigestHandle) -> u64 {
        self.instance.state.digests[digest.index()].lost()
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.instance.published.load_full()
    }

    fn find(&self, table: TableHandle, key: &EntryKey) -> Result<Arc<Entry>, ControlError> {
        let info = self.instance.pipeline.table_info(table);
        let program = &self.instance.pipeline.program.tables[table.index()];
        let like = compile_key(program, info, key)?;
        match self.snapshot().tables[table.index()].find(&like) {
            Some(entry) => Ok(entry.clone()),
            None => Err(ControlError::NotFound(entry_name(info, key))),
        }
    }

    /// The entry with this key, or the default entry.
    fn entry_or_default(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<Arc<Entry>, ControlError> {
        match key {
            Some(key) => self.find(table, key),
            None => {
                let default = self.snapshot().tables[table.index()].default.clone();
                default.ok_or_else(|| no_default(self.instance.pipeline.table_info(table)))
            }
        }
    }

    fn counted(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<Arc<Entry>, ControlError> {
        let info = self.instance.pipeline.table_info(table);
        if !info.direct_counter {
            return Err(no_direct_counter(info));
        }
        self.entry_or_default(table, key)
    }

    fn metered(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<Arc<Entry>, ControlError> {
        let info = self.instance.pipeline.table_info(table);
        if info.direct_meter.is_none() {
            return Err(no_direct_meter(info));
        }
        self.entry_or_default(table, key)
    }

    pub(super) fn member_name(&self, profile: ProfileHandle, what: &str, id: u32) -> String {
        let info = self.instance.pipeline.profile_info(profile);
        format!("{what} {id} of action profile `{}`", info.name)
    }

    fn counter_cell(
        &self,
        counter: CounterHandle,
        index: usize,
    ) -> Result<&CounterCell, ControlError> {
        let info = self.instance.pipeline.counter_info(counter);
        let cell = self.instance.state.counters[counter.index()].get(index as u64);
        cell.ok_or_else(|| beyond("counter", &info.name, index, info.size))
    }

    fn meter_cell(&self, meter: MeterHandle, index: usize) -> Result<&Meter, ControlError> {
        let info = self.instance.pipeline.meter_info(meter);
        let cell = self.instance.state.meters[meter.index()].get(index);
        cell.ok_or_else(|| beyond("meter", &info.name, index, info.size))
    }
}

pub(super) fn no_default(info: &TableInfo) -> ControlError {
    ControlError::NotFound(format!("a default action of table `{}`", info.name))
}

pub(super) fn no_direct_counter(info: &TableInfo) -> ControlError {
    ControlError::Unsupported(format!("table `{}` has no direct counter", info.name))
}

pub(super) fn no_direct_meter(info: &TableInfo) -> ControlError {
    ControlError::Unsupported(format!("table `{}` has no direct meter", info.name))
}

pub(super) fn beyond(what: &str, name: &str, index: usize, size: usize) -> ControlError {
    ControlError::NotFound(format!(
        "index {index} of {what} `{name}`, which has {size} cells,"
    ))
}

/// Names an entry in an error.
pub(super) fn entry_name(info: &TableInfo, key: &EntryKey) -> String {
    format!(
        "the entry {:?} with priority {} of table `{}`",
        key.matches, key.priority, info.name
    )
}

pub(super) fn check_meter(config: Option<MeterConfig>) -> Result<(), ControlError> {
    match config {
        Some(MeterConfig { cir, pir, .. }) if cir > pir => Err(ControlError::InvalidArgument(
            format!("the committed rate {cir} exceeds the peak rate {pir}"),
        )),
        _ => Ok(()),
    }
}
