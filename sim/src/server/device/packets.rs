//! Packets between the data plane and the primary. No lock is taken on the way, so that a long
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
use crate::server::stream::StreamSender;

/// Between whom packets go, and how they look.
pub(super) struct PacketPath {
    stream: StreamId,
    primary: StreamSender,
    /// `None` before a pipeline is set.
    loaded: Option<Arc<Loaded>>,
}

impl Device {
    /// To be called whenever the primary or the pipeline changes.
    pub(super) fn refresh_packet_path(&self, sessions: &Sessions, forwarding: &Forwarding) {
        let path = || {
            let stream = sessions.arbitration.primary()?;
            let primary = sessions.streams.get(&stream)?.clone();
            let running = forwarding.running.as_ref();
            let loaded = running.map(|running| Arc::clone(&running.loaded));
            Some(PacketPath {
                stream,
                primary,
                loaded,
            })
        };
        self.packet_path.store(path().map(Arc::new));
    }

    /// A packet of a controller enters the switch on the CPU port.
    pub(super) fn packet_out(&self, stream: StreamId, packet: &v1::PacketOut) -> Outcome {
        let path = self.packet_path.load();
        let path = path
            .as_ref()
            .filter(|path| path.stream == stream)
            .ok_or_else(|| Refusal::denied("only the primary controller may send packets"))?;
        let loaded = path.loaded.as_ref().ok_or_else(|| {
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

    /// A frame left on the CPU port: it goes to the primary.
    pub fn packet_in(&self, head: &[u8], payload: &[u8]) {
        let send = |path: &PacketPath| {
            let layout = &path.loaded.as_ref()?.packet_in;
            let mut frame = [head, payload].concat();
            let metadata = layout.unpack(&frame)?;
            frame.drain(..layout.len());
            let packet = v1::PacketIn {
                payload: frame,
                metadata,
            };
            path.primary.offer(Response::Packet(packet)).then_some(())
        };
        let counter = match self.packet_path.load().as_ref().and_then(|path| send(path)) {
            Some(()) => &self.counters.packet_ins,
            None => &self.counters.packet_ins_dropped,
        };
        counter.fetch_add(1, Relaxed);
    }
}
