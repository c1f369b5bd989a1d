//! Egress, and what follows it.

use std::sync::Arc;

use super::{
    Context, Copies, Drop, Frame, Scratch, Work, all_ones, copies_to, instance_type, limit,
};
use crate::control::Replica;
use crate::exec::{Flow, Packet, deparse, deparsed, update_checksums};
use crate::switch::Output;

impl Scratch {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn egress(
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
