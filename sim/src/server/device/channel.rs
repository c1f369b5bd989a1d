//! What comes and goes over `StreamChannel`: arbitration, acknowledgements, and errors.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use tonic::Status;

use super::{Device, Sessions, ready};
use crate::server::arbitration::{Notification, StreamId};
use crate::server::errors::{Outcome, Refusal};
use crate::server::stream::StreamSender;

impl Device {
    pub(in crate::server) fn add_stream(&self, sender: StreamSender) -> StreamId {
        let mut sessions = self.sessions.lock();
        sessions.last_stream += 1;
        let id = StreamId(sessions.last_stream);
        sessions.streams.insert(id, sender);
        id
    }

    /// Messages that a new stream carries before it ends on purpose.
    pub(in crate::server) fn stream_messages(&self) -> Option<u64> {
        self.faults.lock().stream_messages()
    }

    pub(in crate::server) fn close_stream(&self, stream: StreamId) {
        let mut sessions = self.sessions.lock();
        let was_primary = sessions.arbitration.is_primary_stream(stream);
        let notifications = sessions.arbitration.close(stream);
        sessions.streams.remove(&stream);
        self.after_arbitration(&sessions, notifications, was_primary);
    }

    /// Ends every controller's stream with a status.
    pub fn end_streams(&self, status: &Status) {
        let streams: Vec<StreamId> = {
            let sessions = self.sessions.lock();
            sessions
                .streams
                .values()
                .for_each(|sender| sender.end(status.clone()));
            sessions.streams.keys().copied().collect()
        };
        streams
            .into_iter()
            .for_each(|stream| self.close_stream(stream));
    }

    pub(in crate::server) fn stream_message(
        &self,
        now: Duration,
        stream: StreamId,
        message: v1::StreamMessageRequest,
    ) -> Result<(), Status> {
        if let Some(sender) = self.sessions.lock().streams.get(&stream) {
            sender.received()?;
        }
        let result = match message.update {
            Some(Request::Arbitration(update)) => return self.arbitrate(stream, update),
            Some(Request::Packet(packet)) => self.packet_out(stream, &packet).map_err(|refusal| {
                self.counters.packet_outs_dropped.fetch_add(1, Relaxed);
                let packet_out = Some(packet);
                let details = v1::PacketOutError { packet_out };
                refusal.stream_error(v1::stream_error::Details::PacketOut(details))
            }),
            Some(Request::DigestAck(ack)) => self.digest_ack(stream, ack).map_err(|refusal| {
                let details = v1::DigestListAckError {
                    digest_list_ack: Some(ack),
                };
                refusal.stream_error(v1::stream_error::Details::DigestListAck(details))
            }),
            Some(Request::Other(other)) => {
                let refusal = Refusal::unimplemented("stream messages of other kinds");
                let details = v1::StreamOtherError { other: Some(other) };
                Err(refusal.stream_error(v1::stream_error::Details::Other(details)))
            }
            None => {
                let refusal = Refusal::invalid("the stream message is empty");
                let details = v1::StreamOtherError { other: None };
                Err(refusal.stream_error(v1::stream_error::Details::Other(details)))
            }
        };
        if let Err(error) = result {
            tracing::debug!(?stream, ?now, %error.message, "refused a stream message");
            if let Some(sender) = self.sessions.lock().streams.get(&stream) {
                sender.offer(Response::Error(error));
            }
        }
        Ok(())
    }

    fn arbitrate(
        &self,
        stream: StreamId,
        mut update: v1::MasterArbitrationUpdate,
    ) -> Result<(), Status> {
        if self.check_device(update.device_id).is_ok() {
            // BMv2's device 0 is the device.
            update.device_id = self.config.device_id;
        }
        let mut sessions = self.sessions.lock();
        let before = sessions.arbitration.is_primary_stream(stream);
        match sessions.arbitration.update(stream, &update) {
            Ok(notifications) => {
                let after = sessions.arbitration.is_primary_stream(stream);
                if before && after {
                    // Its role's config may be another.
                    self.refresh_packet_path(&sessions, &self.forwarding.read());
                }
                self.after_arbitration(&sessions, notifications, before != after);
                Ok(())
            }
            Err(refusal) => {
                let status = Status::from(refusal);
                if let Some(sender) = sessions.streams.get(&stream) {
                    sender.end(status.clone());
                }
                Err(status)
            }
        }
    }

    fn after_arbitration(
        &self,
        sessions: &Sessions,
        notifications: Vec<Notification>,
        primary_changed: bool,
    ) {
        if primary_changed {
            let forwarding = self.forwarding.read();
            if let Some(running) = &forwarding.running {
                running.digests.primary_changed();
            }
            self.refresh_packet_path(sessions, &forwarding);
        }
        for (stream, notification) in notifications {
            if let Some(sender) = sessions.streams.get(&stream)
                && !sender.send(Response::Arbitration(notification))
            {
                tracing::warn!(
                    ?stream,
                    "a controller reads nothing: it misses an arbitration"
                );
            }
        }
        self.wake();
    }

    fn digest_ack(&self, stream: StreamId, ack: v1::DigestListAck) -> Outcome {
        let access = {
            let sessions = self.sessions.lock();
            let arbitration = &sessions.arbitration;
            let role = arbitration.role_of(stream);
            let role = role.filter(|_| arbitration.is_primary_stream(stream));
            role.map(|role| arbitration.access(role))
        };
        let access = access
            .ok_or_else(|| Refusal::denied("only the primary controller acknowledges digests"))?;
        let forwarding = self.forwarding.read();
        let running = ready(forwarding.running.as_ref())?;
        let (_, handle) = running.loaded.digests.get(ack.digest_id)?;
        if !access.object(&running.loaded.roles, ack.digest_id) {
            return Err(Refusal::denied(format!(
                "the digest is not within the scope of the role \"{}\"",
                access.role
            )));
        }
        running.digests.acknowledge(handle, ack.list_id);
        Ok(())
    }
}
