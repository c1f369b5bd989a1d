//! Actions and their primitives.

use num_bigint::BigInt;
use serde_json::Value;

use super::expression::Place;
use super::hash;
use super::packet::{Packet, fit};
use super::program::{list, named, text};
use super::switch::{DROP_PORT, Reference};
use super::{Call, Stop};

/// What comes after a primitive.
pub(super) enum Then {
    Next,
    /// The primitive with this index.
    Jump(usize),
}

impl Reference {
    pub(super) fn run(&mut self, call: &Call, packet: &mut Packet) -> Result<(), Stop> {
        let program = self.program.clone();
        let action = &program.actions[&call.action];
        let locals: Vec<BigInt> = call.data.iter().cloned().map(BigInt::from).collect();
        let primitives = list(action, "primitives");
        let mut at = 0;
        for _ in 0..10_000 {
            let Some(primitive) = primitives.get(at) else {
                return Ok(());
            };
            at = match self.primitive(primitive, packet, &locals)? {
                Then::Next => at + 1,
                Then::Jump(to) => to,
            };
        }
        Err(Stop::Unpredictable("the action does not end".to_owned()))
    }

    pub(super) fn store(&self, packet: &mut Packet, place: Place, value: &BigInt) {
        if let Some((header, field)) = place {
            let header = packet.headers.all.get_mut(&header).expect("a header");
            header.set(field, value);
        }
    }

    fn array_len(&self, arrays: &str, name: &str) -> usize {
        let arrays = list(&self.program.document, arrays);
        let array = named(arrays, name).expect("an array");
        array["size"].as_u64().unwrap_or(0) as usize
    }

    /// What a meter counts a packet as.
    pub(super) fn units(&self, meter: &str, packet: &Packet) -> u64 {
        let meters = list(&self.program.document, "meter_arrays");
        match named(meters, meter).expect("a meter")["type"].as_str() {
            Some("bytes") => packet.arrived as u64,
            _ => 1,
        }
    }

    /// Whether both are varbits, whose lengths are copied too.
    pub(super) fn copy_varbit(&self, to: &Value, from: &Value, packet: &mut Packet) -> bool {
        let scope = self.scope(packet, &[]);
        let (Ok(Some(to)), Ok(Some(from))) = (scope.place(to), scope.place(from)) else {
            return false;
        };
        let source = &packet.headers.all[&from.0];
        if source.kind.fields[from.1].width.is_some() {
            return false;
        }
        let (value, bits) = (source.fields[from.1].clone(), source.varbit);
        let target = packet.headers.all.get_mut(&to.0).expect("a header");
        target.varbit = bits;
        target.fields[to.1] = value;
        true
    }

    fn copy_header(&self, to: &str, from: &str, packet: &mut Packet) {
        let source = packet.headers.all[from].clone();
        packet.headers.set_valid(&self.program, to, source.valid);
        if source.valid {
            let target = packet.headers.all.get_mut(to).expect("a header");
            target.fields = source.fields;
            target.varbit = source.varbit;
        }
    }

    /// Elements of a stack move by `by`; those that come in are invalid.
    fn shift(&self, stack: &str, by: isize, packet: &mut Packet) {
        let groups: Vec<Vec<String>> = match self.program.stacks.get(stack) {
            Some(headers) => headers.iter().map(|header| vec![header.clone()]).collect(),
            None => {
                let unions = &self.program.union_stacks[stack];
                unions
                    .iter()
                    .map(|union| self.program.unions[union].clone())
                    .collect()
            }
        };
        let before = packet.headers.clone();
        for (i, group) in groups.iter().enumerate() {
            let from = i as isize - by;
            for (member, name) in group.iter().enumerate() {
                let target = packet.headers.all.get_mut(name).expect("a header");
                match usize::try_from(from).ok().and_then(|from| groups.get(from)) {
                    Some(source) => *target = before.all[&source[member]].clone(),
                    None => target.valid = false,
                }
            }
        }
        let next = packet.headers.next.entry(stack.to_owned()).or_default();
        *next = (*next as isize + by).clamp(0, groups.len() as isize) as usize;
    }

    pub(super) fn primitive(
        &mut self,
        primitive: &Value,
        packet: &mut Packet,
        locals: &[BigInt],
    ) -> Result<Then, Stop> {
        let name = text(&primitive["op"]);
        let of = list(primitive, "parameters");
        let number =
            |this: &Self, packet: &Packet, at: usize| this.scope(packet, locals).number(&of[at]);
        let small = |this: &Self, packet: &Packet, at: usize| -> Result<u64, Stop> {
            let number = number(this, packet, at)?;
            Ok(u64::try_from(fit(&number, 64, false)).unwrap_or(0))
        };
        match name.as_str() {
            "assign" | "modify_field" => {
                if !self.copy_varbit(&of[0], &of[1], packet) {
                    let value = number(self, packet, 1)?;
                    let place = self.scope(packet, locals).place(&of[0])?;
                    self.store(packet, place, &value);
                }
            }
            "assign_VL" => {
                self.copy_varbit(&of[0], &of[1], packet);
            }
            "assign_header" | "copy_header" => {
                let scope = self.scope(packet, locals);
                if let (Some(to), Some(from)) = (scope.header(&of[0])?, scope.header(&of[1])?) {
                    self.copy_header(&to, &from, packet);
                }
            }
            "assign_union" => {
                let (to, from) = (text(&of[0]["value"]), text(&of[1]["value"]));
                self.copy_union(&to, &from, packet);
            }
            "assign_header_stack" => {
                let (to, from) = (text(&of[0]["value"]), text(&of[1]["value"]));
                let (targets, sources) = (&self.program.stacks[&to], &self.program.stacks[&from]);
                for (target, source) in targets.iter().zip(sources) {
                    self.copy_header(target, source, packet);
                }
                let next = *packet.headers.next.get(&from).unwrap_or(&0);
                packet.headers.next.insert(to, next);
            }
            "assign_union_stack" => {
                let (to, from) = (text(&of[0]["value"]), text(&of[1]["value"]));
                let stacks = &self.program.union_stacks;
                for (target, source) in stacks[&to].iter().zip(&stacks[&from]) {
                    self.copy_union(target, source, packet);
                }
                let next = *packet.headers.next.get(&from).unwrap_or(&0);
                packet.headers.next.insert(to, next);
            }
            "push" | "pop" => {
                let by = small(self, packet, 1)?.min(1 << 20) as isize;
                let by = if name == "pop" { -by } else { by };
                self.shift(&text(&of[0]["value"]), by, packet);
            }
            "add_header" => {
                if let Some(header) = self.scope(packet, locals).header(&of[0])?
                    && !packet.headers.all[&header].valid
                {
                    packet
                        .headers
                        .all
                        .get_mut(&header)
                        .expect("a header")
                        .zero();
                    packet.headers.set_valid(&self.program, &header, true);
                    packet.length += packet.headers.all[&header].bytes() as i64;
                }
            }
            "remove_header" => {
                if let Some(header) = self.scope(packet, locals).header(&of[0])?
                    && packet.headers.all[&header].valid
                {
                    packet.length -= packet.headers.all[&header].bytes() as i64;
                    packet.headers.set_valid(&self.program, &header, false);
                }
            }
            "mark_to_drop" | "drop" => {
                self.set_intrinsic(packet, "standard_metadata", "egress_spec", DROP_PORT);
                self.set_intrinsic(packet, "intrinsic_metadata", "mcast_grp", 0);
            }
            "no_op" | "log_msg" => {}
            "exit" => packet.exit = true,
            "assert" | "assume" => {
                if !self.scope(packet, locals).truth(&of[0])? {
                    return Err(Stop::Assert);
                }
            }
            "_jump" => return Ok(Then::Jump(small(self, packet, 0)? as usize)),
            "_jump_if_zero" => {
                if !self.scope(packet, locals).truth(&of[0])? {
                    return Ok(Then::Jump(small(self, packet, 1)? as usize));
                }
            }
            "generate_digest" => {
                let id = small(self, packet, 1)?;
                if !packet.digests.contains(&id) {
                    packet.digests.push(id);
                }
            }
            "clone_ingress_pkt_to_egress" | "clone_egress_pkt_to_egress" => {
                packet.clone = Some((small(self, packet, 0)?, small(self, packet, 1)?));
            }
            "resubmit" => packet.resubmit = Some(small(self, packet, 0)?),
            "recirculate" => packet.recirculate = Some(small(self, packet, 0)?),
            "truncate" => packet.bound = packet.bound.min(small(self, packet, 0)? as usize),
            "modify_field_with_hash_based_offset" => {
                let base = small(self, packet, 1)?;
                let size = small(self, packet, 3)?.max(1);
                let hash = self.calculate(&of[2]["value"], packet)?;
                let value = BigInt::from((hash % size).wrapping_add(base));
                let place = self.scope(packet, locals).place(&of[0])?;
                self.store(packet, place, &value);
            }
            "modify_field_rng_uniform" => {
                let (low, high) = (number(self, packet, 1)?, number(self, packet, 2)?);
                if low < high {
                    return Err(Stop::Unpredictable("a random number".to_owned()));
                }
                if low == high {
                    let place = self.scope(packet, locals).place(&of[0])?;
                    self.store(packet, place, &low);
                }
            }
            "execute_meter" => {
                let meter = text(&of[0]["value"]);
                let at = small(self, packet, 1)? as usize;
                if at < self.array_len("meter_arrays", &meter) {
                    let units = self.units(&meter, packet);
                    let cell = self.meters.get_mut(&(meter, at));
                    let color = cell.map_or(0, |cell| cell.mark(self.now_us, units));
                    let place = self.scope(packet, locals).place(&of[2])?;
                    self.store(packet, place, &BigInt::from(color));
                }
            }
            "count" => {
                let at = small(self, packet, 1)? as usize;
                let cells = self.counters.get_mut(&text(&of[0]["value"]));
                if let Some(cell) = cells.and_then(|cells| cells.get_mut(at)) {
                    cell.add(packet.arrived);
                }
            }
            "register_read" => {
                let at = small(self, packet, 2)? as usize;
                let cells = &self.registers[&text(&of[1]["value"])];
                if let Some(value) = cells.get(at).cloned() {
                    let place = self.scope(packet, locals).place(&of[0])?;
                    self.store(packet, place, &value);
                }
            }
            "register_write" => {
                let at = small(self, packet, 1)? as usize;
                let value = number(self, packet, 2)?;
                let register = text(&of[0]["value"]);
                let arrays = list(&self.program.document, "register_arrays");
                let width = named(arrays, &register).expect("an array")["bitwidth"].as_u64();
                let value = fit(&value, width.unwrap_or(0) as u32, false);
                let cells = self.registers.get_mut(&register).expect("an array");
                if let Some(cell) = cells.get_mut(at) {
                    *cell = value;
                }
            }
            _ => {
                return Err(Stop::Unsupported(format!("the primitive {name}")));
            }
        }
        Ok(Then::Next)
    }

    fn copy_union(&self, to: &str, from: &str, packet: &mut Packet) {
        let unions = &self.program.unions;
        let pairs: Vec<_> = unions[to].iter().zip(&unions[from]).collect();
        let before = packet.headers.clone();
        for (target, _) in &pairs {
            packet.headers.set_valid(&self.program, target, false);
        }
        for (target, source) in pairs {
            if before.all[source].valid {
                self.copy_header(target, source, packet);
            }
        }
    }

    /// The result of a named calculation.
    pub(super) fn calculate(&self, name: &Value, packet: &Packet) -> Result<u64, Stop> {
        let calculations = list(&self.program.document, "calculations");
        let calculation = named(calculations, &text(name)).expect("a calculation");
        let data = hash::input(calculation, "input", packet)?;
        hash::compute(&text(&calculation["algo"]), &data)
    }
}
