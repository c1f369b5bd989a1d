//! From the protobuf message to the schema: references resolved, contradictions refused.

use std::collections::HashMap;
use std::sync::Arc;

use super::data_type::DataType;
use super::names::{Named, Objects};
use super::schema::*;
use super::{P4Info, SchemaError};
use crate::config::match_field::{Match, MatchType as WireMatch};
use crate::config::{self, Preamble};
use crate::v1;

const OWNER: &str = "P4Info";

impl P4Info {
    /// Makes the schema of a P4Info message.
    ///
    /// # Errors
    /// [`SchemaError`] when ids or names are not unique, or a reference leads nowhere.
    pub fn new(message: config::P4Info) -> Result<Self, SchemaError> {
        let no_types = config::P4TypeInfo::default();
        let types = message.type_info.as_ref().unwrap_or(&no_types);

        let actions = collect("action", &message.actions, action)?;
        let action_profiles = collect("action profile", &message.action_profiles, |profile| {
            let Preamble {
                id,
                name,
                alias,
                annotations,
                ..
            } = preamble("action profile", &profile.preamble)?;
            Ok(ActionProfile {
                id,
                table_ids: profile.table_ids.clone(),
                with_selector: profile.with_selector,
                size: unsigned(&name, "size", profile.size)?,
                max_group_size: unsigned(&name, "max_group_size", profile.max_group_size.into())?,
                name,
                alias,
                annotations,
            })
        })?;
        let counters = collect("counter", &message.counters, |counter| {
            let Preamble {
                id, name, alias, ..
            } = preamble("counter", &counter.preamble)?;
            let size = unsigned(&name, "size", counter.size)?;
            Ok(Counter {
                id,
                name,
                alias,
                unit: counter_unit(&counter.spec),
                size,
            })
        })?;
        let direct_counters = collect("direct counter", &message.direct_counters, |counter| {
            let Preamble {
                id, name, alias, ..
            } = preamble("direct counter", &counter.preamble)?;
            let unit = counter_unit(&counter.spec);
            Ok(DirectCounter {
                id,
                name,
                alias,
                unit,
                table_id: counter.direct_table_id,
            })
        })?;
        let meters = collect("meter", &message.meters, |meter| {
            let Preamble {
                id, name, alias, ..
            } = preamble("meter", &meter.preamble)?;
            let (unit, meter_type) = meter_spec(&meter.spec);
            let size = unsigned(&name, "size", meter.size)?;
            Ok(Meter {
                id,
                name,
                alias,
                unit,
                meter_type,
                size,
            })
        })?;
        let direct_meters = collect("direct meter", &message.direct_meters, |meter| {
            let Preamble {
                id, name, alias, ..
            } = preamble("direct meter", &meter.preamble)?;
            let (unit, meter_type) = meter_spec(&meter.spec);
            Ok(DirectMeter {
                id,
                name,
                alias,
                unit,
                meter_type,
                table_id: meter.direct_table_id,
            })
        })?;
        let registers = collect("register", &message.registers, |register| {
            let Preamble {
                id, name, alias, ..
            } = preamble("register", &register.preamble)?;
            let data_type = DataType::resolve(register.type_spec.as_ref(), types);
            let size = unsigned(&name, "size", register.size.into())?;
            Ok(Register {
                id,
                name,
                alias,
                data_type,
                size,
            })
        })?;
        let digests = collect("digest", &message.digests, |digest| {
            let Preamble {
                id, name, alias, ..
            } = preamble("digest", &digest.preamble)?;
            let data_type = DataType::resolve(digest.type_spec.as_ref(), types);
            Ok(Digest {
                id,
                name,
                alias,
                data_type,
            })
        })?;
        let value_sets = collect("value set", &message.value_sets, |set| {
            let Preamble {
                id, name, alias, ..
            } = preamble("value set", &set.preamble)?;
            let match_fields = match_fields(&format!("value set {name}"), &set.r#match)?;
            let size = unsigned(&name, "size", set.size.into())?;
            Ok(ValueSet {
                id,
                name,
                alias,
                match_fields,
                size,
            })
        })?;
        let controller_packets = collect(
            "controller packet header",
            &message.controller_packet_metadata,
            |header| {
                let Preamble {
                    id, name, alias, ..
                } = preamble("controller packet header", &header.preamble)?;
                let metadata = header
                    .metadata
                    .iter()
                    .map(|m| param(&name, m.id, &m.name, m.bitwidth, &m.annotations))
                    .collect::<Result<_, _>>()?;
                let metadata = Objects::new("metadata", format!("header {name}"), metadata)?;
                Ok(ControllerPacketMetadata {
                    id,
                    name,
                    alias,
                    metadata,
                })
            },
        )?;
        let references = References {
            actions: &actions,
            action_profiles: &action_profiles,
            direct_counters: &direct_counters,
            direct_meters: &direct_meters,
        };
        let tables = collect("table", &message.tables, |table| references.table(table))?;

        Ok(Self {
            tables,
            actions,
            action_profiles,
            counters,
            direct_counters,
            meters,
            direct_meters,
            registers,
            digests,
            value_sets,
            controller_packets,
            message,
        })
    }
}

/// What a table may refer to.
struct References<'a> {
    actions: &'a Objects<Action>,
    action_profiles: &'a Objects<ActionProfile>,
    direct_counters: &'a Objects<DirectCounter>,
    direct_meters: &'a Objects<DirectMeter>,
}

impl References<'_> {
    fn table(&self, table: &config::Table) -> Result<Table, SchemaError> {
        let Preamble {
            id,
            name,
            alias,
            annotations,
            ..
        } = preamble("table", &table.preamble)?;
        let owner = format!("table {name}");
        let action_refs = table
            .action_refs
            .iter()
            .map(|reference| {
                Ok(Arc::new(ActionRef {
                    action: follow(&owner, "action", self.actions, reference.id)?,
                    scope: reference.scope(),
                    annotations: reference.annotations.clone(),
                }))
            })
            .collect::<Result<_, SchemaError>>()?;
        let const_default_action = match table.const_default_action_id {
            0 => None,
            id => Some(follow(&owner, "action", self.actions, id)?),
        };
        let implementation = match table.implementation_id {
            0 => None,
            id => Some(follow(&owner, "action profile", self.action_profiles, id)?),
        };
        let initial_default_action = table
            .initial_default_action
            .as_ref()
            .map(|call| v1::Action {
                action_id: call.action_id,
                params: call
                    .arguments
                    .iter()
                    .map(|argument| v1::action::Param {
                        param_id: argument.param_id,
                        value: argument.value.clone(),
                    })
                    .collect(),
            });
        let direct = &table.direct_resource_ids;
        Ok(Table {
            id,
            match_fields: match_fields(&owner, &table.match_fields)?,
            actions: Objects::new("action", owner, action_refs)?,
            const_default_action,
            initial_default_action,
            implementation,
            direct_counter: first_of(self.direct_counters, direct),
            direct_meter: first_of(self.direct_meters, direct),
            direct_resource_ids: direct.clone(),
            size: unsigned(&name, "size", table.size)?,
            idle_timeout: table.idle_timeout_behavior()
                == config::table::IdleTimeoutBehavior::NotifyControl,
            is_const: table.is_const_table,
            has_initial_entries: table.has_initial_entries,
            name,
            alias,
            annotations,
        })
    }
}

fn collect<M, T: Named>(
    kind: &'static str,
    messages: &[M],
    make: impl Fn(&M) -> Result<T, SchemaError>,
) -> Result<Objects<T>, SchemaError> {
    let items = messages
        .iter()
        .map(|m| make(m).map(Arc::new))
        .collect::<Result<_, _>>()?;
    Objects::new(kind, OWNER, items)
}

fn first_of<T: Named>(objects: &Objects<T>, ids: &[u32]) -> Option<Arc<T>> {
    ids.iter().find_map(|&id| objects.by_id(id).ok()).cloned()
}

fn follow<T: Named>(
    owner: &str,
    kind: &'static str,
    objects: &Objects<T>,
    id: u32,
) -> Result<Arc<T>, SchemaError> {
    let found = objects.by_id(id).map_err(|_| SchemaError::Dangling {
        owner: owner.to_owned(),
        kind,
        id,
    })?;
    Ok(found.clone())
}

fn preamble(kind: &'static str, found: &Option<Preamble>) -> Result<Preamble, SchemaError> {
    found.clone().ok_or(SchemaError::NoPreamble { kind })
}

fn unsigned<T: TryFrom<i64>>(
    owner: &str,
    what: &'static str,
    value: i64,
) -> Result<T, SchemaError> {
    T::try_from(value).map_err(|_| SchemaError::BadNumber {
        owner: owner.to_owned(),
        what,
        value,
    })
}

fn action(message: &config::Action) -> Result<Action, SchemaError> {
    let Preamble {
        id,
        name,
        alias,
        annotations,
        ..
    } = preamble("action", &message.preamble)?;
    let params = message
        .params
        .iter()
        .map(|p| param(&name, p.id, &p.name, p.bitwidth, &p.annotations))
        .collect::<Result<_, _>>()?;
    let params = Objects::new("parameter", format!("action {name}"), params)?;
    Ok(Action {
        id,
        name,
        alias,
        annotations,
        params,
    })
}

fn param(
    owner: &str,
    id: u32,
    name: &str,
    bitwidth: i32,
    annotations: &[String],
) -> Result<Arc<Param>, SchemaError> {
    Ok(Arc::new(Param {
        id,
        name: name.to_owned(),
        bitwidth: unsigned(owner, "bitwidth", bitwidth.into())?,
        annotations: annotations.to_vec(),
    }))
}

fn match_fields(
    owner: &str,
    messages: &[config::MatchField],
) -> Result<Objects<MatchField>, SchemaError> {
    // A value set's only component may lack a name; several must be told apart.
    let mut unnamed: HashMap<&str, usize> = HashMap::new();
    let items = messages
        .iter()
        .map(|field| {
            let seen = unnamed.entry(&field.name).or_default();
            *seen += 1;
            let kind = match &field.r#match {
                Some(Match::OtherMatchType(other)) => MatchKind::Other(other.clone()),
                Some(Match::MatchType(wire)) => match WireMatch::try_from(*wire) {
                    Ok(WireMatch::Exact) => MatchKind::Exact,
                    Ok(WireMatch::Lpm) => MatchKind::Lpm,
                    Ok(WireMatch::Ternary) => MatchKind::Ternary,
                    Ok(WireMatch::Range) => MatchKind::Range,
                    Ok(WireMatch::Optional) => MatchKind::Optional,
                    Ok(WireMatch::Unspecified) => MatchKind::Other("unspecified".into()),
                    Err(_) => MatchKind::Other(wire.to_string()),
                },
                None => MatchKind::Other("unspecified".into()),
            };
            let name = match (*seen, field.name.is_empty()) {
                (1, _) | (_, false) => field.name.clone(),
                (nth, true) => format!("#{nth}"),
            };
            Ok(Arc::new(MatchField {
                id: field.id,
                name,
                bitwidth: unsigned(owner, "bitwidth", field.bitwidth.into())?,
                kind,
                annotations: field.annotations.clone(),
            }))
        })
        .collect::<Result<_, SchemaError>>()?;
    Objects::new("match field", owner, items)
}

fn counter_unit(spec: &Option<config::CounterSpec>) -> CounterUnit {
    spec.as_ref()
        .map_or(CounterUnit::Unspecified, config::CounterSpec::unit)
}

fn meter_spec(spec: &Option<config::MeterSpec>) -> (MeterUnit, MeterType) {
    spec.as_ref()
        .map_or((MeterUnit::Unspecified, MeterType::default()), |spec| {
            (spec.unit(), spec.r#type())
        })
}
