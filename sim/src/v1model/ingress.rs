//! Parsing, verification and ingress, and what follows them.

use super::{
    Context, Copies, Drop, Frame, Scratch, Work, all_ones, copies_to, instance_type, limit,
};
use crate::control::Replica;
use crate::exec::{Flow, Packet, error_name, verify_checksums};
use crate::switch::Output;

impl Scratch {
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
    pub(super) fn ingress(
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
}
