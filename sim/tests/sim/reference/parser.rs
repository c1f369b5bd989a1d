//! The parser.

use num_bigint::BigInt;
use serde_json::Value;

use super::Stop;
use super::expression::Scope;
use super::packet::{Packet, bits_of, number, to_bits, unsigned};
use super::program::{hex, hex_unsigned, list, named, text};
use super::switch::Reference;

/// More states than any packet here needs: the program goes round in circles.
const MOST_STATES: usize = 5_000;

/// How far the parser is.
struct Cursor {
    bits: Vec<bool>,
    at: usize,
}

impl Cursor {
    fn look(&self, offset: usize, width: usize) -> Result<&[bool], Stop> {
        let from = self.at.saturating_add(offset);
        self.bits
            .get(from..from.saturating_add(width))
            .ok_or(Stop::Parser("PacketTooShort"))
    }
}

impl Reference {
    /// Parses the payload: fills headers, leaves the rest. Then checksums are verified.
    pub(super) fn parse(&mut self, packet: &mut Packet) -> Result<(), Stop> {
        let mut cursor = Cursor {
            bits: to_bits(&packet.payload),
            at: 0,
        };
        packet.parser_error = 0;
        packet.checksum_error = false;
        let name = match self.walk(packet, &mut cursor) {
            Ok(()) => None,
            Err(Stop::Parser(name)) => Some(name),
            Err(Stop::Verify(number)) => {
                packet.parser_error = number;
                None
            }
            Err(other) => return Err(other),
        };
        if let Some(name) = name {
            packet.parser_error = self.program.errors.get(name).copied().unwrap_or(0);
        }
        packet.payload.drain(..cursor.at / 8);
        let program = self.program.clone();
        for checksum in list(&program.document, "checksums") {
            if checksum["verify"] == false || !self.applies(checksum, packet)? {
                continue;
            }
            let target = &checksum["target"];
            if packet.headers.all[&text(&target[0])].valid {
                let computed = BigInt::from(self.calculate(&checksum["calculation"], packet)?);
                let carried = packet.headers.get(&text(&target[0]), &text(&target[1]));
                packet.checksum_error |= computed != carried;
            }
        }
        Ok(())
    }

    fn walk(&mut self, packet: &mut Packet, cursor: &mut Cursor) -> Result<(), Stop> {
        let program = self.program.clone();
        let Some(parser) = list(&program.document, "parsers").first() else {
            return Ok(());
        };
        let mut state = parser["init_state"].clone();
        for _ in 0..MOST_STATES {
            let Some(name) = state.as_str() else {
                return Ok(());
            };
            let here = named(list(parser, "parse_states"), name).expect("a state");
            for operation in list(here, "parser_ops") {
                self.step(operation, packet, cursor)?;
            }
            state = self.next_state(here, packet, cursor)?;
        }
        Err(Stop::Unpredictable("the parser does not end".to_owned()))
    }

    fn step(&mut self, step: &Value, packet: &mut Packet, cursor: &mut Cursor) -> Result<(), Stop> {
        let parameters = list(step, "parameters");
        match step["op"].as_str() {
            Some("extract") => self.extract(&parameters[0], None, packet, cursor),
            Some("extract_VL") => {
                let bits = self.scope(packet, &[]).number(&parameters[1])?;
                self.extract(&parameters[0], Some(bits), packet, cursor)
            }
            Some("set") => {
                let value = if parameters[1]["type"] == "lookahead" {
                    let at = &parameters[1]["value"];
                    let offset = at[0].as_u64().unwrap_or(0) as usize;
                    let width = at[1].as_u64().unwrap_or(0) as usize;
                    BigInt::from(number(cursor.look(offset, width)?))
                } else if self.copy_varbit(&parameters[0], &parameters[1], packet) {
                    return Ok(());
                } else {
                    self.scope(packet, &[]).number(&parameters[1])?
                };
                let place = self.scope(packet, &[]).place(&parameters[0])?;
                self.store(packet, place, &value);
                Ok(())
            }
            Some("verify") => {
                let scope = self.scope(packet, &[]);
                if scope.truth(&parameters[0])? {
                    return Ok(());
                }
                let number = scope.number(&parameters[1])?;
                Err(Stop::Verify(u32::try_from(number).unwrap_or(u32::MAX)))
            }
            Some("shift") => {
                let bytes = parameters[0].as_u64().unwrap_or(0) as usize;
                cursor.look(0, bytes * 8)?;
                cursor.at += bytes * 8;
                Ok(())
            }
            Some("advance") => {
                let bits = self.scope(packet, &[]).number(&parameters[0])?;
                let bits = usize::try_from(bits).unwrap_or(usize::MAX);
                if bits % 8 != 0 {
                    return Err(Stop::Parser("ParserInvalidArgument"));
                }
                cursor.look(0, bits)?;
                cursor.at += bits;
                Ok(())
            }
            Some("primitive") => {
                let call = &parameters[0];
                self.primitive(call, packet, &[]).map(|_| ())
            }
            _ => Err(Stop::Unsupported(format!("the parser's {}", step["op"]))),
        }
    }

    fn extract(
        &mut self,
        into: &Value,
        varbit: Option<BigInt>,
        packet: &mut Packet,
        cursor: &mut Cursor,
    ) -> Result<(), Stop> {
        let (header, stack) = match into["type"].as_str() {
            Some("regular") => (text(&into["value"]), None),
            Some("stack") => {
                let stack = text(&into["value"]);
                let next = *packet.headers.next.get(&stack).unwrap_or(&0);
                let element = self.program.stacks[&stack].get(next).cloned();
                let element = element.ok_or(Stop::Parser("StackOutOfBounds"))?;
                (element, Some(stack))
            }
            Some("union_stack") => {
                let stack = text(&into["value"][0]);
                let next = *packet.headers.next.get(&stack).unwrap_or(&0);
                let union = self.program.union_stacks[&stack].get(next);
                let union = union.ok_or(Stop::Parser("StackOutOfBounds"))?;
                let names = &self.program.union_members[union];
                let member = names.iter().position(|name| into["value"][1] == **name);
                let member = member.expect("a member of the union");
                (self.program.unions[union][member].clone(), Some(stack))
            }
            _ => return Err(Stop::Unsupported(format!("extract into {into}"))),
        };
        let kind = self.program.headers[&header].kind.clone();
        let varbit = match varbit {
            None => 0,
            Some(bits) => {
                let bits = u32::try_from(bits).unwrap_or(u32::MAX);
                if bits % 8 != 0 {
                    return Err(Stop::Parser("ParserInvalidArgument"));
                }
                cursor.look(0, kind.fixed_bits() as usize + bits as usize)?;
                let bytes = (u64::from(kind.fixed_bits()) + u64::from(bits)) / 8;
                if kind.max_bytes.is_some_and(|most| bytes > most) {
                    return Err(Stop::Parser("HeaderTooShort"));
                }
                bits
            }
        };
        let bits = cursor
            .look(0, (kind.fixed_bits() + varbit) as usize)?
            .to_vec();
        cursor.at += bits.len();
        packet.headers.set_valid(&self.program, &header, true);
        let instance = packet.headers.all.get_mut(&header).expect("a header");
        instance.varbit = varbit;
        let mut rest = bits.as_slice();
        for field in 0..kind.fields.len() {
            let (value, after) = rest.split_at(instance.width(field) as usize);
            instance.set(field, &BigInt::from(number(value)));
            rest = after;
        }
        if let Some(stack) = stack {
            *packet.headers.next.entry(stack).or_default() += 1;
        }
        Ok(())
    }

    /// Where the transitions of a state lead: `null` is the end.
    fn next_state(&self, state: &Value, packet: &Packet, cursor: &Cursor) -> Result<Value, Stop> {
        let mut key = Vec::new();
        let mut widths = Vec::new();
        for part in list(state, "transition_key") {
            let bits = self.key_part(part, packet, cursor)?;
            widths.push(bits.len());
            // Each part fills whole bytes.
            key.extend(std::iter::repeat_n(false, (8 - bits.len() % 8) % 8));
            key.extend(bits);
        }
        let width = key.len() as u32;
        let key = number(&key);
        for transition in list(state, "transitions") {
            let mask = match &transition["mask"] {
                Value::Null => (num_bigint::BigUint::from(1u8) << width) - 1u8,
                mask => hex_unsigned(mask),
            };
            let found = match transition["type"].as_str() {
                Some("default") => true,
                Some("hexstr") => {
                    &key & &mask == unsigned(&hex(&transition["value"]), width) & &mask
                }
                Some("parse_vset") => {
                    let members = self.value_sets.get(&text(&transition["value"]));
                    members.into_iter().flatten().any(|member| {
                        // A member has no gaps between its parts.
                        let packed = bits_of(member, widths.iter().sum::<usize>() as u32);
                        let mut rest = packed.as_slice();
                        let mut padded = Vec::new();
                        for &width in &widths {
                            let (part, after) = rest.split_at(width);
                            padded.extend(std::iter::repeat_n(false, (8 - width % 8) % 8));
                            padded.extend(part);
                            rest = after;
                        }
                        &key & &mask == number(&padded) & &mask
                    })
                }
                _ => return Err(Stop::Unsupported(format!("the transition {transition}"))),
            };
            if found {
                return Ok(transition["next_state"].clone());
            }
        }
        Ok(Value::Null)
    }

    fn key_part(&self, part: &Value, packet: &Packet, cursor: &Cursor) -> Result<Vec<bool>, Stop> {
        let value = &part["value"];
        let in_header = |header: &str, field: &Value| {
            let header = &packet.headers.all[header];
            if field == "$valid$" {
                return vec![header.valid];
            }
            let field = header.kind.field(&text(field)).expect("a field");
            header.field_bits(field)
        };
        match part["type"].as_str() {
            Some("field") => Ok(in_header(&text(&value[0]), &value[1])),
            Some("lookahead") => {
                let offset = value[0].as_u64().unwrap_or(0) as usize;
                let width = value[1].as_u64().unwrap_or(0) as usize;
                Ok(cursor.look(offset, width)?.to_vec())
            }
            Some("stack_field") => {
                let last = self.scope(packet, &[]).last(&text(&value[0]));
                let last = last.ok_or(Stop::Parser("StackOutOfBounds"))?;
                Ok(in_header(&last, &value[1]))
            }
            Some("union_stack_field") => {
                let stack = text(&value[0]);
                let next = *packet.headers.next.get(&stack).unwrap_or(&0);
                let last = next
                    .checked_sub(1)
                    .ok_or(Stop::Parser("StackOutOfBounds"))?;
                let union = &self.program.union_stacks[&stack][last];
                let names = &self.program.union_members[union];
                let member = names.iter().position(|name| value[1] == **name);
                let header = &self.program.unions[union][member.expect("a member")];
                Ok(in_header(header, &value[2]))
            }
            _ => Err(Stop::Unsupported(format!("the key {part}"))),
        }
    }

    pub(super) fn scope<'a>(&'a self, packet: &'a Packet, locals: &'a [BigInt]) -> Scope<'a> {
        Scope {
            program: &self.program,
            headers: &packet.headers,
            locals,
        }
    }
}
