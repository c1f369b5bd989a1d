//! A forwarding pipeline configuration, checked: P4Info and the program's JSON must tell of the
//! same objects. What P4Runtime names by id is bound to the program's handles once, here.

use std::collections::HashMap;
use std::sync::Arc;

use p4runtime::p4info::{self, LookupError, Named, P4Info};
use p4runtime::v1;
use prost::Message;

use super::agreement::{check_arrays, check_table};
use super::errors::{Outcome, Refusal};
use super::packet_io::PacketLayout;
use super::roles::Annotated;
use super::selector::SelectorRules;
use crate::bmv2::Pipeline;
use crate::control::{
    ActionHandle, CounterHandle, DigestHandle, MeterHandle, ProfileHandle, RegisterHandle,
    TableHandle, ValueSetHandle,
};

/// A configuration that this target can run.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: v1::ForwardingPipelineConfig,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) tables: Bindings<p4info::Table, TableHandle>,
    pub(super) profiles: Bindings<p4info::ActionProfile, ProfileHandle>,
    pub(super) counters: Bindings<p4info::Counter, CounterHandle>,
    pub(super) meters: Bindings<p4info::Meter, MeterHandle>,
    pub(super) registers: Bindings<p4info::Register, RegisterHandle>,
    pub(super) digests: Bindings<p4info::Digest, DigestHandle>,
    pub(super) value_sets: Bindings<p4info::ValueSet, ValueSetHandle>,
    /// The P4Info action behind each handle.
    pub(super) actions: HashMap<ActionHandle, Arc<p4info::Action>>,
    pub(super) packet_in: PacketLayout,
    pub(super) packet_out: PacketLayout,
    pub(super) roles: Annotated,
    selectors: HashMap<u32, SelectorRules>,
}

/// The objects of one kind: those of P4Info, in its order, with the program's handles.
#[derive(Debug)]
pub(super) struct Bindings<O, H> {
    kind: &'static str,
    all: Vec<(Arc<O>, H)>,
    by_id: HashMap<u32, usize>,
}

impl<O: Named, H: Copy + PartialEq> Bindings<O, H> {
    fn new<'a>(
        kind: &'static str,
        objects: impl IntoIterator<Item = &'a Arc<O>>,
        find: impl Fn(&O) -> Option<H>,
    ) -> Outcome<Self>
    where
        O: 'a,
    {
        let mut bindings = Bindings {
            kind,
            all: Vec::new(),
            by_id: HashMap::new(),
        };
        for object in objects {
            let handle = find(object).ok_or_else(|| {
                Refusal::invalid(format!(
                    "P4Info has the {kind} \"{}\", which the device config does not have: they \
                     are not of the same compilation",
                    object.name()
                ))
            })?;
            bindings.by_id.insert(object.id(), bindings.all.len());
            bindings.all.push((Arc::clone(object), handle));
        }
        Ok(bindings)
    }

    /// The object with this id.
    pub(super) fn get(&self, id: u32) -> Outcome<(&Arc<O>, H)> {
        let position = self.by_id.get(&id).ok_or_else(|| {
            Refusal::invalid(format!(
                "the pipeline has no {} with the id {id:#x}",
                self.kind
            ))
        })?;
        let (object, handle) = &self.all[*position];
        Ok((object, *handle))
    }

    /// All objects, or the one with this id when it is not 0.
    pub(super) fn select(&self, id: u32) -> Outcome<Vec<(&Arc<O>, H)>> {
        if id != 0 {
            return Ok(vec![self.get(id)?]);
        }
        Ok(self.iter().collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<O>, H)> {
        self.all.iter().map(|(object, handle)| (object, *handle))
    }

    /// The P4Info object behind a handle.
    pub(super) fn of_handle(&self, handle: H) -> Option<&Arc<O>> {
        self.all
            .iter()
            .find(|(_, h)| *h == handle)
            .map(|(object, _)| object)
    }
}

/// The wrapper that some controllers put around the JSON (`p4.tmp.P4DeviceConfig`).
#[derive(Clone, PartialEq, Message)]
struct WrappedDeviceConfig {
    #[prost(bytes = "vec", tag = "3")]
    device_data: Vec<u8>,
}

impl Loaded {
    /// Checks a configuration.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with what is wrong in the JSON, in P4Info, or between them.
    pub(super) fn verify(config: v1::ForwardingPipelineConfig) -> Outcome<Self> {
        let message = config
            .p4info
            .clone()
            .ok_or_else(|| Refusal::invalid("the config has no P4Info"))?;
        let p4info = P4Info::new(message).map_err(|e| Refusal::invalid(format!("P4Info: {e}")))?;
        if config.p4_device_config.is_empty() {
            return Err(Refusal::invalid(
                "the config has no p4_device_config: send the JSON that p4c-bm2-ss wrote",
            ));
        }
        let pipeline = Pipeline::load(&program_json(&config.p4_device_config)?)
            .map_err(|error| Refusal::invalid(format!("p4_device_config: {error}")))?;
        let pipeline = Arc::new(pipeline);

        let tables = Bindings::new("table", p4info.tables(), |t| pipeline.table(&t.name))?;
        let mut actions = HashMap::new();
        for (table, handle) in tables.iter() {
            check_table(&pipeline, table, handle, &mut actions)?;
        }
        let packet = |metadata: Result<&Arc<p4info::ControllerPacketMetadata>, LookupError>| {
            // A program without such a header takes and gives bare frames.
            metadata.map_or_else(|_| Ok(PacketLayout::default()), |m| PacketLayout::new(m))
        };
        // A digest's name is that of its struct; p4c numbers unnamed ones the same in both files.
        let digests = Bindings::new("digest", p4info.digests(), |d| pipeline.digest(&d.name))?;
        let registers = Bindings::new("register", p4info.registers(), |r| {
            pipeline.register(&r.name)
        })?;
        let counters = Bindings::new("counter", p4info.counters(), |c| pipeline.counter(&c.name))?;
        let meters = Bindings::new("meter", p4info.meters(), |m| pipeline.meter(&m.name))?;
        let value_sets = Bindings::new("value set", p4info.value_sets(), |v| {
            pipeline.value_set(&v.name)
        })?;
        let profiles = Bindings::new("action profile", p4info.action_profiles(), |p| {
            pipeline.profile(&p.name)
        })?;
        let loaded = Loaded {
            tables,
            profiles,
            counters,
            meters,
            registers,
            digests,
            value_sets,
            actions,
            packet_in: packet(p4info.packet_in())?,
            packet_out: packet(p4info.packet_out())?,
            roles: Annotated::read(p4info.message()),
            selectors: p4info
                .message()
                .action_profiles
                .iter()
                .filter_map(|profile| {
                    let id = profile.preamble.as_ref()?.id;
                    Some((id, SelectorRules::of(profile)))
                })
                .collect(),
            pipeline,
            config,
        };
        check_arrays(&loaded)?;
        Ok(loaded)
    }

    /// How an action selector counts members.
    pub(super) fn selector(&self, profile: &p4info::ActionProfile) -> SelectorRules {
        self.selectors.get(&profile.id).copied().unwrap_or_default()
    }

    /// The handle of an action in a table.
    pub(super) fn action_handle(&self, table: TableHandle, name: &str) -> Outcome<ActionHandle> {
        let info = self.pipeline.table_info(table);
        info.action(name).ok_or_else(|| {
            Refusal::invalid(format!(
                "table \"{}\" does not have the action \"{name}\"",
                info.name
            ))
        })
    }
}

/// The JSON itself, out of its wrapper if it has one.
fn program_json(device_config: &[u8]) -> Outcome<Vec<u8>> {
    let begins_object = |bytes: &[u8]| {
        bytes
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
            .is_some_and(|&byte| byte == b'{')
    };
    if begins_object(device_config) {
        return Ok(device_config.to_vec());
    }
    match WrappedDeviceConfig::decode(device_config) {
        Ok(wrapped) if begins_object(&wrapped.device_data) => Ok(wrapped.device_data),
        _ => Err(Refusal::invalid(
            "p4_device_config is not a JSON object: send the JSON that p4c-bm2-ss wrote",
        )),
    }
}
