//! Value sets, and cells of counters, meters and registers.

use std::ops::Range;

use super::Write;
use super::in_place::InPlace;
use crate::control::error::ControlError;
use crate::control::key::{to_bytes, to_words};
use crate::control::read::{beyond, check_meter};
use crate::control::types::{
    CounterData, CounterHandle, MeterConfig, MeterHandle, RegisterHandle, ValueSetHandle,
};
use crate::state::ValueSetMember;

impl Write<'_> {
    /// Replaces the members of a value set. A member is the concatenation of the set's fields.
    pub fn set_value_set(
        &mut self,
        value_set: ValueSetHandle,
        members: &[Vec<u8>],
    ) -> Result<(), ControlError> {
        let pipeline = &self.instance.pipeline;
        let info = pipeline.value_set_info(value_set);
        if members.len() > info.size {
            let what = format!("value set `{}`", info.name);
            let limit = info.size;
            return Err(ControlError::Full { what, limit });
        }
        let parts = &pipeline.program.value_sets[value_set.index()].parts;
        let mut new = Vec::with_capacity(members.len());
        for member in members {
            let value = to_words(member, info.width, &format!("value set `{}`", info.name))?;
            let bytes = to_bytes(&value, info.width);
            let words = split(&value, parts);
            new.push(ValueSetMember { bytes, words });
        }
        self.changed = true;
        self.draft.next.value_sets[value_set.index()] = new.into();
        Ok(())
    }

    /// Sets cells of a counter array. `NotFound` beyond its size.
    pub fn set_counters(
        &mut self,
        counter: CounterHandle,
        cells: Range<usize>,
        data: CounterData,
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.counter_info(counter);
        within("counter", &info.name, &cells, info.size)?;
        let change = InPlace::CounterCells(counter, cells, data);
        self.in_place.push(change);
        Ok(())
    }

    /// Configures cells of a meter array: full buckets from now on. `None` marks everything green.
    pub fn set_meters(
        &mut self,
        meter: MeterHandle,
        cells: Range<usize>,
        config: Option<MeterConfig>,
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.meter_info(meter);
        within("meter", &info.name, &cells, info.size)?;
        check_meter(config)?;
        let change = InPlace::MeterCells(meter, cells, config);
        self.in_place.push(change);
        Ok(())
    }

    /// Sets the counts per colour of cells of a meter array to 0.
    pub fn clear_meter_colors(
        &mut self,
        meter: MeterHandle,
        cells: Range<usize>,
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.meter_info(meter);
        within("meter", &info.name, &cells, info.size)?;
        self.in_place.push(InPlace::ClearCellColors(meter, cells));
        Ok(())
    }

    /// Sets cells of a register array.
    pub fn set_registers(
        &mut self,
        register: RegisterHandle,
        cells: Range<usize>,
        value: &[u8],
    ) -> Result<(), ControlError> {
        let info = self.instance.pipeline.register_info(register);
        let words = to_words(value, info.width, &format!("register `{}`", info.name))?;
        within("register", &info.name, &cells, info.size)?;
        let change = InPlace::RegisterCells(register, cells, words.as_slice().into());
        self.in_place.push(change);
        Ok(())
    }
}

fn within(what: &str, name: &str, cells: &Range<usize>, size: usize) -> Result<(), ControlError> {
    match cells.end > size {
        true => Err(beyond(what, name, cells.end - 1, size)),
        false => Ok(()),
    }
}

/// Splits a concatenation of fields into the words of each.
fn split(value: &[u64], parts: &[u32]) -> Box<[u64]> {
    let word = |i: u32| value.get(i as usize).copied().unwrap_or(0);
    let mut words = Vec::new();
    let mut end: u32 = parts.iter().sum();
    for &width in parts {
        let start = end - width;
        for limb in 0..width.div_ceil(64) {
            let at = start + limb * 64;
            let low = word(at / 64) >> (at % 64);
            let high = match at % 64 {
                0 => 0,
                shift => word(at / 64 + 1) << (64 - shift),
            };
            let bits = (width - limb * 64).min(64);
            words.push((low | high) & (u64::MAX >> (64 - bits)));
        }
        end = start;
    }
    words.into()
}
