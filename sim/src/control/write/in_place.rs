//! What is not part of a snapshot and is changed where it is: counters, meters, registers, idle
//! timers. Checked when asked for, applied when the rest is published, so that a `Write` that is
//! abandoned leaves them as they are.

use std::ops::Range;
use std::sync::Arc;

use crate::control::types::{CounterData, CounterHandle, MeterConfig, MeterHandle, RegisterHandle};
use crate::state::State;
use crate::tables::EntryState;

/// One change, checked.
pub(super) enum InPlace {
    /// The idle timer of an entry starts again.
    Arm(Arc<EntryState>, u64),
    Counter(Arc<EntryState>, CounterData),
    Meter(Arc<EntryState>, Option<MeterConfig>),
    ClearColors(Arc<EntryState>),
    CounterCells(CounterHandle, Range<usize>, CounterData),
    MeterCells(MeterHandle, Range<usize>, Option<MeterConfig>),
    ClearCellColors(MeterHandle, Range<usize>),
    RegisterCells(RegisterHandle, Range<usize>, Box<[u64]>),
}

impl InPlace {
    /// Its name, when packets go another way because of it.
    pub(super) fn steers_packets(&self) -> Option<&'static str> {
        match self {
            InPlace::Meter(..) => Some("the direct meters of existing entries"),
            InPlace::MeterCells(..) => Some("meters"),
            InPlace::RegisterCells(..) => Some("registers"),
            InPlace::Arm(..)
            | InPlace::Counter(..)
            | InPlace::ClearColors(..)
            | InPlace::CounterCells(..)
            | InPlace::ClearCellColors(..) => None,
        }
    }

    /// Makes the change. Cells are within their arrays, as was checked.
    pub(super) fn apply(self, state: &State) {
        match self {
            InPlace::Arm(entry, now) => entry.arm(now),
            InPlace::Counter(entry, data) => entry.counter.write(data),
            InPlace::Meter(entry, config) => entry.meter.configure(config),
            InPlace::ClearColors(entry) => entry.meter.clear_colors(),
            InPlace::CounterCells(counter, cells, data) => cells
                .filter_map(|index| state.counters[counter.index()].get(index as u64))
                .for_each(|cell| cell.write(data)),
            InPlace::MeterCells(meter, cells, config) => state.meters[meter.index()][cells]
                .iter()
                .for_each(|meter| meter.configure(config)),
            InPlace::ClearCellColors(meter, cells) => state.meters[meter.index()][cells]
                .iter()
                .for_each(|meter| meter.clear_colors()),
            InPlace::RegisterCells(register, cells, words) => cells.for_each(|index| {
                state.registers[register.index()].write(index as u64, &words);
            }),
        }
    }
}
