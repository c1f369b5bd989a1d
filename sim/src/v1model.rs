//! The v1model pipeline, in the order that simple_switch documents: parser, checksum
//! verification, ingress; clone, digest, resubmit, multicast, drop or unicast; egress; clone,
//! drop, checksum update and deparser, recirculate or transmit.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::control::Replica;
use crate::exec::{
    Flow, Machine, Packet, Phv, Random, Sink, deparse, deparsed, error_name, update_checksums,
    verify_checksums,
};
use crate::program::{Loc, PHV_WORDS, Program};
use crate::state::{PortsDown, Snapshot, State};
use crate::switch::Output;

/// `standard_metadata.instance_type`, as simple_switch numbers it.
mod instance_type {
    pub(super) const NORMAL: u64 = 0;
    pub(super) const INGRESS_CLONE: u64 = 1;
    pub(super) const EGRESS_CLONE: u64 = 2;
    pub(super) const RECIRCULATED: u64 = 4;
    pub(super) const REPLICATION: u64 = 5;
    pub(super) const RESUBMIT: u64 = 6;
}

/// Why a packet, or a copy, did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop {
    Ingress,
    Egress,
    NoGroup,
    NoSession,
    TooManyPasses,
    Assert,
}

/// What a pass needs and does not change.
pub(crate) struct Context<'a> {
    pub(crate) program: &'a Program,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) state: &'a State,
    pub(crate) ports: &'a PortsDown,
    pub(crate) now: u64,
    pub(crate) max_passes: u32,
    /// Called after digests were queued.
    pub(crate) on_digest: &'a dyn Fn(),
    /// Takes the lines of a trace.
    pub(crate) trace: Option<&'a Sink<'a>>,
}

impl Context<'_> {
    /// Tells something, if anybody listens.
    fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(sink) = self.trace {
            sink(&line());
        }
    }
}

/// Replicas in words.
fn copies_to(replicas: &[Replica]) -> String {
    let copies: Vec<String> = replicas
        .iter()
        .map(|copy| format!("port {} (rid {})", copy.port, copy.instance))
        .collect();
    match copies.is_empty() {
        true => "nowhere".to_owned(),
        false => copies.join(", "),
    }
}

/// The bytes that a packet's parser reads.
#[derive(Clone)]
enum Frame {
    /// The frame that arrived.
    Input,
    /// A recirculated one.
    Made(Arc<Vec<u8>>),
}

/// A packet, or copies of one, that waits for a pass.
enum Work {
    Ingress {
        metadata: Vec<u64>,
        frame: Frame,
        port: Option<u32>,
        kind: u64,
    },
    Egress {
        phv: Vec<u64>,
        frame: Frame,
        packet: Packet,
        copies: Copies,
        kind: u64,
    },
}

/// Where copies of a packet go.
enum Copies {
    One(Replica),
    All(Arc<[Replica]>),
}

impl Copies {
    fn as_slice(&self) -> &[Replica] {
        match self {
            Copies::One(replica) => std::slice::from_ref(replica),
            Copies::All(replicas) => replicas,
        }
    }
}

/// Everything a worker reuses from packet to packet.
pub(crate) struct Scratch {
    phv: Box<Phv>,
    key: Vec<u64>,
    buffer: Vec<u8>,
    head: Vec<u8>,
    random: Random,
    queue: VecDeque<Work>,
    /// Buffers for saved PHVs.
    spare: Vec<Vec<u64>>,
    passes: u32,
}

impl Scratch {
    pub(crate) fn new(program: &Program, random: Random) -> Self {
        // Zeroed pages take no memory until they are written.
        let mut phv: Box<Phv> = vec![0; PHV_WORDS].try_into().unwrap_or_else(|_| {
            // The array's length is the vector's.
            unreachable!()
        });
        phv[0] = 1;
        let start = program.constants_start as usize;
        phv[start..start + program.constants.len()].copy_from_slice(&program.constants);
        let widest = program
            .tables
            .iter()
            .map(|table| table.key_words)
            .max()
            .unwrap_or(0);
        Scratch {
            phv,
            key: vec![0; widest as usize],
            buffer: Vec::with_capacity(256),
            head: Vec::with_capacity(256),
            random,
            queue: VecDeque::new(),
            spare: Vec::new(),
            passes: 0,
        }
    }

    fn machine<'a>(
        &'a mut self,
        context: &Context<'a>,
        packet: &'a mut Packet,
        data: &'a [u8],
    ) -> Machine<'a> {
        Machine {
            program: context.program,
            snapshot: context.snapshot,
            state: context.state,
            ports: context.ports,
            phv: &mut self.phv,
            packet,
            data,
            now: context.now,
            key: &mut self.key,
            buffer: &mut self.buffer,
            random: &mut self.random,
            trace: context.trace,
        }
    }

    fn set(&mut self, field: Option<(Loc, u32)>, value: u64) {
        if let Some((at, width)) = field {
            self.phv[at as usize] = value & (u64::MAX >> (64 - width));
        }
    }

    fn get(&self, field: Option<(Loc, u32)>) -> u64 {
        field.map_or(0, |(at, _)| self.phv[at as usize])
    }

    /// A copy of the headers and metadata.
    fn save(&mut self, program: &Program) -> Vec<u64> {
        let mut saved = self.spare.pop().unwrap_or_default();
        saved.clear();
        saved.extend_from_slice(&self.phv[..program.reset_words as usize]);
        saved
    }

    fn restore(&mut self, saved: &[u64]) {
        self.phv[..saved.len()].copy_from_slice(saved);
    }

    /// Metadata to zero, but for the fields of a list, which are those of `from`.
    fn keep_fields(&mut self, program: &Program, list: u32, from: &[u64]) {
        let metadata = program.metadata.start as usize..program.metadata.end as usize;
        self.phv[metadata].fill(0);
        for span in &program.field_lists[list as usize].spans {
            self.phv[span.range()].copy_from_slice(&from[span.range()]);
        }
    }

    /// Runs one frame to completion. `dropped` is told of every packet or copy that ends here.
    pub(crate) fn process(
        &mut self,
        context: &Context<'_>,
        port: u32,
        input: &[u8],
        out: &mut impl Output,
        dropped: &mut impl FnMut(Drop),
    ) {
        self.passes = 0;
        let mut dropped = |reason| {
            context.tell(|| match reason {
                Drop::Ingress => "  dropped at the end of ingress".to_owned(),
                Drop::Egress => "  dropped at the end of egress".to_owned(),
                Drop::NoGroup => "  dropped: the multicast group is empty".to_owned(),
                Drop::NoSession => "  not cloned: there is no such session".to_owned(),
                Drop::TooManyPasses => "  dropped: too many passes".to_owned(),
                Drop::Assert => "  dropped: an assertion failed".to_owned(),
            });
            dropped(reason);
        };
        let dropped = &mut dropped;
        self.clear(context.program);
        let kind = instance_type::NORMAL;
        self.ingress(context, Frame::Input, input, Some(port), kind, out, dropped);
        while let Some(work) = self.queue.pop_front() {
            match work {
                Work::Ingress {
                    metadata,
                    frame,
                    port,
                    kind,
                } => {
                    self.clear(context.program);
                    let start = context.program.metadata.start as usize;
                    self.phv[start..start + metadata.len()].copy_from_slice(&metadata);
                    self.spare.push(metadata);
                    self.ingress(context, frame, input, port, kind, out, dropped);
                }
                Work::Egress {
                    phv,
                    frame,
                    packet,
                    copies,
                    kind,
                } => {
                    if !self.pass(context, dropped) {
                        continue;
                    }
                    for &replica in copies.as_slice() {
                        self.restore(&phv);
                        let packet = packet.clone();
                        self.egress(context, &frame, input, packet, replica, kind, out, dropped);
                    }
                    self.spare.push(phv);
                }
            }
        }
    }

    fn clear(&mut self, program: &Program) {
        self.phv[1..program.reset_words as usize].fill(0);
    }

    /// Counts a pass of the parser, or a packet that all its copies leave from; `false` if there were
    /// too many.
    fn pass(&mut self, context: &Context<'_>, dropped: &mut impl FnMut(Drop)) -> bool {
        self.passes += 1;
        if self.passes > context.max_passes {
            dropped(Drop::TooManyPasses);
            return false;
        }
        true
    }

    fn parse(&mut self, context: &Context<'_>, packet: &mut Packet, data: &[u8]) {
        let program = context.program;
        let intrinsic = &program.intrinsic;
        context.tell(|| "  parser".to_owned());
        let mut machine = self.machine(context, packet, data);
        let error = match machine.run(program.parser) {
            Flow::ParserError(error) => error,
            _ => program.errors.no_error,
        };
        let right = verify_checksums(&mut machine);
        self.set(intrinsic.parser_error, error);
        self.set(intrinsic.checksum_error, u64::from(!right));
        if error != program.errors.no_error {
            context.tell(|| format!("    error.{}", error_name(program, error)));
        }
        if !right {
            context.tell(|| "    a checksum is wrong".to_owned());
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn ingress(
        &mut self,
        context: &Context<'_>,
        frame: Frame,
        input: &[u8],
        port: Option<u32>,
        kind: u64,
        out: &mut impl Output,
        dropped: &mut impl FnMut(Drop),
    ) {
        if !self.pass(context, dropped) {
            return;
        }
        let program = context.program;
        let intrinsic = &program.intrinsic;
        let data = match &frame {
            Frame::Input => input,
            Frame::Made(bytes) => bytes,
        };
        let length = data.len() as u64;
        if let Some(port) = port {
            self.set(intrinsic.ingress_port, u64::from(port));
        }
        self.set(intrinsic.packet_length, length);
        self.set(intrinsic.instance_type, kind);
        self.set(intrinsic.ingress_global_timestamp, context.now / 1000);
        let mut packet = Packet {
            length: length as i64,
            ingress_length: length,
            ..Packet::default()
        };
        context.tell(|| {
            let port = self.get(intrinsic.ingress_port);
            let how = match kind {
                instance_type::RESUBMIT => " resubmitted",
                instance_type::RECIRCULATED => " recirculated",
                _ => "",
            };
            format!("packet{how}, {length} bytes, on port {port}")
        });
        self.parse(context, &mut packet, data);
        context.tell(|| "  ingress".to_owned());
        if self
            .machine(context, &mut packet, data)
            .run(program.ingress)
            == Flow::Failed
        {
            dropped(Drop::Assert);
            return;
        }

        if let Some((session, list)) = packet.clone.take() {
            self.clone_ingress(context, session, list, &frame, data, dropped);
        }
        if packet.digests != 0 {
            self.digests(context, std::mem::take(&mut packet.digests));
        }
        for list in std::mem::take(&mut packet.more_digests) {
            if self.digest(context, list as usize) {
                (context.on_digest)();
            }
        }
        if let Some(list) = packet.resubmit.take() {
            context.tell(|| "  resubmit".to_owned());
            let metadata = self.kept_metadata(program, list);
            let kind = instance_type::RESUBMIT;
            self.queue.push_back(Work::Ingress {
                metadata,
                frame,
                port,
                kind,
            });
            return;
        }
        let group = self.get(intrinsic.mcast_grp);
        let (copies, kind) = if group != 0 {
            match context.snapshot.pre.group(group) {
                Some(found) if !found.replicas.is_empty() => {
                    context.tell(|| {
                        let copies = copies_to(&found.replicas);
                        format!("  multicast group {group}: {copies}")
                    });
                    let copies = Copies::All(found.replicas.clone());
                    (copies, instance_type::REPLICATION)
                }
                _ => return dropped(Drop::NoGroup),
            }
        } else {
            let egress_spec = self.get(intrinsic.egress_spec);
            if Some(egress_spec) == intrinsic.egress_spec.map(|(_, width)| all_ones(width)) {
                return dropped(Drop::Ingress);
            }
            let rid = self.get(intrinsic.egress_rid) as u16;
            let replica = Replica {
                port: egress_spec as u32,
                instance: rid,
            };
            (Copies::One(replica), instance_type::NORMAL)
        };
        // Clones go first; most packets have none and need not wait.
        match (copies.as_slice(), self.queue.is_empty()) {
            (&[replica], true) => {
                self.egress(context, &frame, input, packet, replica, kind, out, dropped);
            }
            _ => {
                let phv = self.save(program);
                self.queue.push_back(Work::Egress {
                    phv,
                    frame,
                    packet,
                    copies,
                    kind,
                });
            }
        }
    }

    /// The metadata of a packet that begins again: zero but for the fields of a list.
    fn kept_metadata(&mut self, program: &Program, list: u32) -> Vec<u64> {
        let range = program.metadata.start as usize..program.metadata.end as usize;
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.clear();
        kept.resize(range.len(), 0);
        for span in &program.field_lists[list as usize].spans {
            let words = span.range();
            // Headers are parsed again.
            if words.start >= range.start && words.end <= range.end {
                let to = words.start - range.start;
                kept[to..to + words.len()].copy_from_slice(&self.phv[words]);
            }
        }
        kept
    }

    /// A clone of the packet as it arrived, parsed again.
    #[allow(clippy::too_many_arguments)]
    fn clone_ingress(
        &mut self,
        context: &Context<'_>,
        session: u64,
        list: u32,
        frame: &Frame,
        data: &[u8],
        dropped: &mut impl FnMut(Drop),
    ) {
        let program = context.program;
        let Some(session) = context.snapshot.pre.session(session) else {
            return dropped(Drop::NoSession);
        };
        context.tell(|| {
            let copies = copies_to(&session.replicas);
            format!("  clone to egress, session {}: {copies}", session.id())
        });
        // Parsers may look at the port, so the second parsing must see it.
        let port = self.get(program.intrinsic.ingress_port);
        let original = self.save(program);
        self.clear(program);
        self.set(program.intrinsic.ingress_port, port);
        let length = data.len() as u64;
        let mut packet = Packet {
            length: length as i64,
            ingress_length: length,
            ..Packet::default()
        };
        self.parse(context, &mut packet, data);
        self.keep_fields(program, list, &original);
        packet.limit = limit(session.source.packet_length_bytes);
        let phv = self.save(program);
        let copies = Copies::All(session.replicas.clone());
        let kind = instance_type::INGRESS_CLONE;
        self.queue.push_back(Work::Egress {
            phv,
            frame: frame.clone(),
            packet,
            copies,
            kind,
        });
        self.restore(&original);
        self.spare.push(original);
    }

    fn digests(&mut self, context: &Context<'_>, mut digests: u64) {
        let mut queued = false;
        while digests != 0 {
            let list = digests.trailing_zeros() as usize;
            digests &= digests - 1;
            queued |= self.digest(context, list);
        }
        if queued {
            (context.on_digest)();
        }
    }

    fn digest(&self, context: &Context<'_>, list: usize) -> bool {
        let digest = &context.program.digests[list];
        context.state.digests[list].push(|cell| {
            let mut at = 0;
            for (span, _) in &digest.fields {
                let words = span.words as usize;
                cell[at..at + words].copy_from_slice(&self.phv[span.range()]);
                at += words;
            }
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn egress(
        &mut self,
        context: &Context<'_>,
        frame: &Frame,
        input: &[u8],
        mut packet: Packet,
        replica: Replica,
        kind: u64,
        out: &mut impl Output,
        dropped: &mut impl FnMut(Drop),
    ) {
        let program = context.program;
        let intrinsic = &program.intrinsic;
        let data = match frame {
            Frame::Input => input,
            Frame::Made(bytes) => bytes,
        };
        self.set(intrinsic.instance_type, kind);
        self.set(intrinsic.egress_rid, u64::from(replica.instance));
        self.set(intrinsic.egress_port, u64::from(replica.port));
        // simple_switch: anything but the drop port.
        self.set(intrinsic.egress_spec, 0);
        self.set(intrinsic.packet_length, packet.length as u64);
        self.set(intrinsic.enq_timestamp, context.now / 1000);
        self.set(intrinsic.egress_global_timestamp, context.now / 1000);
        context.tell(|| {
            let (port, rid) = (replica.port, replica.instance);
            let what = match kind {
                instance_type::INGRESS_CLONE | instance_type::EGRESS_CLONE => " of a clone",
                instance_type::REPLICATION => " of a replica",
                _ => "",
            };
            format!("  egress{what}, port {port} (rid {rid})")
        });
        if self.machine(context, &mut packet, data).run(program.egress) == Flow::Failed {
            return dropped(Drop::Assert);
        }

        if let Some((session, list)) = packet.clone.take() {
            self.clone_egress(context, session, list, frame, &packet, dropped);
        }
        let drop_port = intrinsic.egress_spec.map(|(_, width)| all_ones(width));
        if Some(self.get(intrinsic.egress_spec)) == drop_port {
            return dropped(Drop::Egress);
        }
        let mut machine = self.machine(context, &mut packet, data);
        update_checksums(&mut machine);
        if let Some(statements) = program.deparser
            && machine.run(statements) == Flow::Failed
        {
            return dropped(Drop::Assert);
        }
        context.tell(|| format!("  deparser: {}", deparsed(program, &self.phv[..])));
        self.head.clear();
        deparse(program, &self.phv, &mut self.head);
        let mut payload = data.get(packet.cursor..).unwrap_or_default();
        if let Some(limit) = packet.limit {
            self.head.truncate(limit);
            payload = &payload[..payload.len().min(limit - self.head.len())];
        }
        if let Some(list) = packet.recirculate {
            context.tell(|| "  recirculate".to_owned());
            let metadata = self.kept_metadata(program, list);
            let bytes = [self.head.as_slice(), payload].concat();
            let frame = Frame::Made(Arc::new(bytes));
            let kind = instance_type::RECIRCULATED;
            // As in simple_switch, the port is 0 unless the field list keeps it.
            self.queue.push_back(Work::Ingress {
                metadata,
                frame,
                port: None,
                kind,
            });
            return;
        }
        context.tell(|| {
            let bytes = self.head.iter().chain(payload);
            let bytes: String = bytes.map(|byte| format!("{byte:02x}")).collect();
            format!("  leaves on port {}: {bytes}", replica.port)
        });
        out.emit(replica.port, &self.head, payload);
    }

    /// A clone of the packet as egress left it.
    fn clone_egress(
        &mut self,
        context: &Context<'_>,
        session: u64,
        list: u32,
        frame: &Frame,
        packet: &Packet,
        dropped: &mut impl FnMut(Drop),
    ) {
        let program = context.program;
        let Some(session) = context.snapshot.pre.session(session) else {
            return dropped(Drop::NoSession);
        };
        context.tell(|| {
            let copies = copies_to(&session.replicas);
            format!("  clone from egress, session {}: {copies}", session.id())
        });
        let original = self.save(program);
        self.keep_fields(program, list, &original);
        let phv = self.save(program);
        self.restore(&original);
        self.spare.push(original);
        let packet = Packet {
            cursor: packet.cursor,
            length: packet.length,
            ingress_length: packet.ingress_length,
            limit: limit(session.source.packet_length_bytes),
            ..Packet::default()
        };
        let copies = Copies::All(session.replicas.clone());
        let kind = instance_type::EGRESS_CLONE;
        self.queue.push_back(Work::Egress {
            phv,
            frame: frame.clone(),
            packet,
            copies,
            kind,
        });
    }
}

fn all_ones(width: u32) -> u64 {
    u64::MAX >> (64 - width)
}

fn limit(bytes: u32) -> Option<usize> {
    (bytes != 0).then_some(bytes as usize)
}
