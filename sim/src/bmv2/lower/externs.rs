//! Counters, meters, registers, calculations, checksums, digests, field lists, and what v1model
//! gives every program: intrinsic metadata and the errors of core.p4.

use super::super::json::{At, LoadError};
use super::expr::Place;
use super::{DirectMeterNode, Lowering, Scope};
use crate::control::{CounterInfo, DigestInfo, MeterInfo, MeterUnit, ParamInfo, RegisterInfo};
use crate::program::{
    ALWAYS, Algorithm, Calculation, CalculationInput, Checksum, Digest, Errors, FieldList, Loc,
    MeterArray, Op, RegisterArray, Span,
};

/// The most cells of one array.
const MAX_CELLS: u64 = 1 << 22;

impl Lowering {
    /// Counter, meter and register arrays.
    pub(super) fn arrays(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        for node in root.list("counter_arrays")? {
            let name = node.text("name")?.to_owned();
            if node.flag("is_direct", false)? {
                let table = node.text("binding")?.to_owned();
                self.direct_counters.insert(table, name);
                continue;
            }
            let size = node.get("size")?.number(MAX_CELLS)? as usize;
            self.counter_index
                .insert(name.clone(), self.infos.counters.len() as u32);
            self.infos.counters.push(CounterInfo { name, size });
        }
        for node in root.list("meter_arrays")? {
            let name = node.text("name")?.to_owned();
            let kind = node.get("type")?;
            let bytes = match kind.str()? {
                "bytes" => true,
                "packets" => false,
                _ => return Err(kind.error("expected `bytes` or `packets`")),
            };
            if node.flag("is_direct", false)? {
                let target_at = node.get("result_target")?;
                let (span, width) = self.field_span(&target_at)?;
                let table = node.text("binding")?.to_owned();
                let meter = DirectMeterNode {
                    name,
                    bytes,
                    target: span.loc,
                    width,
                };
                self.direct_meters.insert(table, meter);
                continue;
            }
            let size = node.get("size")?.number(MAX_CELLS)? as usize;
            let unit = if bytes {
                MeterUnit::Bytes
            } else {
                MeterUnit::Packets
            };
            self.meter_index
                .insert(name.clone(), self.infos.meters.len() as u32);
            self.infos.meters.push(MeterInfo { name, size, unit });
            self.program.meters.push(MeterArray { bytes });
        }
        for node in root.list("register_arrays")? {
            let name = node.text("name")?.to_owned();
            let size = node.get("size")?.number(MAX_CELLS)? as usize;
            let width_at = node.get("bitwidth")?;
            let width = match width_at.number(2048)? as u32 {
                0 => return Err(width_at.error("a register of no bits")),
                width => width,
            };
            self.register_index
                .insert(name.clone(), self.infos.registers.len() as u32);
            self.infos
                .registers
                .push(RegisterInfo { name, size, width });
            self.program.registers.push(RegisterArray { width });
        }
        Ok(())
    }

    /// Digests (`learn_lists`) and the field lists of clone, resubmit and recirculate.
    pub(super) fn lists(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        for node in root.list("learn_lists")? {
            let mut fields = Vec::new();
            let mut params = Vec::new();
            for element in node.get("elements")?.items()? {
                let value = element.get("value")?;
                let (span, width) = match element.text("type")? {
                    "field" => self.field_span(&value)?,
                    "hexstr" => {
                        let width = match element.opt("bitwidth")? {
                            Some(width) => width.number(2048)?.max(1) as u32,
                            None => 64,
                        };
                        (self.constant(&value.hex_words(width)?), width)
                    }
                    other => return Err(element.error(format!("`{other}` in a learn list"))),
                };
                let name = match value.tuple() {
                    Ok([_, field]) => field.str()?.to_owned(),
                    Err(_) => String::new(),
                };
                fields.push((span, width));
                params.push(ParamInfo { name, width });
            }
            let words = fields.iter().map(|(span, _)| span.words).sum();
            let id = node.get("id")?.id()?;
            self.digest_ids
                .insert(id, self.program.digests.len() as u32);
            self.program.digests.push(Digest { fields, words });
            let name = node.text("name")?.to_owned();
            self.infos.digests.push(DigestInfo {
                name,
                fields: params,
            });
        }
        self.field_list_ids.insert(0, 0);
        self.program.field_lists.push(FieldList::default());
        for node in root.list("field_lists")? {
            let mut spans = Vec::new();
            for element in node.get("elements")?.items()? {
                let value = element.get("value")?;
                match element.text("type")? {
                    "field" => match self.field_place(&value)? {
                        Place::Slot { span, .. } => spans.push(span),
                        _ => return Err(value.error("a varbit in a field list")),
                    },
                    "header" => {
                        let header = self.header_named(&value)?;
                        spans.push(self.program.headers[header as usize].span);
                    }
                    "hexstr" => {}
                    other => return Err(element.error(format!("`{other}` in a field list"))),
                }
            }
            let id = node.get("id")?.id()?;
            self.field_list_ids
                .insert(id, self.program.field_lists.len() as u32);
            self.program.field_lists.push(FieldList { spans });
        }
        Ok(())
    }

    /// Named calculations: hashes and checksums.
    pub(super) fn calculations(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        for node in root.list("calculations")? {
            let name = node.text("name")?.to_owned();
            let algorithm = algorithm(&node.get("algo")?)?;
            let calculation = self.calculation(&node.get("input")?, algorithm)?;
            self.calculation_index
                .insert(name, self.program.calculations.len() as u32);
            self.program.calculations.push(calculation);
        }
        Ok(())
    }

    /// The inputs of a calculation or an action selector.
    pub(super) fn calculation(
        &mut self,
        inputs_at: &At<'_>,
        algorithm: Algorithm,
    ) -> Result<Calculation, LoadError> {
        let mut inputs = Vec::new();
        let mut payload = false;
        let mut bits = 0u64;
        for input in inputs_at.items()? {
            if input.text("type")? == "payload" {
                payload = true;
                continue;
            }
            let value = input.get("value")?;
            match input.text("type")? {
                "field" => {
                    let [header, _] = value.tuple()?;
                    let header = self.header_named(&header)?;
                    let valid = self.program.headers[header as usize].valid;
                    match self.field_place(&value)? {
                        Place::Slot { span, width, .. } => {
                            bits += u64::from(width);
                            inputs.push(CalculationInput::Field { span, width, valid });
                        }
                        _ => {
                            let Some(varbit) = self.program.headers[header as usize].varbit else {
                                return Err(value.error("expected a field"));
                            };
                            bits += u64::from(varbit.max_bytes) * 8;
                            inputs.push(CalculationInput::Varbit {
                                loc: varbit.loc,
                                valid,
                            });
                        }
                    }
                }
                "hexstr" => {
                    let width_at = input.get("bitwidth")?;
                    let width = width_at.number(2048)?.max(1) as u32;
                    let words = value.hex_words(width)?.into();
                    bits += u64::from(width);
                    inputs.push(CalculationInput::Constant { words, width });
                }
                "header" => {
                    let header = self.header_named(&value)?;
                    bits += u64::from(self.program.headers[header as usize].bytes) * 8;
                    inputs.push(CalculationInput::Header(header));
                }
                other => return Err(input.error(format!("`{other}` in a calculation"))),
            }
        }
        if bits > 1 << 20 {
            return Err(inputs_at.error("the calculation has too many inputs"));
        }
        Ok(Calculation {
            algorithm,
            inputs,
            payload,
            calls: Default::default(),
        })
    }

    /// Checksums, in the order in which they are verified and updated.
    pub(super) fn checksums(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        for node in root.list("checksums")? {
            let kind = node.get("type")?;
            if kind.str()? != "generic" {
                return Err(kind.error("expected `generic`"));
            }
            let target_at = node.get("target")?;
            let (span, width) = self.field_span(&target_at)?;
            if span.words != 1 {
                return Err(target_at.error("a checksum of more than 64 bits"));
            }
            let [header_at, _] = target_at.tuple()?;
            let header = self.header_named(&header_at)?;
            let valid = self.program.headers[header as usize].valid;
            let name = node.get("calculation")?;
            let Some(&calculation) = self.calculation_index.get(name.str()?) else {
                return Err(name.error("no calculation has this name"));
            };
            let mut guard = None;
            let condition = match node.opt("if_cond")? {
                None => None,
                Some(condition) => {
                    self.statement();
                    let start = self.pc();
                    let expr = self.expr(&condition, &Scope::default())?;
                    guard = self.guard(&expr);
                    let jumps = self.branch(&expr, false, &condition)?;
                    self.emit(Op::Return);
                    let here = self.pc();
                    jumps.into_iter().for_each(|jump| self.patch(jump, here));
                    self.emit(Op::Exit);
                    Some(start)
                }
            };
            self.program.checksums.push(Checksum {
                calculation,
                target: span.loc,
                width,
                valid,
                guard,
                condition,
                verify: node.flag("verify", true)?,
                update: node.flag("update", true)?,
            });
        }
        Ok(())
    }

    /// Finds the intrinsic metadata, by the names simple_switch has for them.
    pub(super) fn intrinsic(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        let mut aliases = Vec::new();
        for alias in root.list("field_aliases")? {
            let [name, target] = alias.tuple()?;
            let (span, width) = self.field_span(&target)?;
            aliases.push((name.str()?.to_owned(), span, width));
        }
        let find = |struct_name: &str, field: &str| -> Option<(Loc, u32)> {
            let full = format!("{struct_name}.{field}");
            let alias = aliases.iter().find(|(name, _, _)| *name == full);
            let found = match alias {
                Some((_, span, width)) => Some((*span, *width)),
                None => ["standard_metadata", struct_name]
                    .iter()
                    .find_map(|header| {
                        let header = *self.header_index.get(*header)?;
                        let header = &self.program.headers[header as usize];
                        let field = header.fields.iter().find(|f| f.name == field)?;
                        Some((field.span, field.width))
                    }),
            };
            found
                .filter(|(span, _)| span.words == 1)
                .map(|(span, width)| (span.loc, width))
        };
        let i = crate::program::Intrinsic {
            ingress_port: find("standard_metadata", "ingress_port"),
            egress_spec: find("standard_metadata", "egress_spec"),
            egress_port: find("standard_metadata", "egress_port"),
            instance_type: find("standard_metadata", "instance_type"),
            packet_length: find("standard_metadata", "packet_length"),
            ingress_global_timestamp: find("intrinsic_metadata", "ingress_global_timestamp"),
            egress_global_timestamp: find("intrinsic_metadata", "egress_global_timestamp"),
            enq_timestamp: find("queueing_metadata", "enq_timestamp"),
            mcast_grp: find("intrinsic_metadata", "mcast_grp"),
            egress_rid: find("intrinsic_metadata", "egress_rid"),
            checksum_error: find("standard_metadata", "checksum_error"),
            parser_error: find("standard_metadata", "parser_error"),
        };
        let required = [
            ("ingress_port", i.ingress_port),
            ("egress_spec", i.egress_spec),
            ("egress_port", i.egress_port),
        ];
        for (name, found) in required {
            if found.is_none() {
                let reason =
                    format!("there is no `standard_metadata.{name}`: not a v1model program");
                return Err(root.get("headers")?.error(reason));
            }
        }
        self.program.intrinsic = i;
        Ok(())
    }

    /// The errors of core.p4: values that the document gives, or unused ones.
    pub(super) fn errors(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        let mut values = std::collections::HashMap::new();
        for error in root.list("errors")? {
            let [name, value] = error.tuple()?;
            let (name, value) = (name.str()?, value.number(i32::MAX as u64)?);
            values.insert(name, value);
            if let Some(notes) = &mut self.program.trace {
                notes.errors.push((value, name.to_owned()));
            }
        }
        // simple_switch gives an error that the document lacks the greatest value.
        let value = |name: &str, default: u64| values.get(name).copied().unwrap_or(default);
        let missing = i32::MAX as u64;
        self.program.errors = Errors {
            no_error: value("NoError", 0),
            packet_too_short: value("PacketTooShort", missing),
            stack_out_of_bounds: value("StackOutOfBounds", missing),
            header_too_short: value("HeaderTooShort", missing),
            parser_timeout: value("ParserTimeout", missing),
            parser_invalid_argument: value("ParserInvalidArgument", missing),
        };
        Ok(())
    }

    /// The validity word of the header that a key's field belongs to.
    pub(super) fn validity_of(&self, target: &At<'_>) -> Result<Loc, LoadError> {
        let [header, field] = target.tuple()?;
        // The hidden field is always there.
        if field.str()? == "$valid$" {
            return Ok(ALWAYS);
        }
        let header = self.header_named(&header)?;
        Ok(self.program.headers[header as usize].valid)
    }

    /// A header's validity, as a span.
    pub(super) fn valid_span(&self, header: &At<'_>) -> Result<Span, LoadError> {
        let header = self.header_named(header)?;
        Ok(Span {
            loc: self.program.headers[header as usize].valid,
            words: 1,
        })
    }
}

/// A hash algorithm by the name simple_switch has for it.
pub(super) fn algorithm(at: &At<'_>) -> Result<Algorithm, LoadError> {
    Ok(match at.str()? {
        "csum16" | "cksum16" => Algorithm::Csum16,
        "crc16" | "crc16_custom" => Algorithm::Crc16,
        "crc32" | "crc32_custom" => Algorithm::Crc32,
        "crc8_custom" => Algorithm::Crc8,
        "crc64_custom" => Algorithm::Crc64,
        "crcCCITT" => Algorithm::CrcCcitt,
        "xxh64" | "bmv2_hash" => Algorithm::Xxh64,
        "toeplitz" => Algorithm::Toeplitz,
        "round_robin" => Algorithm::RoundRobin,
        "identity" => Algorithm::Identity,
        "xor16" => Algorithm::Xor16,
        "xor32" => Algorithm::Xor32,
        other => return Err(at.error(format!("hash algorithm `{other}` is not supported"))),
    })
}
