//! The meters of ports: what may be published without a session, and what may be sent to the broker
//! past the data plane.

use p4runtime::p4info::{LookupError, P4Info};
use p4runtime::v1;
use serde::{Deserialize, Serialize};

use super::{Key, Value};

/// Which meter. Both have one cell for each port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A PUBLISH of QoS −1.
    Open,
    /// A packet to a service that is not offloaded.
    Software,
}

impl Kind {
    /// Full name of the meter.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Open => "MqttsnIngress.open_meter",
            Kind::Software => "MqttsnIngress.software_meter",
        }
    }
}

/// A limit: what is above it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Packets a second, in the long run.
    pub packets_per_s: u32,
    /// Packets at once, after a silence.
    pub burst: u32,
}

impl Rate {
    /// As P4Runtime has it: peak and committed rate are the same, so nothing is yellow.
    pub(crate) fn config(self) -> v1::MeterConfig {
        v1::MeterConfig {
            cir: self.packets_per_s.into(),
            cburst: self.burst.into(),
            pir: self.packets_per_s.into(),
            pburst: self.burst.into(),
            ..Default::default()
        }
    }

    /// `None` for a meter that limits nothing.
    pub(crate) fn of(config: &v1::MeterConfig) -> Option<Self> {
        let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        (config.pir > 0).then(|| Rate {
            packets_per_s: number(config.pir),
            burst: number(config.pburst),
        })
    }
}

/// Without a rate the meter is back at its default, which limits nothing.
pub(crate) fn encode(
    p4info: &P4Info,
    kind: Kind,
    port: u16,
    rate: Option<Rate>,
) -> Result<v1::Entity, LookupError> {
    Ok(v1::MeterEntry {
        meter_id: p4info.meter(kind.name())?.id,
        index: Some(v1::Index { index: port.into() }),
        config: rate.map(Rate::config),
        ..Default::default()
    }
    .into())
}

/// All cells.
pub(crate) fn read(p4info: &P4Info, kind: Kind) -> Result<v1::Entity, LookupError> {
    Ok(v1::MeterEntry {
        meter_id: p4info.meter(kind.name())?.id,
        ..Default::default()
    }
    .into())
}

/// A cell that limits nothing is as good as no row.
pub(crate) fn decode(p4info: &P4Info, entry: &v1::MeterEntry) -> Option<(Key, Value)> {
    let kind = [Kind::Open, Kind::Software].into_iter().find(|kind| {
        p4info
            .meter(kind.name())
            .is_ok_and(|meter| meter.id == entry.meter_id)
    })?;
    let port = u16::try_from(entry.index.as_ref()?.index).ok()?;
    let rate = Rate::of(entry.config.as_ref()?)?;
    Some((Key::Meter(kind, port), Value::Rate(rate)))
}
