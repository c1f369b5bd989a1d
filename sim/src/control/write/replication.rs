//! Multicast groups and clone sessions.

use std::sync::Arc;

use super::{Undo, Write};
use crate::control::error::ControlError;
use crate::control::types::{CloneSession, MulticastGroup, Replica};
use crate::pre::Replicated;
use crate::tables::hash_words;

impl Write<'_> {
    fn check_replicas(&self, what: &str, replicas: &[Replica]) -> Result<(), ControlError> {
        let limits = &self.instance.limits;
        if let Some(limit) = limits
            .replicas_per_group
            .filter(|limit| replicas.len() > *limit)
        {
            return Err(ControlError::Full {
                what: what.to_owned(),
                limit,
            });
        }
        if !replicas.is_sorted_by(|a, b| a < b) {
            let mut sorted = replicas.to_vec();
            sorted.sort_unstable();
            if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(ControlError::InvalidArgument(format!(
                    "{what} has the replica on port {} with instance {} twice",
                    twice[0].port, twice[0].instance
                )));
            }
        }
        if let Some(limit) = limits.max_instance
            && let Some(over) = replicas.iter().find(|replica| replica.instance > limit)
        {
            return Err(ControlError::InvalidArgument(format!(
                "{what} has a replica with instance {}; this target ends at {limit}",
                over.instance
            )));
        }
        Ok(())
    }

    /// INSERT of a multicast group; its id must not be 0.
    pub fn insert_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
    ) -> Result<(), ControlError> {
        if self.draft.next.pre.group(id.into()).is_some() {
            return Err(ControlError::AlreadyExists(format!("multicast group {id}")));
        }
        let limit = self.instance.limits.multicast_groups;
        if let Some(limit) = limit.filter(|n| self.draft.next.pre.groups.len() >= *n) {
            return Err(ControlError::Full {
                what: "the multicast group table".to_owned(),
                limit,
            });
        }
        self.put_multicast_group(id, group, 0)
    }

    /// MODIFY of a multicast group. A packet goes to all of the old or all of the new replicas.
    pub fn modify_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
    ) -> Result<(), ControlError> {
        match self
            .draft
            .next
            .pre
            .group(id.into())
            .map(|old| old.replicas.len())
        {
            Some(old) => self.put_multicast_group(id, group, old),
            None => Err(ControlError::NotFound(format!("multicast group {id}"))),
        }
    }

    fn put_multicast_group(
        &mut self,
        id: u16,
        group: MulticastGroup,
        old_replicas: usize,
    ) -> Result<(), ControlError> {
        let what = format!("multicast group {id}");
        if id == 0 {
            let reason = "multicast group 0 means no multicast".to_owned();
            return Err(ControlError::InvalidArgument(reason));
        }
        self.check_replicas(&what, &group.replicas)?;
        let total = self.draft.multicast_replicas - old_replicas + group.replicas.len();
        let limit = self.instance.limits.multicast_replicas;
        if let Some(limit) = limit.filter(|limit| total > *limit) {
            let what = "the multicast replica table".to_owned();
            return Err(ControlError::Full { what, limit });
        }
        self.changed = true;
        self.count_replicas(total);
        let replicas = group.replicas.clone();
        let group = Replicated::new(id.into(), group, &replicas);
        self.draft.next.pre.groups.insert(Arc::new(group));
        Ok(())
    }

    fn count_replicas(&mut self, total: usize) {
        self.undo
            .push(Undo::Replicas(self.draft.multicast_replicas));
        self.draft.multicast_replicas = total;
    }

    /// DELETE of a multicast group.
    pub fn delete_multicast_group(&mut self, id: u16) -> Result<(), ControlError> {
        let id = u64::from(id);
        match self.draft.next.pre.groups.remove(hash_words(&[id]), &[id]) {
            Some(old) => {
                self.changed = true;
                self.count_replicas(self.draft.multicast_replicas - old.replicas.len());
                Ok(())
            }
            None => Err(ControlError::NotFound(format!("multicast group {id}"))),
        }
    }

    /// INSERT of a clone session; its id must not be 0.
    pub fn insert_clone_session(
        &mut self,
        id: u32,
        session: CloneSession,
    ) -> Result<(), ControlError> {
        if self.draft.next.pre.session(id.into()).is_some() {
            return Err(ControlError::AlreadyExists(format!("clone session {id}")));
        }
        let limit = self.instance.limits.clone_sessions;
        if let Some(limit) = limit.filter(|n| self.draft.next.pre.sessions.len() >= *n) {
            return Err(ControlError::Full {
                what: "the clone session table".to_owned(),
                limit,
            });
        }
        self.put_clone_session(id, session)
    }

    /// MODIFY of a clone session.
    pub fn modify_clone_session(
        &mut self,
        id: u32,
        session: CloneSession,
    ) -> Result<(), ControlError> {
        match self.draft.next.pre.session(id.into()) {
            Some(_) => self.put_clone_session(id, session),
            None => Err(ControlError::NotFound(format!("clone session {id}"))),
        }
    }

    fn put_clone_session(&mut self, id: u32, session: CloneSession) -> Result<(), ControlError> {
        let what = format!("clone session {id}");
        if id == 0 {
            let reason = "the id of a clone session must not be 0".to_owned();
            return Err(ControlError::InvalidArgument(reason));
        }
        self.check_replicas(&what, &session.replicas)?;
        self.changed = true;
        let replicas = session.replicas.clone();
        let session = Replicated::new(id.into(), session, &replicas);
        self.draft.next.pre.sessions.insert(Arc::new(session));
        Ok(())
    }

    /// DELETE of a clone session.
    pub fn delete_clone_session(&mut self, id: u32) -> Result<(), ControlError> {
        let id = u64::from(id);
        match self
            .draft
            .next
            .pre
            .sessions
            .remove(hash_words(&[id]), &[id])
        {
            Some(_) => {
                self.changed = true;
                Ok(())
            }
            None => Err(ControlError::NotFound(format!("clone session {id}"))),
        }
    }
}
