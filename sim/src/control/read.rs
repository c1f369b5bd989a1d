//! Reading a pipeline's state, and the state that is changed in place.

use std::sync::Arc;
use std::time::Duration;

use super::error::ControlError;
use super::types::{
    ActionCall, CloneSession, CounterData, CounterHandle, DigestHandle, DigestMessage, EntryKey,
    IdleNotification, MeterConfig, MeterHandle, MulticastGroup, ProfileGroup, ProfileHandle,
    RegisterHandle, TableEntry, TableHandle, ValueSetHandle,
};
use super::write::Write;
use crate::bmv2::Pipeline;

/// The control plane of one loaded pipeline; see the [module](super). Cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(crate) inner: Arc<()>,
}

impl Control {
    /// The pipeline, for handles and widths.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        unimplemented!("{:?}", self.inner)
    }

    /// Opens a set of changes. Waits for another writer to finish.
    #[must_use = "dropping it at once changes nothing"]
    pub fn write(&self, now: Duration) -> Write<'_> {
        unimplemented!("{now:?}")
    }

    /// The entry with this key.
    pub fn entry(&self, table: TableHandle, key: &EntryKey) -> Result<TableEntry, ControlError> {
        unimplemented!("{table:?}{key:?}")
    }

    /// All entries, const ones included, in no particular order.
    #[must_use]
    pub fn entries(&self, table: TableHandle) -> Vec<TableEntry> {
        unimplemented!("{table:?}")
    }

    /// How many entries the table has.
    #[must_use]
    pub fn entry_count(&self, table: TableHandle) -> usize {
        unimplemented!("{table:?}")
    }

    /// The default action as it is now, and whether it is the program's own. `None` if the program
    /// gives none and none was set.
    #[must_use]
    pub fn default_action(&self, table: TableHandle) -> Option<(ActionCall, bool)> {
        unimplemented!("{table:?}")
    }

    /// How long ago the entry was last hit (or inserted, or modified, if that is later).
    /// `Unsupported` in a table without idle timeouts.
    pub fn time_since_last_hit(
        &self,
        table: TableHandle,
        key: &EntryKey,
        now: Duration,
    ) -> Result<Duration, ControlError> {
        unimplemented!("{table:?}{key:?}{now:?}")
    }

    /// The direct counter of an entry, or of the default entry (`None`).
    pub fn direct_counter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<CounterData, ControlError> {
        unimplemented!("{table:?}{key:?}")
    }

    /// Sets the direct counter of an entry, or of the default entry (`None`).
    pub fn write_direct_counter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
        value: CounterData,
    ) -> Result<(), ControlError> {
        unimplemented!("{table:?}{key:?}{value:?}")
    }

    /// The direct meter's configuration of an entry, or of the default entry (`None`).
    pub fn direct_meter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
    ) -> Result<Option<MeterConfig>, ControlError> {
        unimplemented!("{table:?}{key:?}")
    }

    /// Configures the direct meter of an entry, or of the default entry (`None`): full buckets
    /// from now on. No configuration marks everything green.
    pub fn write_direct_meter(
        &self,
        table: TableHandle,
        key: Option<&EntryKey>,
        config: Option<MeterConfig>,
    ) -> Result<(), ControlError> {
        unimplemented!("{table:?}{key:?}{config:?}")
    }

    /// The entries that expired since they were last reported.
    #[must_use]
    pub fn expired(&self, now: Duration) -> Vec<IdleNotification> {
        unimplemented!("{now:?}")
    }

    /// One member of an action profile.
    pub fn member(&self, profile: ProfileHandle, member: u32) -> Result<ActionCall, ControlError> {
        unimplemented!("{profile:?}{member:?}")
    }

    /// All members of an action profile, by id.
    #[must_use]
    pub fn members(&self, profile: ProfileHandle) -> Vec<(u32, ActionCall)> {
        unimplemented!("{profile:?}")
    }

    /// One group of an action selector.
    pub fn group(&self, profile: ProfileHandle, group: u32) -> Result<ProfileGroup, ControlError> {
        unimplemented!("{profile:?}{group:?}")
    }

    /// All groups of an action selector, by id.
    #[must_use]
    pub fn groups(&self, profile: ProfileHandle) -> Vec<(u32, ProfileGroup)> {
        unimplemented!("{profile:?}")
    }

    /// The members of a value set.
    #[must_use]
    pub fn value_set(&self, value_set: ValueSetHandle) -> Vec<Vec<u8>> {
        unimplemented!("{value_set:?}")
    }

    /// One multicast group.
    #[must_use]
    pub fn multicast_group(&self, id: u16) -> Option<MulticastGroup> {
        unimplemented!("{id:?}")
    }

    /// All multicast groups, by id.
    #[must_use]
    pub fn multicast_groups(&self) -> Vec<(u16, MulticastGroup)> {
        unimplemented!()
    }

    /// One clone session.
    #[must_use]
    pub fn clone_session(&self, id: u32) -> Option<CloneSession> {
        unimplemented!("{id:?}")
    }

    /// All clone sessions, by id.
    #[must_use]
    pub fn clone_sessions(&self) -> Vec<(u32, CloneSession)> {
        unimplemented!()
    }

    /// One cell of a counter array. `NotFound` beyond its size.
    pub fn counter(
        &self,
        counter: CounterHandle,
        index: usize,
    ) -> Result<CounterData, ControlError> {
        unimplemented!("{counter:?}{index:?}")
    }

    /// Sets one cell of a counter array.
    pub fn write_counter(
        &self,
        counter: CounterHandle,
        index: usize,
        value: CounterData,
    ) -> Result<(), ControlError> {
        unimplemented!("{counter:?}{index:?}{value:?}")
    }

    /// The configuration of one cell of a meter array; `None` if it has none.
    pub fn meter(
        &self,
        meter: MeterHandle,
        index: usize,
    ) -> Result<Option<MeterConfig>, ControlError> {
        unimplemented!("{meter:?}{index:?}")
    }

    /// Configures one cell of a meter array: full buckets from now on. `None` marks everything
    /// green.
    pub fn write_meter(
        &self,
        meter: MeterHandle,
        index: usize,
        config: Option<MeterConfig>,
    ) -> Result<(), ControlError> {
        unimplemented!("{meter:?}{index:?}{config:?}")
    }

    /// One cell of a register array.
    pub fn register(
        &self,
        register: RegisterHandle,
        index: usize,
    ) -> Result<Vec<u8>, ControlError> {
        unimplemented!("{register:?}{index:?}")
    }

    /// Sets one cell of a register array.
    pub fn write_register(
        &self,
        register: RegisterHandle,
        index: usize,
        value: &[u8],
    ) -> Result<(), ControlError> {
        unimplemented!("{register:?}{index:?}{value:?}")
    }

    /// Takes up to `max` messages of one digest, oldest first. The queue holds
    /// [`SwitchConfig::digest_queue`](crate::SwitchConfig::digest_queue) messages of each digest;
    /// what comes when it is full is lost and counted ([`Control::digests_lost`]). Digests are
    /// queued whether or not anyone asked for them: whoever does not want them discards them.
    #[must_use]
    pub fn take_digests(&self, digest: DigestHandle, max: usize) -> Vec<DigestMessage> {
        unimplemented!("{digest:?}{max:?}")
    }

    /// How many messages of one digest were lost because its queue was full.
    #[must_use]
    pub fn digests_lost(&self, digest: DigestHandle) -> u64 {
        unimplemented!("{digest:?}")
    }
}
