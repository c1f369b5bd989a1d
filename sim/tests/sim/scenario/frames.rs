//! Random frames that the parser takes far: they are drawn along its states.

use std::collections::BTreeMap;

use num_bigint::BigUint;
use serde_json::Value;

use super::Tape;
use crate::reference::{Program, Reference};

const INGRESS_PORT: [&str; 2] = ["standard_metadata", "ingress_port"];

/// More than any frame here needs.
const MOST_STATES: usize = 40;
const MOST_BITS: usize = 16_000;

/// A frame as it grows.
struct Sketch<'a> {
    program: &'a Program,
    bits: Vec<bool>,
    /// Where the bits of a field are, or will be.
    places: BTreeMap<(String, String), usize>,
    next: BTreeMap<String, usize>,
    last: BTreeMap<String, String>,
    /// Fields that seem to be lengths: where they are, their width, and where what they count
    /// begins.
    lengths: Vec<(usize, usize, usize)>,
    /// The port that the parser asks for.
    port: Option<u32>,
    /// Bits that must be so wherever they come to be.
    forced: Vec<(usize, bool)>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn bits_of(number: &BigUint, width: usize) -> impl Iterator<Item = bool> {
    (0..width).rev().map(move |i| number.bit(i as u64))
}

fn hex(value: &Value) -> BigUint {
    let digits = text(value);
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    BigUint::parse_bytes(digits.as_bytes(), 16).unwrap_or_default()
}

impl Sketch<'_> {
    fn draw(&mut self, width: usize, tape: &mut Tape<'_>) {
        if self.bits.len() + width < MOST_BITS {
            let number = tape.number(width as u32);
            self.bits.extend(bits_of(&number, width));
        }
    }

    fn header(&mut self, name: &str, varbit: bool, tape: &mut Tape<'_>) {
        let kind = self.program.headers[name].kind.clone();
        let start = self.bits.len();
        let end = start + kind.fixed_bits() as usize;
        for field in &kind.fields {
            let lower = field.name.to_lowercase();
            if lower.contains("len") && tape.below(8) > 0 {
                let from = if lower.contains("payload") {
                    end
                } else {
                    start
                };
                let width = field.width.unwrap_or(0) as usize;
                self.lengths.push((self.bits.len(), width, from));
            }
            self.places
                .insert((name.to_owned(), field.name.clone()), self.bits.len());
            match field.width {
                Some(width) => self.draw(width as usize, tape),
                None if varbit => {
                    let bytes = tape.below(6);
                    (0..bytes).for_each(|_| self.draw(8, tape));
                }
                None => {}
            }
        }
    }

    fn element(&mut self, stack: &str, member: Option<&Value>) -> Option<String> {
        let next = self.next.entry(stack.to_owned()).or_default();
        let header = match member {
            None => self.program.stacks.get(stack)?.get(*next)?,
            Some(member) => {
                let union = self.program.union_stacks.get(stack)?.get(*next)?;
                let names = &self.program.union_members[union];
                let at = names.iter().position(|name| *member == **name)?;
                &self.program.unions[union][at]
            }
        };
        *next += 1;
        self.last.insert(stack.to_owned(), header.clone());
        Some(header.clone())
    }

    fn operation(&mut self, operation: &Value, tape: &mut Tape<'_>) {
        let parameters = &operation["parameters"];
        let value = &parameters[0]["value"];
        match text(&operation["op"]) {
            op @ ("extract" | "extract_VL") => {
                let header = match text(&parameters[0]["type"]) {
                    "regular" => value.as_str().map(str::to_owned),
                    "stack" => self.element(text(value), None),
                    _ => self.element(text(&value[0]), Some(&value[1])),
                };
                if let Some(header) = header {
                    self.header(&header, op == "extract_VL", tape);
                }
            }
            "advance" if parameters[0]["type"] == "hexstr" => {
                let bits = u64::try_from(hex(value)).unwrap_or(0).min(512);
                (0..bits / 8).for_each(|_| self.draw(8, tape));
            }
            "set" => {
                let source = &parameters[1]["value"];
                let place = match text(&parameters[1]["type"]) {
                    "lookahead" => Some(self.bits.len() + source[0].as_u64().unwrap_or(0) as usize),
                    "field" => self.place(source),
                    _ => None,
                };
                let key = (text(&value[0]).to_owned(), text(&value[1]).to_owned());
                match place {
                    Some(place) => self.places.insert(key, place),
                    None => self.places.remove(&key),
                };
            }
            _ => {}
        }
    }

    fn place(&self, pair: &Value) -> Option<usize> {
        let key = (text(&pair[0]).to_owned(), text(&pair[1]).to_owned());
        self.places.get(&key).copied()
    }

    /// The width of a part of a key, and where its bits are.
    fn part(&self, part: &Value) -> (usize, Option<usize>) {
        let value = &part["value"];
        match text(&part["type"]) {
            "field" => (self.program.field_width(value) as usize, self.place(value)),
            "lookahead" => {
                let offset = value[0].as_u64().unwrap_or(0) as usize;
                let width = value[1].as_u64().unwrap_or(0) as usize;
                (width, Some(self.bits.len() + offset))
            }
            "stack_field" => {
                let Some(first) = self.program.stacks[text(&value[0])].first() else {
                    return (0, None);
                };
                let pair = |header: &str| serde_json::json!([header, value[1]]);
                let last = self.last.get(text(&value[0]));
                let width = self.program.field_width(&pair(first)) as usize;
                (width, last.and_then(|last| self.place(&pair(last))))
            }
            _ => {
                let Some(last) = self.last.get(text(&value[0])) else {
                    return (0, None);
                };
                let pair = serde_json::json!([last, value[2]]);
                let known = self.program.headers[last].kind.field(text(&value[2]));
                let width = known.map_or(0, |_| self.program.field_width(&pair));
                (width as usize, self.place(&pair))
            }
        }
    }

    /// Makes the key of a state match one of its transitions.
    fn transition(&mut self, state: &Value, reference: &Reference, tape: &mut Tape<'_>) -> Value {
        let all = state["transitions"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        // Mostly not to the end yet.
        let onward = all
            .iter()
            .filter(|transition| !transition["next_state"].is_null());
        let mut choices: Vec<&Value> = onward.collect();
        if choices.is_empty() || tape.below(8) == 0 {
            choices = all.iter().collect();
        }
        let Some(&transition) = tape.one(&choices) else {
            return Value::Null;
        };
        let parts = state["transition_key"].as_array().into_iter().flatten();
        let parts: Vec<_> = parts.map(|part| self.part(part)).collect();
        let (value, padded) = match text(&transition["type"]) {
            "hexstr" => (hex(&transition["value"]), true),
            "parse_vset" => {
                let members = reference.value_sets.get(text(&transition["value"]));
                match tape.one(members.map_or(&[][..], Vec::as_slice)) {
                    Some(member) => (member.clone(), false),
                    None => return transition["next_state"].clone(),
                }
            }
            _ => return transition["next_state"].clone(),
        };
        let mask = transition["mask"]
            .is_string()
            .then(|| hex(&transition["mask"]));
        let key = &state["transition_key"];
        if key[1].is_null() && key[0]["value"] == serde_json::json!(INGRESS_PORT) {
            self.port = u32::try_from(&value).ok();
        }
        let mut low = 0u64;
        for &(width, place) in parts.iter().rev() {
            for i in 0..width {
                let wanted = mask.as_ref().is_none_or(|mask| mask.bit(low + i as u64));
                if let Some(place) = place
                    && wanted
                {
                    self.forced
                        .push((place + width - 1 - i, value.bit(low + i as u64)));
                }
            }
            low += if padded { width.div_ceil(8) * 8 } else { width } as u64;
        }
        transition["next_state"].clone()
    }
}

/// A frame and the port where it comes in.
pub(super) fn draw(reference: &Reference, tape: &mut Tape<'_>) -> (u32, Vec<u8>) {
    let port = tape.below(5) as u32;
    let program = &*reference.program;
    let mut sketch = Sketch {
        program,
        bits: Vec::new(),
        places: BTreeMap::new(),
        next: BTreeMap::new(),
        last: BTreeMap::new(),
        lengths: Vec::new(),
        port: None,
        forced: Vec::new(),
    };
    let damage = tape.below(16);
    let parser = &program.document["parsers"][0];
    let mut name = parser["init_state"].clone();
    for _ in 0..MOST_STATES {
        let states = parser["parse_states"].as_array().into_iter().flatten();
        let Some(state) = states.into_iter().find(|state| state["name"] == name) else {
            break;
        };
        for operation in state["parser_ops"].as_array().into_iter().flatten() {
            sketch.operation(operation, tape);
        }
        name = sketch.transition(state, reference, tape);
    }
    for _ in 0..tape.below(24) {
        sketch.draw(8, tape);
    }
    let Sketch {
        mut bits,
        lengths,
        port: asked,
        forced,
        ..
    } = sketch;
    for (at, width, from) in lengths {
        let count = BigUint::from(bits.len().saturating_sub(from) / 8);
        let places = bits.iter_mut().skip(at);
        places
            .zip(bits_of(&count, width))
            .for_each(|(place, bit)| *place = bit);
    }
    for (at, bit) in forced {
        if let Some(place) = bits.get_mut(at) {
            *place = bit;
        }
    }
    let byte = |bits: &[bool]| {
        (0..8).fold(0, |byte, i| {
            byte << 1 | u8::from(bits.get(i) == Some(&true))
        })
    };
    let mut frame: Vec<u8> = bits.chunks(8).map(byte).collect();
    match damage {
        13 => frame.truncate(tape.below(frame.len() + 1)),
        14 if !frame.is_empty() => {
            let at = tape.below(frame.len());
            frame[at] = tape.byte();
        }
        15 => frame = (0..tape.below(80)).map(|_| tape.byte()).collect(),
        _ => {}
    }
    (asked.unwrap_or(port), frame)
}
