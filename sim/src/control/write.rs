//! Changes to tables, action profiles, value sets, multicast groups and clone sessions.

use super::error::ControlError;
use super::types::{
    ActionCall, CloneSession, EntryKey, MulticastGroup, ProfileGroup, ProfileHandle, TableEntry,
    TableHandle, ValueSetHandle,
};

/// An open set of changes. Packets see all of it at once when it is committed or dropped; there
/// is no way back for the changes that succeeded. While it is open, other writers wait, packets
/// and readers do not.
///
/// A change costs a microsecond or so, whatever the size of the table, and publishing them costs
/// as much again however many they are: put a whole P4Runtime `WriteRequest` into one `Write`.
pub struct Write<'a> {
    pub(super) inner: std::marker::PhantomData<&'a ()>,
}

impl Write<'_> {
    /// Makes the changes visible to packets. Dropping does the same.
    pub fn commit(self) {}

    /// INSERT of an entry. `AlreadyExists` if an entry has the same matches and priority.
    pub fn insert(&mut self, table: TableHandle, entry: TableEntry) -> Result<(), ControlError> {
        unimplemented!("{table:?}{entry:?}")
    }

    /// MODIFY of an entry: its action, idle timeout and metadata. Its counter and meter stay; its
    /// idle timer starts again.
    pub fn modify(&mut self, table: TableHandle, entry: TableEntry) -> Result<(), ControlError> {
        unimplemented!("{table:?}{entry:?}")
    }

    /// DELETE of an entry.
    pub fn delete(&mut self, table: TableHandle, key: &EntryKey) -> Result<(), ControlError> {
        unimplemented!("{table:?}{key:?}")
    }

    /// Sets the default action; `None` goes back to the program's own.
    pub fn set_default_action(
        &mut self,
        table: TableHandle,
        action: Option<ActionCall>,
    ) -> Result<(), ControlError> {
        unimplemented!("{table:?}{action:?}")
    }

    /// INSERT of a member of an action profile.
    pub fn insert_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
        action: ActionCall,
    ) -> Result<(), ControlError> {
        unimplemented!("{profile:?}{member:?}{action:?}")
    }

    /// MODIFY of a member: every entry and group that uses it has the new action at once.
    pub fn modify_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
        action: ActionCall,
    ) -> Result<(), ControlError> {
        unimplemented!("{profile:?}{member:?}{action:?}")
    }

    /// DELETE of a member. `FailedPrecondition` while an entry or a group uses it.
    pub fn delete_member(
        &mut self,
        profile: ProfileHandle,
        member: u32,
    ) -> Result<(), ControlError> {
        unimplemented!("{profile:?}{member:?}")
    }

    /// INSERT of a group of an action selector. All its members must exist.
    pub fn insert_group(
        &mut self,
        profile: ProfileHandle,
        group: u32,
        value: ProfileGroup,
    ) -> Result<(), ControlError> {
        unimplemented!("{profile:?}{group:?}{value:?}")
    }

    /// MODIFY of a group.
    pub fn modify_group(
        &mut self,
        profile: ProfileHandle,
        group: u32,
        value: ProfileGroup,
    ) -> Result<(), ControlError> {
        unimplemented!("{profile:?}{group:?}{value:?}")
    }

    /// DELETE of a group. `FailedPrecondition` while an entry uses it.
    pub fn delete_group(&mut self, profile: ProfileHandle, group: u32) -> Result<(), ControlError> {
        unimplemented!("{profile:?}{group:?}")
    }

    /// Replaces the members of a value set.
    pub fn set_value_set(
        &mut self,
        value_set: ValueSetHandle,
        members: &[Vec<u8>],
    ) -> Result<(), ControlError> {
        unimplemented!("{value_set:?}{members:?}")
    }

    /// INSERT of a multicast group; its id must not be 0.
    pub fn insert_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
    ) -> Result<(), ControlError> {
        unimplemented!("{id:?}{group:?}")
    }

    /// MODIFY of a multicast group. A packet goes to all of the old or all of the new replicas.
    pub fn modify_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
    ) -> Result<(), ControlError> {
        unimplemented!("{id:?}{group:?}")
    }

    /// DELETE of a multicast group.
    pub fn delete_multicast_group(&mut self, id: u16) -> Result<(), ControlError> {
        unimplemented!("{id:?}")
    }

    /// INSERT of a clone session; its id must not be 0.
    pub fn insert_clone_session(
        &mut self,
        id: u32,
        session: CloneSession,
    ) -> Result<(), ControlError> {
        unimplemented!("{id:?}{session:?}")
    }

    /// MODIFY of a clone session.
    pub fn modify_clone_session(
        &mut self,
        id: u32,
        session: CloneSession,
    ) -> Result<(), ControlError> {
        unimplemented!("{id:?}{session:?}")
    }

    /// DELETE of a clone session.
    pub fn delete_clone_session(&mut self, id: u32) -> Result<(), ControlError> {
        unimplemented!("{id:?}")
    }
}
