//! Packets between the data plane and the primaries. No lock is taken on the way, so that a long
//! `Write` delays none.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use p4runtime::v1;
use p4runtime::v1::stream_message_response::Update as Response;
use tonic::Code;

use super::{Device, Forwarding, Sessions};
use crate::ports::LinkError;
use crate::server::arbitration::StreamId;
use crate::server::errors::{Outcome, Refusal};
use crate::server::pipeline::Loaded;
use crate::server::roles::Access;
use crate::server::stream::StreamSender;

/// Between whom packets go, and how they look.
pub(super) struct PacketPath {
    primaries: Vec<Primary>,
    /// `None` before a pipeline is set.
    loaded: Option<Arc<Loaded>>,
}

struct Primary {
    stream: StreamId,
    sender: StreamSender,
    access: Access,
    receives: bool,
    sends: bool,
}

impl Device {
    /// To be called whenever a primary or the pipeline changes.
    pub(super) fn refresh_packet_path(&self, sessions: &Sessions, forwarding: &Forwarding) {
        let running = forwarding.running.as_ref();
        let loaded = running.map(|running| Arc::clone(&running.loaded));
        let primary = |(stream, access): (StreamId, Access)| {
            let roles = loaded.as_ref().map(|loaded| &loaded.roles);
            Some(Primary {
                stream,
                sender: sessions.streams.get(&stream)?.clone(),
                receives: roles.is_none_or(|roles| access.packet_in(roles)),
                sends: roles.is_none_or(|roles| access.packet_out(roles)),
                access,
            })
        };
        let primaries = sessions.arbitration.primaries();
        let primaries = primaries.into_iter().filter_map(primary).collect();
        self.packet_path
            .store(Some(Arc::new(PacketPath { primaries, loaded })));
    }

    /// A packet of a controller enters the switch on the CPU port.
    pub(super) fn packet_out(&self, stream: StreamId, packet: &v1::PacketOut) -> Outcome {
        let path = self.packet_path.load();
        let primary = path
            .as_ref()
            .and_then(|path| path.primaries.iter().find(|p| p.stream == stream))
            .ok_or_else(|| Refusal::denied("only the primary controller may send packets"))?;
        if !primary.sends {
            return Err(Refusal::denied(format!(
                "the role \"{}\" may not send packets",
                primary.access.role
            )));
        }
        let loaded = path.as_ref().and_then(|path| path.loaded.as_ref());
        let loaded = loaded.ok_or_else(|| {
            Refusal::new(
                Code::FailedPrecondition,
                "no forwarding pipeline config was set",
            )
        })?;
        let layout = &loaded.packet_out;
        let mut frame = Vec::with_capacity(layout.len() + packet.payload.len());
        layout.pack(&packet.metadata, &mut frame)?;
        frame.extend_from_slice(&packet.payload);
        self.cpu.send(&frame).map_err(|error| {
            let code = match error {
                LinkError::TooLong(_) => Code::InvalidArgument,
                LinkError::Full => Code::ResourceExhausted,
                LinkError::Closed => Code::Unavailable,
            };
            Refusal::new(code, error.to_string())
        })?;
        self.counters.packet_outs.fetch_add(1, Relaxed);
        Ok(())
    }

    /// A frame left on the CPU port: it goes to the primaries that receive packets.
    pub fn packet_in(&self, head: &[u8], payload: &[u8]) {
        let send = |path: &PacketPath| {
            let receivers = path.primaries.iter().filter(|primary| primary.receives);
            let mut receivers = receivers.peekable();
            receivers.peek()?;
            let layout = &path.loaded.as_ref()?.packet_in;
            let mut frame = [head, payload].concat();
            let metadata = layout.unpack(&frame)?;
            frame.drain(..layout.len());
            let packet = v1::PacketIn {
                payload: frame,
                metadata,
            };
            let mut taken = None;
            while let Some(primary) = receivers.next() {
                if !primary.access.takes(&packet.metadata) {
                    continue;
                }
                if receivers.peek().is_none() {
                    // The last, usually the only one: no copy.
                    return primary
                        .sender
                        .offer(Response::Packet(packet))
                        .then_some(())
                        .or(taken);
                }
                if primary.sender.offer(Response::Packet(packet.clone())) {
                    taken = Some(());
                }
            }
            taken
        };
        let counter = match self.packet_path.load().as_ref().and_then(|path| send(path)) {
            Some(()) => &self.counters.packet_ins,
            None => &self.counters.packet_ins_dropped,
        };
        counter.fetch_add(1, Relaxed);
    }
}
