//! Who may write: client arbitration (P4Runtime specification, "Client Arbitration and Controller
//! Replication").
//!
//! ```text
//!              election id ≥ highest ever            stream closes, or lower election id
//!   backup ───────────────────────────────▶ primary ─────────────────────────────────────▶ none
//! ```
//! Nobody is promoted unasked: without a primary all are backups until one of them sends an
//! update again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use p4runtime::{rpc, v1};
use prost_types::Any;
use tonic::Code;

use super::errors::{Outcome, Refusal};
use super::roles::{Access, RoleConfig};

/// One open `StreamChannel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(super) u64);

/// A notification and the stream it goes to.
pub(super) type Notification = (StreamId, v1::MasterArbitrationUpdate);

/// Streams that may take part in one role.
const MAX_STREAMS_PER_ROLE: usize = 64;
/// Roles that are remembered, each with the highest election id it ever saw.
const MAX_ROLES: usize = 256;

/// The arbitration of one device.
#[derive(Debug)]
pub(super) struct Arbitration {
    device_id: u64,
    /// By role name. The default role `""` is there from the start, others since a controller
    /// first asked for them.
    roles: HashMap<String, Role>,
    role_of: HashMap<StreamId, String>,
}

#[derive(Debug, Default)]
struct Role {
    /// `role.config` as the most recent primary gave it.
    config: Option<Any>,
    /// The same, read.
    access: Option<Arc<RoleConfig>>,
    /// The highest election id ever received.
    highest: Option<u128>,
    primary: Option<StreamId>,
    /// Live controllers and their election ids.
    live: BTreeMap<StreamId, Option<u128>>,
}

impl Arbitration {
    pub(super) fn new(device_id: u64) -> Self {
        let roles = HashMap::from([(String::new(), Role::default())]);
        Arbitration {
            device_id,
            roles,
            role_of: HashMap::new(),
        }
    }

    /// Whether there is such a role.
    pub(super) fn has_role(&self, role: &str) -> bool {
        self.roles.contains_key(role)
    }

    /// The primary of each role that has one, with what the role may do.
    pub(super) fn primaries(&self) -> Vec<(StreamId, Access)> {
        self.roles
            .iter()
            .filter_map(|(name, role)| Some((role.primary?, self.access(name))))
            .collect()
    }

    /// What a role may do.
    pub(super) fn access(&self, name: &str) -> Access {
        let of_others = || {
            let others = self.roles.iter().filter(|(other, _)| *other != name);
            let configs = others.filter_map(|(_, role)| role.access.as_ref());
            configs
                .flat_map(|config| config.exclusive_p4_ids.iter().copied())
                .collect()
        };
        Access {
            role: name.to_owned(),
            config: self.roles.get(name).and_then(|role| role.access.clone()),
            of_others: match name {
                "" => Default::default(),
                _ => of_others(),
            },
        }
    }

    /// Whether the stream is the primary of its role.
    pub(super) fn is_primary_stream(&self, stream: StreamId) -> bool {
        let role = self.role_of.get(&stream).and_then(|r| self.roles.get(r));
        role.is_some_and(|role| role.primary == Some(stream))
    }

    /// The role of a stream that took part in an arbitration.
    pub(super) fn role_of(&self, stream: StreamId) -> Option<&str> {
        self.role_of.get(&stream).map(String::as_str)
    }

    /// Whether any controller of the role is live.
    pub(super) fn is_attended(&self, role: &str) -> bool {
        self.roles
            .get(role)
            .is_some_and(|role| !role.live.is_empty())
    }

    /// Whether `election_id` is that of the role's primary.
    pub(super) fn is_primary(&self, role: &str, election_id: Option<&v1::Uint128>) -> bool {
        let Some(election_id) = election_id.map(number) else {
            return false;
        };
        self.roles.get(role).is_some_and(|role| {
            let of_primary = role.primary.and_then(|primary| role.live.get(&primary));
            of_primary == Some(&Some(election_id))
        })
    }

    /// Handles an update; gives the notifications in the order to be sent.
    ///
    /// # Errors
    /// The stream is to be closed with this refusal.
    pub(super) fn update(
        &mut self,
        stream: StreamId,
        update: &v1::MasterArbitrationUpdate,
    ) -> Outcome<Vec<Notification>> {
        let name = update.role.as_ref().map_or("", |role| &role.name);
        let first = match self.role_of.get(&stream) {
            None => true,
            Some(_) if update.device_id != self.device_id => {
                return Err(Refusal::new(
                    Code::FailedPrecondition,
                    format!(
                        "this stream is for device {}, not {}",
                        self.device_id, update.device_id
                    ),
                ));
            }
            Some(role) if role != name => {
                return Err(Refusal::new(
                    Code::FailedPrecondition,
                    format!("this stream has the role \"{role}\"; open another for \"{name}\""),
                ));
            }
            Some(_) => false,
        };
        if update.device_id != self.device_id {
            return Err(Refusal::not_found(format!(
                "there is no device {}; this server has device {}",
                update.device_id, self.device_id
            )));
        }
        let device_id = self.device_id;
        let config = update.role.as_ref().and_then(|role| role.config.as_ref());
        let access = config.map(RoleConfig::read).transpose()?.map(Arc::new);
        if !self.roles.contains_key(name) && self.roles.len() >= MAX_ROLES {
            return Err(Refusal::new(
                Code::ResourceExhausted,
                format!("{MAX_ROLES} roles are known, no more are taken"),
            ));
        }
        let role = self.roles.entry(name.to_owned()).or_default();
        let election_id = update.election_id.as_ref().map(number);
        if let Some(id) = election_id
            && role
                .live
                .iter()
                .any(|(other, used)| *other != stream && *used == Some(id))
        {
            return Err(Refusal::invalid(format!(
                "election id {id} is already used by another live controller"
            )));
        }
        if first && role.live.len() >= MAX_STREAMS_PER_ROLE {
            return Err(Refusal::new(
                Code::ResourceExhausted,
                format!("{MAX_STREAMS_PER_ROLE} controllers are connected, no more are taken"),
            ));
        }
        self.role_of.insert(stream, name.to_owned());
        role.live.insert(stream, election_id);

        // An unset election id is lower than any.
        if election_id.is_some() && election_id >= role.highest {
            role.highest = election_id;
            role.primary = Some(stream);
            role.config = config.cloned();
            role.access = access;
            return Ok(role.notify_all(device_id, name));
        }
        if role.primary == Some(stream) {
            role.primary = None;
            return Ok(role.notify_all(device_id, name));
        }
        Ok(vec![(stream, role.notification(device_id, name, stream))])
    }

    /// Forgets a stream that closed.
    pub(super) fn close(&mut self, stream: StreamId) -> Vec<Notification> {
        let Some(name) = self.role_of.remove(&stream) else {
            return Vec::new();
        };
        let Some(role) = self.roles.get_mut(&name) else {
            return Vec::new();
        };
        role.live.remove(&stream);
        if role.primary != Some(stream) {
            return Vec::new();
        }
        role.primary = None;
        role.notify_all(self.device_id, &name)
    }
}

impl Role {
    /// Backups first: the new primary hears last, when the old one can do nothing any more.
    fn notify_all(&self, device_id: u64, name: &str) -> Vec<Notification> {
        let backups = self
            .live
            .keys()
            .copied()
            .filter(|&stream| Some(stream) != self.primary);
        backups
            .chain(self.primary)
            .map(|stream| (stream, self.notification(device_id, name, stream)))
            .collect()
    }

    fn notification(
        &self,
        device_id: u64,
        name: &str,
        stream: StreamId,
    ) -> v1::MasterArbitrationUpdate {
        let (code, message) = match self.primary {
            Some(primary) if primary == stream => (Code::Ok, "you are primary"),
            Some(_) => (
                Code::AlreadyExists,
                "you are backup: there is another primary",
            ),
            None => (Code::NotFound, "you are backup: there is no primary"),
        };
        // The default role is left unset, as controllers leave it.
        let role = (!name.is_empty() || self.config.is_some()).then(|| v1::Role {
            name: name.to_owned(),
            config: self.config.clone(),
            ..Default::default()
        });
        v1::MasterArbitrationUpdate {
            device_id,
            role,
            election_id: self.highest.map(|id| v1::Uint128 {
                high: (id >> 64) as u64,
                low: id as u64,
            }),
            status: Some(rpc::Status {
                code: code as i32,
                message: message.to_owned(),
                details: Vec::new(),
            }),
        }
    }
}

/// The number an election id stands for.
fn number(id: &v1::Uint128) -> u128 {
    u128::from(id.high) << 64 | u128::from(id.low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    fn bid(election_id: Option<u128>) -> v1::MasterArbitrationUpdate {
        v1::MasterArbitrationUpdate {
            device_id: 1,
            election_id: election_id.map(|id| v1::Uint128 {
                high: (id >> 64) as u64,
                low: id as u64,
            }),
            ..Default::default()
        }
    }

    fn heard(notifications: &[Notification]) -> Vec<(StreamId, Code, u64)> {
        notifications
            .iter()
            .map(|(stream, update)| {
                let code = Code::from(update.status.as_ref().map_or(-1, |status| status.code));
                (
                    *stream,
                    code,
                    update.election_id.as_ref().map_or(0, |id| id.low),
                )
            })
            .collect()
    }

    #[test]
    fn the_highest_election_id_is_primary_and_everyone_is_told() {
        let mut a = Arbitration::new(1);
        let told = a.update(A, &bid(Some(5))).expect("accepted");
        assert_eq!(heard(&told), [(A, Code::Ok, 5)]);
        let told = a.update(B, &bid(Some(4))).expect("accepted");
        assert_eq!(heard(&told), [(B, Code::AlreadyExists, 5)]);
        let told = a.update(B, &bid(Some(6))).expect("accepted");
        assert_eq!(
            heard(&told),
            [(A, Code::AlreadyExists, 6), (B, Code::Ok, 6)]
        );
        assert!(a.is_primary("", bid(Some(6)).election_id.as_ref()));
        assert!(!a.is_primary("", bid(Some(5)).election_id.as_ref()));
    }

    #[test]
    fn nobody_is_promoted_when_the_primary_goes() {
        let mut a = Arbitration::new(1);
        a.update(A, &bid(Some(5))).expect("accepted");
        a.update(B, &bid(Some(4))).expect("accepted");
        assert_eq!(heard(&a.close(A)), [(B, Code::NotFound, 5)]);
        let told = a.update(B, &bid(Some(4))).expect("accepted");
        assert_eq!(heard(&told), [(B, Code::NotFound, 5)]);
        let told = a.update(B, &bid(Some(5))).expect("accepted");
        assert_eq!(heard(&told), [(B, Code::Ok, 5)]);
    }

    #[test]
    fn a_primary_that_lowers_its_election_id_is_backup() {
        let mut a = Arbitration::new(1);
        a.update(A, &bid(Some(5))).expect("accepted");
        a.update(B, &bid(Some(1))).expect("accepted");
        let told = a.update(A, &bid(Some(2))).expect("accepted");
        assert_eq!(
            heard(&told),
            [(A, Code::NotFound, 5), (B, Code::NotFound, 5)]
        );
        assert_eq!(a.primaries().len(), 0);
    }

    #[test]
    fn an_unset_election_id_never_wins() {
        let mut a = Arbitration::new(1);
        let told = a.update(A, &bid(None)).expect("accepted");
        assert_eq!(heard(&told), [(A, Code::NotFound, 0)]);
        assert!(!a.is_primary("", None));
    }

    #[test]
    fn wrong_updates_close_the_stream() {
        let mut a = Arbitration::new(1);
        let elsewhere = v1::MasterArbitrationUpdate {
            device_id: 2,
            ..bid(Some(1))
        };
        let refusal = a.update(A, &elsewhere).expect_err("no such device");
        assert_eq!(refusal.code, Code::NotFound);
        a.update(A, &bid(Some(1))).expect("accepted");
        let refusal = a.update(B, &bid(Some(1))).expect_err("used");
        assert_eq!(refusal.code, Code::InvalidArgument);
        let refusal = a.update(A, &elsewhere).expect_err("another device");
        assert_eq!(refusal.code, Code::FailedPrecondition);
        let role = v1::Role {
            name: "other".into(),
            ..Default::default()
        };
        let other_role = v1::MasterArbitrationUpdate {
            role: Some(role),
            ..bid(Some(1))
        };
        let refusal = a.update(A, &other_role).expect_err("another role");
        assert_eq!(refusal.code, Code::FailedPrecondition);
    }
}
