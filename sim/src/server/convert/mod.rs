//! Table entries, actions and data: from P4Runtime's messages to the control plane's types and
//! back.
//!
//! Values are checked and brought to ⌈width/8⌉ bytes on the way in (so that one key has one form
//! here), and to the canonical form on the way out.

use std::sync::Arc;

use p4runtime::bytes;
use p4runtime::p4info;
use p4runtime::v1;

use crate::control::{ActionCall, ColorCounts, CounterData, MeterConfig, TableHandle};
use crate::server::errors::{Outcome, Refusal};
use crate::server::pipeline::Loaded;

mod key;

pub(super) use key::{key_from_wire, matches_from_wire, matches_to_wire};

/// A value of `bitwidth` bits in its ⌈width/8⌉ bytes.
pub(super) fn fixed(value: &[u8], bitwidth: u32) -> Outcome<Vec<u8>> {
    let mut out = vec![0; bitwidth.div_ceil(8) as usize];
    bytes::write_fixed(value, bitwidth, &mut out)?;
    Ok(out)
}

/// The canonical bytestring of a value.
pub(super) fn canonical(value: &[u8]) -> Vec<u8> {
    bytes::canonical(value).to_vec()
}

/// Which part of a table an action is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionUse {
    Entry,
    Default,
}

/// An action with its arguments (P4Runtime specification, "Action Specification").
pub(super) fn action_from_wire(
    loaded: &Loaded,
    table: &p4info::Table,
    handle: TableHandle,
    action: &v1::Action,
    used: ActionUse,
) -> Outcome<ActionCall> {
    let action_ref = table.actions.by_id(action.action_id)?;
    let info = &action_ref.action;
    match (action_ref.scope, used) {
        (p4info::Scope::TableOnly, ActionUse::Default) => {
            return Err(Refusal::denied(format!(
                "action \"{}\" is @tableonly: it cannot be the default action",
                info.name
            )));
        }
        (p4info::Scope::DefaultOnly, ActionUse::Entry) => {
            return Err(Refusal::denied(format!(
                "action \"{}\" is @defaultonly: entries cannot have it",
                info.name
            )));
        }
        _ => {}
    }
    for (index, param) in action.params.iter().enumerate() {
        info.params.by_id(param.param_id)?;
        if action.params[..index]
            .iter()
            .any(|earlier| earlier.param_id == param.param_id)
        {
            return Err(Refusal::invalid(format!(
                "action \"{}\": parameter {} is given twice",
                info.name, param.param_id
            )));
        }
    }
    let one = |param: &Arc<p4info::Param>| {
        let given = action
            .params
            .iter()
            .find(|given| given.param_id == param.id);
        let value = match given {
            Some(given) => fixed(&given.value, param.bitwidth),
            None => Err(Refusal::invalid("has no value")),
        };
        value.map_err(|refusal| {
            refusal.at(format_args!(
                "action \"{}\", parameter \"{}\"",
                info.name, param.name
            ))
        })
    };
    let params = info.params.iter().map(one).collect::<Outcome<_>>()?;
    Ok(ActionCall {
        action: loaded.action_handle(handle, &info.name)?,
        params,
    })
}

/// An action in P4Runtime's form; `None` for one that P4Info does not know.
pub(super) fn action_to_wire(loaded: &Loaded, call: &ActionCall) -> Option<v1::Action> {
    let info = loaded.actions.get(&call.action)?;
    let param = |(param, value): (&Arc<p4info::Param>, &Vec<u8>)| v1::action::Param {
        param_id: param.id,
        value: canonical(value),
    };
    let params = info.params.iter().zip(&call.params).map(param).collect();
    Some(v1::Action {
        action_id: info.id,
        params,
    })
}

/// A counter's value.
pub(super) fn counter_from_wire(data: &v1::CounterData) -> Outcome<CounterData> {
    let number = |what, value: i64| {
        u64::try_from(value)
            .map_err(|_| Refusal::invalid(format!("counter data: {what} {value} is negative")))
    };
    Ok(CounterData {
        packets: number("packet_count", data.packet_count)?,
        bytes: number("byte_count", data.byte_count)?,
    })
}

/// A counter's value in P4Runtime's form.
pub(super) fn counter_to_wire(data: CounterData) -> v1::CounterData {
    v1::CounterData {
        byte_count: i64::try_from(data.bytes).unwrap_or(i64::MAX),
        packet_count: i64::try_from(data.packets).unwrap_or(i64::MAX),
    }
}

/// What a meter has marked, in P4Runtime's form.
pub(super) fn colors_to_wire(colors: ColorCounts) -> v1::MeterCounterData {
    v1::MeterCounterData {
        green: Some(counter_to_wire(colors.green)),
        yellow: Some(counter_to_wire(colors.yellow)),
        red: Some(counter_to_wire(colors.red)),
    }
}

/// A meter's configuration (P4Runtime specification, "MeterEntry & DirectMeterEntry").
pub(super) fn meter_from_wire(
    meter_type: p4info::MeterType,
    config: &v1::MeterConfig,
) -> Outcome<MeterConfig> {
    let number = |what, value: i64| {
        u64::try_from(value)
            .map_err(|_| Refusal::invalid(format!("meter config: {what} {value} is negative")))
    };
    if config.eburst != 0 {
        return match meter_type {
            p4info::MeterType::SingleRateThreeColor => Err(Refusal::unimplemented(
                "meter config: single rate three color meters are not supported",
            )),
            _ => Err(Refusal::invalid(
                "meter config: eburst is for srTCM meters only",
            )),
        };
    }
    let single_rate = meter_type != p4info::MeterType::TwoRateThreeColor;
    if single_rate && (config.pir != config.cir || config.pburst != config.cburst) {
        return Err(Refusal::invalid(
            "meter config: a single rate meter has pir = cir and pburst = cburst",
        ));
    }
    if config.pir < config.cir {
        return Err(Refusal::invalid(format!(
            "meter config: the peak rate {} is below the committed rate {}",
            config.pir, config.cir
        )));
    }
    Ok(MeterConfig {
        cir: number("cir", config.cir)?,
        cburst: number("cburst", config.cburst)?,
        pir: number("pir", config.pir)?,
        pburst: number("pburst", config.pburst)?,
    })
}

/// A meter's configuration in P4Runtime's form.
pub(super) fn meter_to_wire(config: MeterConfig) -> v1::MeterConfig {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    v1::MeterConfig {
        cir: number(config.cir),
        cburst: number(config.cburst),
        pir: number(config.pir),
        pburst: number(config.pburst),
        eburst: 0,
    }
}

/// A port number (a 32-bit number at most) from its bytestring.
pub(super) fn port_from_wire(port: &[u8]) -> Outcome<u32> {
    let number = bytes::decode(port, 32).map_err(|error| Refusal::from(error).at("port"))?;
    // At most 32 bits, as just checked.
    Ok(number as u32)
}

/// A port number's bytestring.
pub(super) fn port_to_wire(port: u32) -> Vec<u8> {
    bytes::encode(port.into())
}

/// An index into an array of `size` cells; `None` for all.
pub(super) fn index_from_wire(index: Option<&v1::Index>, size: usize) -> Outcome<Option<usize>> {
    let Some(v1::Index { index }) = index else {
        return Ok(None);
    };
    match usize::try_from(*index) {
        Err(_) => Err(Refusal::invalid(format!("the index {index} is negative"))),
        Ok(index) if index >= size => Err(Refusal::out_of_range(format!(
            "the index {index} is beyond the {size} cells of the array"
        ))),
        Ok(index) => Ok(Some(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_within_the_array() {
        let at = |index| index_from_wire(Some(&v1::Index { index }), 4).map_err(|r| r.code);
        assert_eq!(index_from_wire(None, 4), Ok(None));
        assert_eq!(at(3), Ok(Some(3)));
        assert_eq!(at(4), Err(tonic::Code::OutOfRange));
        assert_eq!(at(-1), Err(tonic::Code::InvalidArgument));
    }
}
