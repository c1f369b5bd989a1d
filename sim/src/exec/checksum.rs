//! Calculations over fields: hashes and checksums.

use std::sync::atomic::Ordering;

use super::deparser::append_header;
use super::interpreter::Machine;
use super::{Phv, bits};
use crate::externs::hash::{self, InternetSum};
use crate::program::{Algorithm, Calculation, CalculationInput, Checksum, Program, sum};

/// The value of a calculation.
pub(crate) fn calculate(
    program: &Program,
    calculation: u32,
    phv: &Phv,
    payload: &[u8],
    buffer: &mut Vec<u8>,
) -> u64 {
    match &program.derived.sums[calculation as usize] {
        Some(sum) if sum.valid.iter().all(|at| phv[usize::from(*at)] != 0) => {
            let total = sum.terms.iter().fold(sum.start, |total, term| {
                let value = phv[usize::from(term.s)] & term.mask;
                sum::add(total, value.rotate_left(u32::from(term.rotate)))
            });
            u64::from(sum::checksum(total))
        }
        _ => {
            let calculation = &program.calculations[calculation as usize];
            gather(program, calculation, phv, payload, buffer)
        }
    }
}

/// Gathers the inputs of a calculation into `buffer` and hashes them. Fields of invalid headers
/// are left out.
fn gather(
    program: &Program,
    calculation: &Calculation,
    phv: &Phv,
    payload: &[u8],
    buffer: &mut Vec<u8>,
) -> u64 {
    if calculation.algorithm == Algorithm::Csum16
        && let Some(sum) = internet_checksum(calculation, phv, payload)
    {
        return sum;
    }
    if calculation.algorithm == Algorithm::RoundRobin {
        return calculation.calls.fetch_add(1, Ordering::Relaxed);
    }
    buffer.clear();
    let mut at = 0;
    let mut append = |buffer: &mut Vec<u8>, width: u32, words: &[u64]| {
        buffer.resize((at + width as usize).div_ceil(8), 0);
        match words {
            [word] => bits::write(buffer, at, width, *word),
            words => bits::write_words(buffer, at, width, words),
        }
        at += width as usize;
    };
    for input in &calculation.inputs {
        match input {
            CalculationInput::Field { span, width, valid } => {
                if phv[*valid as usize] != 0 {
                    append(buffer, *width, &phv[span.range()]);
                }
            }
            CalculationInput::Constant { words, width } => append(buffer, *width, words),
            CalculationInput::Varbit { loc, valid } => {
                if phv[*valid as usize] != 0 {
                    let bytes = (phv[*loc as usize] / 8) as usize;
                    for i in 0..bytes {
                        let word = phv[*loc as usize + 1 + i / 8];
                        append(buffer, 8, &[u64::from(word.to_be_bytes()[i % 8])]);
                    }
                }
            }
            CalculationInput::Header(index) => {
                let header = &program.headers[*index as usize];
                if phv[header.valid as usize] != 0 {
                    let mut bytes = Vec::new();
                    append_header(program, *index, phv, &mut bytes);
                    for byte in bytes {
                        append(buffer, 8, &[u64::from(byte)]);
                    }
                }
            }
        }
    }
    if calculation.payload {
        buffer.extend_from_slice(payload);
    }
    hash::hash(calculation.algorithm, buffer)
}

/// The Internet checksum of fields and constants of up to 64 bits, summed where they are.
fn internet_checksum(calculation: &Calculation, phv: &[u64], payload: &[u8]) -> Option<u64> {
    let mut sum = InternetSum::default();
    for input in &calculation.inputs {
        match input {
            CalculationInput::Field { span, width, valid } if *width <= 64 => {
                if phv[*valid as usize] != 0 {
                    let mask = u64::MAX >> (64 - width);
                    sum.bits(*width, phv[span.loc as usize] & mask);
                }
            }
            CalculationInput::Constant { words, width } if *width <= 64 => {
                sum.bits(*width, words[0]);
            }
            _ => return None,
        }
    }
    if calculation.payload {
        sum.bytes(payload);
    }
    Some(u64::from(sum.checksum()))
}

fn applies(machine: &mut Machine<'_>, checksum: &Checksum) -> bool {
    if let Some((a, b)) = checksum.guard
        && machine.phv[a as usize] != machine.phv[b as usize]
    {
        return false;
    }
    checksum.condition.is_none_or(|pc| machine.holds(pc))
}

fn value(machine: &mut Machine<'_>, checksum: &Checksum) -> u64 {
    let program = machine.program;
    let mut payload = machine
        .data
        .get(machine.packet.cursor..)
        .unwrap_or_default();
    if let Some(limit) = machine.packet.limit {
        payload = &payload[..payload.len().min(limit)];
    }
    let sum = calculate(
        program,
        checksum.calculation,
        machine.phv,
        payload,
        machine.buffer,
    );
    sum & (u64::MAX >> (64 - checksum.width))
}

/// Updates the checksums of the program, in its order.
pub(crate) fn update_checksums(machine: &mut Machine<'_>) {
    let program = machine.program;
    for checksum in program.checksums.iter().filter(|checksum| checksum.update) {
        if applies(machine, checksum) {
            let sum = value(machine, checksum);
            machine.phv[checksum.target as usize] = sum;
        }
    }
}

/// Whether all checksums to be verified are right. One whose header is invalid is.
pub(crate) fn verify_checksums(machine: &mut Machine<'_>) -> bool {
    let program = machine.program;
    let mut right = true;
    for checksum in program.checksums.iter().filter(|checksum| checksum.verify) {
        if machine.phv[checksum.valid as usize] != 0 && applies(machine, checksum) {
            right &= value(machine, checksum) == machine.phv[checksum.target as usize];
        }
    }
    right
}
