//! Roles: which of a pipeline's objects a controller may write, and what it is told (P4Runtime
//! specification, "Role Config").
//!
//! The specification leaves the scheme to be agreed upon. Two are known here:
//! * `@p4runtime_role("name")` before an object of the program gives it to that role. A role that
//!   P4Info names has its objects and nothing else; one that P4Info does not name has everything
//!   that is nobody's, as an unset `role.config` implies. Profiles follow their tables.
//! * `role.config` as a `stratum.P4RoleConfig` lists the ids of objects. It takes the place of the
//!   annotations for its role.
//!
//! The default role has full access. Multicast groups and clone sessions have no id that either
//! scheme could name: they are everybody's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use p4runtime::config;
use p4runtime::v1;
use p4runtime::v1::entity::Entity;
use prost::Message;
use prost_types::Any;

use super::errors::{Outcome, Refusal};

/// The full name of the only `role.config` known.
const ROLE_CONFIG: &str = "stratum.P4RoleConfig";

/// `stratum.P4RoleConfig`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RoleConfig {
    /// Objects that no other role with a name may write.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) exclusive_p4_ids: Vec<u32>,
    /// Objects that it shares.
    #[prost(uint32, repeated, tag = "2")]
    pub(super) shared_p4_ids: Vec<u32>,
    /// Only packets with this metadata are sent to it.
    #[prost(message, optional, tag = "3")]
    pub(super) packet_in_filter: Option<PacketFilter>,
    /// Packets are sent to it at all.
    #[prost(bool, tag = "4")]
    pub(super) receives_packet_ins: bool,
    /// It may set the forwarding pipeline.
    #[prost(bool, tag = "5")]
    pub(super) can_push_pipeline: bool,
}

/// `stratum.P4RoleConfig.PacketFilter`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PacketFilter {
    #[prost(uint32, tag = "1")]
    pub(super) metadata_id: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

impl RoleConfig {
    /// Reads `role.config`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for anything else.
    pub(super) fn read(any: &Any) -> Outcome<Self> {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        if name != ROLE_CONFIG {
            return Err(Refusal::invalid(format!(
                "role.config is a \"{name}\": leave it unset or send a \"{ROLE_CONFIG}\""
            )));
        }
        RoleConfig::decode(&any.value[..])
            .map_err(|error| Refusal::invalid(format!("role.config: {error}")))
    }
}

/// The roles that P4Info gives objects to.
#[derive(Debug, Default)]
pub(super) struct Annotated {
    /// By the object's id.
    of_object: HashMap<u32, Vec<String>>,
    names: HashSet<String>,
    packet_in: Vec<String>,
    packet_out: Vec<String>,
}

impl Annotated {
    pub(super) fn read(p4info: &config::P4Info) -> Self {
        let mut annotated = Annotated::default();
        let preambles = (p4info.tables.iter().map(|o| &o.preamble))
            .chain(p4info.action_profiles.iter().map(|o| &o.preamble))
            .chain(p4info.counters.iter().map(|o| &o.preamble))
            .chain(p4info.meters.iter().map(|o| &o.preamble))
            .chain(p4info.registers.iter().map(|o| &o.preamble))
            .chain(p4info.digests.iter().map(|o| &o.preamble))
            .chain(p4info.value_sets.iter().map(|o| &o.preamble));
        for preamble in preambles.flatten() {
            let roles = roles_of(preamble);
            annotated.names.extend(roles.iter().cloned());
            if !roles.is_empty() {
                annotated.of_object.insert(preamble.id, roles);
            }
        }
        for header in &p4info.controller_packet_metadata {
            let Some(preamble) = &header.preamble else {
                continue;
            };
            let roles = roles_of(preamble);
            annotated.names.extend(roles.iter().cloned());
            match &preamble.name[..] {
                "packet_in" => annotated.packet_in = roles,
                "packet_out" => annotated.packet_out = roles,
                _ => {}
            }
        }
        for profile in &p4info.action_profiles {
            let Some(preamble) = &profile.preamble else {
                continue;
            };
            if annotated.of_object.contains_key(&preamble.id) {
                continue;
            }
            let of_tables: Vec<String> = profile
                .table_ids
                .iter()
                .filter_map(|table| annotated.of_object.get(table))
                .flatten()
                .cloned()
                .collect();
            if !of_tables.is_empty() {
                annotated.of_object.insert(preamble.id, of_tables);
            }
        }
        annotated
    }

    /// Whether P4Info gives anything to this role.
    pub(super) fn names(&self, role: &str) -> bool {
        self.names.contains(role)
    }

    fn allows(&self, role: &str, owners: &[String]) -> bool {
        match owners {
            [] => !self.names(role),
            owners => owners.iter().any(|owner| owner == role),
        }
    }
}

/// The roles in the annotations `@p4runtime_role("a")` of an object, structured or not.
fn roles_of(preamble: &config::Preamble) -> Vec<String> {
    const NAME: &str = "p4runtime_role";
    let plain = preamble.annotations.iter().filter_map(|annotation| {
        let rest = annotation.strip_prefix('@')?.strip_prefix(NAME)?;
        let inside = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inside.trim().trim_matches('"').to_owned())
    });
    let structured = preamble
        .structured_annotations
        .iter()
        .filter(|annotation| annotation.name == NAME)
        .filter_map(|annotation| match annotation.body.as_ref()? {
            config::structured_annotation::Body::ExpressionList(list) => Some(list),
            config::structured_annotation::Body::KvPairList(_) => None,
        })
        .flat_map(|list| &list.expressions)
        .filter_map(|expression| match expression.value.as_ref()? {
            config::expression::Value::StringValue(role) => Some(role.clone()),
            _ => None,
        });
    plain.chain(structured).collect()
}

/// What one role may do.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    /// Its name; the default role's is empty.
    pub(super) role: String,
    pub(super) config: Option<Arc<RoleConfig>>,
    /// Objects that are exclusively another role's.
    pub(super) of_others: HashSet<u32>,
}

impl Access {
    fn is_full(&self) -> bool {
        self.role.is_empty() && self.config.is_none()
    }

    /// Whether the role may write the object with this id, and is told of it.
    pub(super) fn object(&self, annotated: &Annotated, id: u32) -> bool {
        if self.is_full() {
            return true;
        }
        if self.of_others.contains(&id) {
            return false;
        }
        match &self.config {
            Some(config) => {
                config.exclusive_p4_ids.contains(&id) || config.shared_p4_ids.contains(&id)
            }
            None => {
                let owners = annotated.of_object.get(&id);
                annotated.allows(&self.role, owners.map_or(&[], |owners| owners))
            }
        }
    }

    /// Whether the role may write this entity, and read it.
    pub(super) fn entity(&self, annotated: &Annotated, entity: &Entity) -> bool {
        if self.is_full() {
            return true;
        }
        let of_table = |entry: &Option<v1::TableEntry>| entry.as_ref().map_or(0, |e| e.table_id);
        let id = match entity {
            Entity::TableEntry(entry) => entry.table_id,
            Entity::ActionProfileMember(member) => member.action_profile_id,
            Entity::ActionProfileGroup(group) => group.action_profile_id,
            Entity::MeterEntry(entry) => entry.meter_id,
            Entity::DirectMeterEntry(entry) => of_table(&entry.table_entry),
            Entity::CounterEntry(entry) => entry.counter_id,
            Entity::DirectCounterEntry(entry) => of_table(&entry.table_entry),
            Entity::ValueSetEntry(entry) => entry.value_set_id,
            Entity::RegisterEntry(entry) => entry.register_id,
            Entity::DigestEntry(entry) => entry.digest_id,
            Entity::PacketReplicationEngineEntry(_) | Entity::ExternEntry(_) => return true,
        };
        self.object(annotated, id)
    }

    /// Whether packets of the data plane are sent to the role.
    pub(super) fn packet_in(&self, annotated: &Annotated) -> bool {
        match &self.config {
            Some(config) => config.receives_packet_ins,
            None => self.is_full() || annotated.allows(&self.role, &annotated.packet_in),
        }
    }

    /// Whether a packet with these metadata is sent to a role that receives packets.
    pub(super) fn takes(&self, metadata: &[v1::PacketMetadata]) -> bool {
        let filter = self
            .config
            .as_ref()
            .and_then(|c| c.packet_in_filter.as_ref());
        filter.is_none_or(|filter| {
            metadata.iter().any(|given| {
                given.metadata_id == filter.metadata_id
                    && given.value == p4runtime::bytes::canonical(&filter.value)
            })
        })
    }

    /// Whether the role may send packets.
    pub(super) fn packet_out(&self, annotated: &Annotated) -> bool {
        // `P4RoleConfig` says nothing of packets to the switch.
        self.is_full()
            || self.config.is_some()
            || annotated.allows(&self.role, &annotated.packet_out)
    }

    /// Whether the role may set the forwarding pipeline.
    pub(super) fn pipeline(&self) -> bool {
        self.config
            .as_ref()
            .is_none_or(|config| config.can_push_pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(id: u32, annotations: &[&str]) -> config::Table {
        config::Table {
            preamble: Some(config::Preamble {
                id,
                annotations: annotations.iter().map(|a| (*a).to_owned()).collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn annotated() -> Annotated {
        let profile = config::ActionProfile {
            preamble: Some(config::Preamble {
                id: 9,
                ..Default::default()
            }),
            table_ids: vec![1],
            ..Default::default()
        };
        Annotated::read(&config::P4Info {
            tables: vec![
                table(1, &["@p4runtime_role(\"routing\")"]),
                table(2, &["@hidden", "@p4runtime_role(\"acl\")"]),
                table(3, &[]),
            ],
            action_profiles: vec![profile],
            ..Default::default()
        })
    }

    fn allowed(access: &Access) -> Vec<u32> {
        let annotated = annotated();
        let all = [1, 2, 3, 9].into_iter();
        all.filter(|&id| access.object(&annotated, id)).collect()
    }

    fn role(name: &str) -> Access {
        Access {
            role: name.to_owned(),
            ..Access::default()
        }
    }

    #[test]
    fn an_annotated_object_is_its_roles_and_the_default_roles() {
        assert_eq!(allowed(&role("")), [1, 2, 3, 9]);
        assert_eq!(allowed(&role("routing")), [1, 9]);
        assert_eq!(allowed(&role("acl")), [2]);
        assert_eq!(allowed(&role("somebody")), [3]);
    }

    #[test]
    fn a_role_config_takes_the_place_of_the_annotations() {
        let config = RoleConfig {
            exclusive_p4_ids: vec![2],
            shared_p4_ids: vec![3],
            ..RoleConfig::default()
        };
        let mut access = role("routing");
        access.config = Some(Arc::new(config));
        assert_eq!(allowed(&access), [2, 3]);
        let mut other = role("acl");
        other.of_others = HashSet::from([2]);
        assert_eq!(allowed(&other), [0; 0]);
    }

    #[test]
    fn a_role_config_of_another_scheme_is_refused() {
        let any = Any {
            type_url: "type.googleapis.com/somebody.Config".into(),
            value: Vec::new(),
        };
        let refusal = RoleConfig::read(&any).expect_err("unknown");
        assert_eq!(refusal.code, tonic::Code::InvalidArgument);
    }
}
