//! Counters, meters, registers and value sets.

use std::ops::Range;

use p4runtime::bytes::Bitstring;
use p4runtime::p4info::DataType;
use p4runtime::v1;
use p4runtime::v1::field_match::{Exact, FieldMatchType};

use super::Reader;
use crate::server::Compat;
use crate::server::convert::{
    canonical, colors_to_wire, counter_to_wire, index_from_wire, meter_to_wire,
};
use crate::server::errors::{Outcome, Refusal};

impl Reader<'_> {
    pub(super) fn counters(&mut self, filter: &v1::CounterEntry) -> Outcome {
        for (counter, handle) in self.loaded.counters.select(filter.counter_id)? {
            let size = self.loaded.pipeline.counter_info(handle).size;
            for index in cells(filter.counter_id, filter.index.as_ref(), size)? {
                let data = self.control.counter(handle, index)?;
                self.give(v1::CounterEntry {
                    counter_id: counter.id,
                    index: Some(v1::Index {
                        index: index as i64,
                    }),
                    data: Some(counter_to_wire(data)),
                });
            }
        }
        Ok(())
    }

    pub(super) fn meters(&mut self, filter: &v1::MeterEntry) -> Outcome {
        for (meter, handle) in self.loaded.meters.select(filter.meter_id)? {
            let size = self.loaded.pipeline.meter_info(handle).size;
            for index in cells(filter.meter_id, filter.index.as_ref(), size)? {
                let config = self.control.meter(handle, index)?;
                let counter_data = match filter.counter_data {
                    Some(_) => Some(colors_to_wire(self.control.meter_colors(handle, index)?)),
                    None => None,
                };
                self.give(v1::MeterEntry {
                    meter_id: meter.id,
                    index: Some(v1::Index {
                        index: index as i64,
                    }),
                    config: config.map(meter_to_wire),
                    counter_data,
                });
            }
        }
        Ok(())
    }

    pub(super) fn registers(&mut self, filter: &v1::RegisterEntry) -> Outcome {
        if self.compat == Compat::Bmv2 {
            return Err(Refusal::unimplemented(
                "registers (as BMv2's P4Runtime server)",
            ));
        }
        for (register, handle) in self.loaded.registers.select(filter.register_id)? {
            let info = self.loaded.pipeline.register_info(handle);
            for index in cells(filter.register_id, filter.index.as_ref(), info.size)? {
                let value = self.control.register(handle, index)?;
                let data =
                    register_data(&register.data_type, info.width, &value).map_err(|refusal| {
                        refusal.at(format_args!("register \"{}\"", register.name))
                    })?;
                self.give(v1::RegisterEntry {
                    register_id: register.id,
                    index: Some(v1::Index {
                        index: index as i64,
                    }),
                    data: Some(data),
                });
            }
        }
        Ok(())
    }

    pub(super) fn value_sets(&mut self, filter: &v1::ValueSetEntry) -> Outcome {
        if self.compat == Compat::Bmv2 {
            return Err(Refusal::unimplemented(
                "value sets (as BMv2's P4Runtime server)",
            ));
        }
        for (value_set, handle) in self.loaded.value_sets.select(filter.value_set_id)? {
            let widths: Vec<(u32, u32)> = value_set
                .match_fields
                .iter()
                .map(|field| (field.id, field.bitwidth))
                .collect();
            let member = |value: Vec<u8>| v1::ValueSetMember {
                r#match: split(&value, &widths),
            };
            let members = self
                .control
                .value_set(handle)
                .into_iter()
                .map(member)
                .collect();
            self.give(v1::ValueSetEntry {
                value_set_id: value_set.id,
                members,
            });
        }
        Ok(())
    }
}

/// The cells that are asked for; an index means nothing without the array's id.
fn cells(id: u32, index: Option<&v1::Index>, size: usize) -> Outcome<Range<usize>> {
    if id == 0 {
        return Ok(0..size);
    }
    Ok(index_from_wire(index, size)?.map_or(0..size, |index| index..index + 1))
}

fn register_data(data_type: &DataType, width: u32, cell: &[u8]) -> Outcome<v1::P4Data> {
    let value = match data_type {
        DataType::Int(_) => Bitstring::from_i128(signed(cell, width)?),
        _ => Bitstring::from(cell),
    };
    data_type
        .encode(&[value])
        .map_err(|error| Refusal::unimplemented(error.to_string()))
}

/// The number in a cell of `width` bits in two's complement.
fn signed(cell: &[u8], width: u32) -> Outcome<i128> {
    if width == 0 || width > 127 {
        return Err(Refusal::unimplemented(format!(
            "signed cells of {width} bits"
        )));
    }
    let number = p4runtime::bytes::decode(cell, width)?;
    let unused = 128 - width;
    Ok(((number << unused) as i128) >> unused)
}

/// The fields of a value set's member, which are joined bit by bit in `value`.
fn split(value: &[u8], fields: &[(u32, u32)]) -> Vec<v1::FieldMatch> {
    let mut end = value.len() * 8;
    let mut matches: Vec<v1::FieldMatch> = Vec::with_capacity(fields.len());
    // The last field stands at the end of the right-aligned number.
    for &(field_id, width) in fields.iter().rev() {
        let mut bytes = vec![0; (width as usize).div_ceil(8)];
        let last = bytes.len().saturating_sub(1);
        for bit in 0..width as usize {
            let Some(at) = (end - 1).checked_sub(bit) else {
                break;
            };
            if value[at / 8] & 0x80 >> (at % 8) != 0 {
                bytes[last - bit / 8] |= 1 << (bit % 8);
            }
        }
        end = end.saturating_sub(width as usize);
        let exact = FieldMatchType::Exact(Exact {
            value: canonical(&bytes),
        });
        matches.push(v1::FieldMatch {
            field_id,
            field_match_type: Some(exact),
        });
        if end == 0 {
            break;
        }
    }
    matches.reverse();
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_split_into_its_fields() {
        let fields = split(&[0b1000, 0b0001_0011], &[(1, 9), (2, 3)]);
        let exact = |field_id, value: &[u8]| v1::FieldMatch {
            field_id,
            field_match_type: Some(FieldMatchType::Exact(Exact {
                value: value.to_vec(),
            })),
        };
        assert_eq!(fields, [exact(1, &[0x01, 0x02]), exact(2, &[0x03])]);
    }

    #[test]
    fn signed_cells_are_read_with_their_sign() {
        assert_eq!(signed(&[0x0f, 0xff], 12), Ok(-1));
        assert_eq!(signed(&[0x07, 0xff], 12), Ok(2047));
    }
}
