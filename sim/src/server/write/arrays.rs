//! Arrays that always exist: counters, meters, registers, and parser value sets.

use std::ops::Range;

use p4runtime::bytes::Bitstring;
use p4runtime::p4info::DataType;
use p4runtime::v1;
use p4runtime::v1::field_match::FieldMatchType;
use p4runtime::v1::update::Type;
use tonic::Code;

use super::{Batch, only_modify};
use crate::server::Compat;
use crate::server::convert::{counter_from_wire, fixed, index_from_wire, meter_from_wire};
use crate::server::errors::{Outcome, Refusal};

impl Batch<'_> {
    pub(super) fn counter(&mut self, kind: Type, entry: &v1::CounterEntry) -> Outcome {
        only_modify(kind, "a counter")?;
        let (_, handle) = self.loaded.counters.get(entry.counter_id)?;
        let size = self.loaded.pipeline.counter_info(handle).size;
        let cells = cells(entry.index.as_ref(), size)?;
        // Without data the counter stays as it is.
        let Some(data) = &entry.data else {
            return Ok(());
        };
        let data = counter_from_wire(data)?;
        Ok(self.changes.set_counters(handle, cells, data)?)
    }

    pub(super) fn meter(&mut self, kind: Type, entry: &v1::MeterEntry) -> Outcome {
        only_modify(kind, "a meter")?;
        let (meter, handle) = self.loaded.meters.get(entry.meter_id)?;
        let size = self.loaded.pipeline.meter_info(handle).size;
        let cells = cells(entry.index.as_ref(), size)?;
        let clear_colors = clears_colors(entry.counter_data.as_ref())?;
        let config = entry
            .config
            .as_ref()
            .map(|config| meter_from_wire(meter.meter_type, config));
        let config = config.transpose()?;
        self.changes.set_meters(handle, cells.clone(), config)?;
        if clear_colors {
            self.changes.clear_meter_colors(handle, cells)?;
        }
        Ok(())
    }

    pub(super) fn register(&mut self, kind: Type, entry: &v1::RegisterEntry) -> Outcome {
        if self.compat == Compat::Bmv2 {
            return Err(Refusal::unimplemented(
                "registers (as BMv2's P4Runtime server)",
            ));
        }
        only_modify(kind, "a register")?;
        let (register, handle) = self.loaded.registers.get(entry.register_id)?;
        let info = self.loaded.pipeline.register_info(handle);
        let cells = cells(entry.index.as_ref(), info.size)?;
        let data = entry
            .data
            .as_ref()
            .ok_or_else(|| Refusal::invalid("the register entry has no data"))?;
        let value = register_value(&register.data_type, info.width, data)
            .map_err(|refusal| refusal.at(format_args!("register \"{}\"", register.name)))?;
        Ok(self.changes.set_registers(handle, cells, &value)?)
    }

    pub(super) fn value_set(&mut self, kind: Type, entry: &v1::ValueSetEntry) -> Outcome {
        if self.compat == Compat::Bmv2 {
            return Err(Refusal::unimplemented(
                "value sets (as BMv2's P4Runtime server)",
            ));
        }
        only_modify(kind, "a value set")?;
        let (value_set, handle) = self.loaded.value_sets.get(entry.value_set_id)?;
        let mut members: Vec<Vec<u8>> = Vec::with_capacity(entry.members.len());
        for member in &entry.members {
            let mut bits = BitConcat::default();
            for field in &value_set.match_fields {
                let given = member
                    .r#match
                    .iter()
                    .find(|given| given.field_id == field.id);
                let Some(FieldMatchType::Exact(exact)) =
                    given.and_then(|given| given.field_match_type.as_ref())
                else {
                    return Err(Refusal::invalid(format!(
                        "value set \"{}\", field \"{}\": a member needs an exact value",
                        value_set.name, field.name
                    )));
                };
                bits.push(&fixed(&exact.value, field.bitwidth)?, field.bitwidth);
            }
            let value = bits.into_bytes();
            if members.contains(&value) {
                return Err(Refusal::new(
                    Code::AlreadyExists,
                    format!("value set \"{}\": a member is given twice", value_set.name),
                ));
            }
            members.push(value);
        }
        Ok(self.changes.set_value_set(handle, &members)?)
    }
}

/// The cells that an index, or its absence, names.
fn cells(index: Option<&v1::Index>, size: usize) -> Outcome<Range<usize>> {
    Ok(index_from_wire(index, size)?.map_or(0..size, |index| index..index + 1))
}

/// Whether the counts per colour are to be set to 0, which is all that can be written to them.
pub(super) fn clears_colors(data: Option<&v1::MeterCounterData>) -> Outcome<bool> {
    let Some(v1::MeterCounterData { green, yellow, red }) = data else {
        return Ok(false);
    };
    let zero = v1::CounterData::default();
    if [green, yellow, red]
        .into_iter()
        .flatten()
        .any(|count| *count != zero)
    {
        return Err(Refusal::invalid(
            "the counts per colour of a meter can only be set to 0",
        ));
    }
    Ok(true)
}

/// The bytes of a register cell; only cells of one plain value exist in v1model's JSON.
fn register_value(data_type: &DataType, width: u32, data: &v1::P4Data) -> Outcome<Vec<u8>> {
    let values = data_type
        .decode(data)
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    match &values[..] {
        [value] if matches!(data_type, DataType::Int(_)) => {
            let number = value.to_i128().map_err(Refusal::from)?;
            signed_cell(number, width)
        }
        [value] => fixed(value.as_bytes(), width),
        _ => Err(Refusal::unimplemented("cells of more than one value")),
    }
}

/// A signed number in two's complement of `width` bits.
fn signed_cell(number: i128, width: u32) -> Outcome<Vec<u8>> {
    if width == 0 || width > 127 {
        return Err(Refusal::unimplemented(format!(
            "signed cells of {width} bits"
        )));
    }
    let least = -1_i128 << (width - 1);
    if number < least || number > !least {
        return Err(Refusal::out_of_range(format!(
            "{number} does not fit in {width} bits"
        )));
    }
    let cell = number as u128 & ((1 << width) - 1);
    fixed(Bitstring::from(cell).as_bytes(), width)
}

/// Values one behind the other, without gaps.
#[derive(Debug, Default)]
struct BitConcat {
    /// One element per bit, most significant first.
    bits: Vec<bool>,
}

impl BitConcat {
    /// Appends the low `width` bits of `value`, which has ⌈width/8⌉ bytes.
    fn push(&mut self, value: &[u8], width: u32) {
        let all = value
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 != 0));
        self.bits.extend(all.skip(value.len() * 8 - width as usize));
    }

    /// The number, right-aligned in whole bytes.
    fn into_bytes(self) -> Vec<u8> {
        let mut out = vec![0; self.bits.len().div_ceil(8)];
        for (index, _) in self.bits.iter().rev().enumerate().filter(|(_, bit)| **bit) {
            let at = out.len() - 1 - index / 8;
            out[at] |= 1 << (index % 8);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_joined_bit_by_bit() {
        let mut bits = BitConcat::default();
        bits.push(&[0x01, 0x02], 9);
        bits.push(&[0x03], 3);
        assert_eq!(bits.into_bytes(), [0b1000, 0b0001_0011]);
    }

    #[test]
    fn signed_cells_are_twos_complement_of_their_width() {
        assert_eq!(signed_cell(-1, 12), Ok(vec![0x0f, 0xff]));
        assert_eq!(signed_cell(-2048, 12), Ok(vec![0x08, 0x00]));
        assert!(signed_cell(2048, 12).is_err());
        assert!(signed_cell(-2049, 12).is_err());
    }
}
