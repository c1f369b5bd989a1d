//! simple_switch around the pipelines: what happens at the end of ingress and of egress.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use num_bigint::{BigInt, BigUint};
use serde_json::Value;

use super::packet::{Packet, to_bytes, unsigned};
use super::program::{Program, hex_unsigned, list, text};
use super::{Call, Copy, Counted, Does, Entry, Match, Meter, Stop};

pub(super) const DROP_PORT: u64 = 511;

// instance_type
const NORMAL: u64 = 0;
const INGRESS_CLONE: u64 = 1;
const EGRESS_CLONE: u64 = 2;
const RECIRC: u64 = 4;
const REPLICATION: u64 = 5;
const RESUBMIT: u64 = 6;

/// More passes than any packet needs: it goes round in circles.
const MOST_PASSES: usize = 200;

/// A table's entries and default action.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub entries: Vec<Entry>,
    pub default: Option<Call>,
    /// What the default entry counted.
    pub missed: Counted,
}

/// The switch.
pub struct Reference {
    pub program: Rc<Program>,
    pub tables: BTreeMap<String, Table>,
    /// Members by action profile and id.
    pub members: BTreeMap<String, BTreeMap<u32, Call>>,
    /// Members of groups, by action profile and id.
    pub groups: BTreeMap<String, BTreeMap<u32, Vec<u32>>>,
    pub value_sets: BTreeMap<String, Vec<BigUint>>,
    pub multicast: BTreeMap<u64, Vec<Copy>>,
    pub sessions: BTreeMap<u64, Vec<Copy>>,
    pub counters: BTreeMap<String, Vec<Counted>>,
    pub registers: BTreeMap<String, Vec<BigInt>>,
    /// The configured cells, by array and index.
    pub meters: BTreeMap<(String, usize), Meter>,
    /// Messages: the name of the digest and the values of its fields.
    pub digests: Vec<(String, Vec<BigUint>)>,
    /// What the last frame looked up in vain: tables and keys, for those who draw entries.
    pub missed: Vec<(String, Vec<BigUint>)>,
    pub(super) now_us: u64,
}

/// A packet that waits for ingress or for egress.
struct Waiting {
    packet: Packet,
    port: u32,
}

fn call(action_entry: &Value) -> Call {
    let data = list(action_entry, "action_data").iter().map(hex_unsigned);
    Call {
        action: action_entry["action_id"].as_u64().unwrap_or(0),
        data: data.collect(),
    }
}

fn const_entry(entry: &Value) -> Entry {
    let key = list(entry, "match_key").iter().map(|key| {
        let value = hex_unsigned(&key["key"]);
        match key["match_type"].as_str() {
            Some("exact") => Match::Exact(value),
            Some("lpm") => Match::Lpm(value, key["prefix_length"].as_u64().unwrap_or(0) as u32),
            Some("ternary") => Match::Ternary(value, hex_unsigned(&key["mask"])),
            Some("range") => Match::Range(hex_unsigned(&key["start"]), hex_unsigned(&key["end"])),
            _ => Match::Valid(key["key"] == true),
        }
    });
    Entry {
        key: key.collect(),
        // The document's lowest number is the highest priority.
        priority: -entry["priority"].as_i64().unwrap_or(0),
        does: Does::Call(call(&entry["action_entry"])),
        counted: Counted::default(),
        meter: None,
    }
}

impl Reference {
    pub fn new(program: Rc<Program>) -> Reference {
        let mut tables = BTreeMap::new();
        for table in program.tables() {
            let default = &table["default_entry"];
            let entries = list(table, "entries").iter().map(const_entry);
            let table_state = Table {
                entries: entries.collect(),
                default: default.is_object().then(|| call(default)),
                missed: Counted::default(),
            };
            tables.insert(text(&table["name"]), table_state);
        }
        let arrays = |kind: &str| -> Vec<(String, usize)> {
            let arrays = list(&program.document, kind).iter();
            let arrays = arrays.filter(|array| array["is_direct"] != true);
            arrays
                .map(|a| (text(&a["name"]), a["size"].as_u64().unwrap_or(0) as usize))
                .collect()
        };
        let counters = arrays("counter_arrays").into_iter();
        let registers = arrays("register_arrays").into_iter();
        Reference {
            counters: counters
                .map(|(name, size)| (name, vec![Counted::default(); size]))
                .collect(),
            registers: registers
                .map(|(name, size)| (name, vec![BigInt::default(); size]))
                .collect(),
            tables,
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            value_sets: BTreeMap::new(),
            multicast: BTreeMap::new(),
            sessions: BTreeMap::new(),
            meters: BTreeMap::new(),
            digests: Vec::new(),
            missed: Vec::new(),
            now_us: 0,
            program,
        }
    }

    pub(super) fn set_intrinsic(&self, packet: &mut Packet, header: &str, field: &str, to: u64) {
        if let Some((header, field)) = self.program.intrinsic(header, field) {
            packet.headers.set(&header, &field, &BigInt::from(to));
        }
    }

    fn intrinsic(&self, packet: &Packet, header: &str, field: &str) -> u64 {
        match self.program.intrinsic(header, field) {
            Some((header, field)) => {
                let value = packet.headers.get(&header, &field);
                u64::try_from(value).unwrap_or(0)
            }
            None => 0,
        }
    }

    /// What leaves when this frame arrives.
    pub fn process(
        &mut self,
        now_us: u64,
        port: u32,
        frame: &[u8],
    ) -> Result<Vec<(u32, Vec<u8>)>, Stop> {
        self.now_us = now_us;
        self.missed.clear();
        let mut packet = Packet::new(&self.program, frame.to_vec());
        packet.ingress_port = port;
        self.begin(&mut packet, NORMAL);
        let mut arriving = VecDeque::from([packet]);
        let mut leaving = VecDeque::new();
        let mut out = Vec::new();
        for _ in 0..MOST_PASSES {
            let ended = if let Some(packet) = arriving.pop_front() {
                self.ingress(packet, &mut arriving, &mut leaving)
            } else if let Some(waiting) = leaving.pop_front() {
                self.egress(waiting, &mut arriving, &mut leaving, &mut out)
            } else {
                return Ok(out);
            };
            match ended {
                Ok(()) | Err(Stop::Assert) => {}
                Err(stop) => return Err(stop),
            }
        }
        Err(Stop::Unpredictable("the packet never leaves".to_owned()))
    }

    /// The metadata of a packet that is about to begin ingress.
    fn begin(&self, packet: &mut Packet, instance_type: u64) {
        let (port, length) = (packet.ingress_port.into(), packet.length as u64);
        self.set_intrinsic(packet, "standard_metadata", "ingress_port", port);
        self.set_intrinsic(packet, "standard_metadata", "packet_length", length);
        self.set_intrinsic(packet, "standard_metadata", "instance_type", instance_type);
        let stamp = ("intrinsic_metadata", "ingress_global_timestamp");
        self.set_intrinsic(packet, stamp.0, stamp.1, self.now_us);
    }

    fn ingress(
        &mut self,
        mut packet: Packet,
        arriving: &mut VecDeque<Packet>,
        leaving: &mut VecDeque<Waiting>,
    ) -> Result<(), Stop> {
        let (length, arrived) = (packet.length, packet.arrived);
        let ingress_port = packet.ingress_port;
        let frame = packet.payload.clone();
        let again = |this: &Self| {
            let mut again = Packet::new(&this.program, frame.clone());
            (again.length, again.arrived) = (length, arrived);
            again.ingress_port = ingress_port;
            again
        };
        self.parse(&mut packet)?;
        let (error, checksum) = (packet.parser_error.into(), packet.checksum_error.into());
        self.set_intrinsic(&mut packet, "standard_metadata", "parser_error", error);
        self.set_intrinsic(&mut packet, "standard_metadata", "checksum_error", checksum);
        self.apply("ingress", &mut packet)?;
        packet.exit = false;

        if let Some((session, fields)) = packet.clone.take()
            && let Some(copies) = self.sessions.get(&session).cloned()
        {
            let mut clone = again(self);
            let port = ingress_port.into();
            self.set_intrinsic(&mut clone, "standard_metadata", "ingress_port", port);
            self.parse(&mut clone)?;
            clone.headers.zero_metadata();
            self.keep(fields, &packet, &mut clone);
            self.set_intrinsic(
                &mut clone,
                "standard_metadata",
                "instance_type",
                INGRESS_CLONE,
            );
            self.replicate(&clone, &copies, leaving);
        }
        for id in std::mem::take(&mut packet.digests) {
            self.learn(id, &packet)?;
        }
        if let Some(fields) = packet.resubmit.take() {
            let mut next = again(self);
            self.keep(fields, &packet, &mut next);
            self.begin(&mut next, RESUBMIT);
            arriving.push_back(next);
            return Ok(());
        }
        let group = self.intrinsic(&packet, "intrinsic_metadata", "mcast_grp");
        if group != 0 {
            let copies = self.multicast.get(&group).cloned().unwrap_or_default();
            self.set_intrinsic(
                &mut packet,
                "standard_metadata",
                "instance_type",
                REPLICATION,
            );
            self.replicate(&packet, &copies, leaving);
            return Ok(());
        }
        let port = self.intrinsic(&packet, "standard_metadata", "egress_spec");
        if port != DROP_PORT {
            self.set_intrinsic(&mut packet, "standard_metadata", "instance_type", NORMAL);
            let port = port as u32;
            leaving.push_back(Waiting { packet, port });
        }
        Ok(())
    }

    fn egress(
        &mut self,
        Waiting { mut packet, port }: Waiting,
        arriving: &mut VecDeque<Packet>,
        leaving: &mut VecDeque<Waiting>,
        out: &mut Vec<(u32, Vec<u8>)>,
    ) -> Result<(), Stop> {
        let (now, length) = (self.now_us, packet.length as u64);
        let stamp = ("intrinsic_metadata", "egress_global_timestamp");
        self.set_intrinsic(&mut packet, stamp.0, stamp.1, now);
        self.set_intrinsic(&mut packet, "standard_metadata", "egress_port", port.into());
        self.set_intrinsic(
            &mut packet,
            "standard_metadata",
            "egress_spec",
            DROP_PORT + 1,
        );
        self.set_intrinsic(&mut packet, "standard_metadata", "packet_length", length);
        packet.digests.clear();
        self.apply("egress", &mut packet)?;
        packet.exit = false;

        if let Some((session, fields)) = packet.clone.take()
            && let Some(copies) = self.sessions.get(&session).cloned()
        {
            let mut clone = packet.clone();
            clone.headers.zero_metadata();
            (clone.resubmit, clone.recirculate) = (None, None);
            self.keep(fields, &packet, &mut clone);
            self.set_intrinsic(
                &mut clone,
                "standard_metadata",
                "instance_type",
                EGRESS_CLONE,
            );
            self.replicate(&clone, &copies, leaving);
        }
        if self.intrinsic(&packet, "standard_metadata", "egress_spec") == DROP_PORT {
            return Ok(());
        }
        let frame = self.deparse(&mut packet)?;
        let Some(fields) = packet.recirculate.take() else {
            out.push((port, frame));
            return Ok(());
        };
        let mut next = Packet::new(&self.program, frame);
        // Where a recirculated packet came in no document tells: in BMv2 it is port 0.
        self.keep(fields, &packet, &mut next);
        self.begin(&mut next, RECIRC);
        arriving.push_back(next);
        Ok(())
    }

    /// Copies the fields of a field list.
    fn keep(&self, id: u64, from: &Packet, to: &mut Packet) {
        let lists = list(&self.program.document, "field_lists");
        let Some(fields) = lists.iter().find(|fields| fields["id"] == id) else {
            return;
        };
        for element in list(fields, "elements") {
            if element["type"] == "field" {
                let (header, field) = (text(&element["value"][0]), text(&element["value"][1]));
                let value = from.headers.get(&header, &field);
                to.headers.set(&header, &field, &value);
            }
        }
    }

    fn replicate(&self, packet: &Packet, copies: &[Copy], leaving: &mut VecDeque<Waiting>) {
        for copy in copies {
            let mut packet = packet.clone();
            (packet.clone, packet.resubmit, packet.recirculate) = (None, None, None);
            self.set_intrinsic(
                &mut packet,
                "intrinsic_metadata",
                "egress_rid",
                copy.rid.into(),
            );
            let port = copy.port;
            leaving.push_back(Waiting { packet, port });
        }
    }

    fn learn(&mut self, id: u64, packet: &Packet) -> Result<(), Stop> {
        let program = self.program.clone();
        let lists = list(&program.document, "learn_lists");
        let Some(learn) = lists.iter().find(|learn| learn["id"] == id) else {
            return Ok(());
        };
        let mut values = Vec::new();
        for element in list(learn, "elements") {
            let scope = self.scope(packet, &[]);
            let width = match element["type"].as_str() {
                Some("field") => program.field_width(&element["value"]),
                _ => element["bitwidth"].as_u64().unwrap_or(64) as u32,
            };
            values.push(unsigned(&scope.number(element)?, width));
        }
        self.digests.push((text(&learn["name"]), values));
        Ok(())
    }

    fn deparse(&self, packet: &mut Packet) -> Result<Vec<u8>, Stop> {
        for checksum in list(&self.program.document, "checksums") {
            if checksum["update"] != false && self.applies(checksum, packet)? {
                let sum = BigInt::from(self.calculate(&checksum["calculation"], packet)?);
                let target = &checksum["target"];
                packet
                    .headers
                    .set(&text(&target[0]), &text(&target[1]), &sum);
            }
        }
        let deparsers = list(&self.program.document, "deparsers");
        let order = deparsers
            .first()
            .map_or(&[][..], |deparser| list(deparser, "order"));
        let mut frame = Vec::new();
        for name in order {
            let header = &packet.headers.all[&text(name)];
            if header.valid {
                frame.extend(to_bytes(&header.bits()));
            }
        }
        frame.extend(&packet.payload);
        frame.truncate(packet.bound);
        Ok(frame)
    }
}
