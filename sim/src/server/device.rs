//! One P4Runtime device: a switch, its pipeline, its controllers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use p4runtime::v1;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use parking_lot::{Mutex, RwLock};
use tonic::{Code, Status};

use super::arbitration::{Arbitration, Notification, StreamId};
use super::digests::Digests;
use super::errors::{Outcome, Refusal, batch_status};
use super::notes::Notes;
use super::packet_io::PacketLayout;
use super::pipeline::Loaded;
use super::read::Reader;
use super::stream::{ControllerStream, StreamSender};
use super::write::Batch;
use super::{API_VERSION, Compat, timestamp};
use crate::Switch;
use crate::control::Control;
use crate::ports::{LinkError, MemLink};

/// How often idle entries are looked for.
const IDLE_SCAN: Duration = Duration::from_millis(100);
/// The longest `Write` batch, in updates.
const MAX_UPDATES: usize = 1 << 20;

/// How a device is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The id that controllers name it by.
    pub device_id: u64,
    /// Whose behaviour to show.
    pub compat: Compat,
    /// The time since the Unix epoch at which the switch's clock was zero, for the timestamps of
    /// notifications.
    pub epoch: Duration,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        DeviceConfig {
            device_id: 1,
            compat: Compat::Spec,
            epoch: Duration::ZERO,
        }
    }
}

/// What went over the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceStats {
    /// Packets sent to the primary.
    pub packet_ins: u64,
    /// Packets for a controller that were dropped: there was no primary, it was too slow, or the
    /// packet was shorter than its header.
    pub packet_ins_dropped: u64,
    /// Packets taken from the primary.
    pub packet_outs: u64,
    /// Packets of controllers that were refused or dropped.
    pub packet_outs_dropped: u64,
}

/// A P4Runtime device. All methods may be called from any thread.
pub struct Device {
    config: DeviceConfig,
    switch: Arc<Switch>,
    /// The switch's CPU port, for packets of controllers.
    cpu: MemLink,
    /// Held for the whole of a `Write`, so that a new primary never overtakes the old one's.
    sessions: Mutex<Sessions>,
    forwarding: RwLock<Forwarding>,
    digests: Digests,
    last_idle_scan: Mutex<Duration>,
    /// What a packet for the controller needs, without a lock.
    packet_in: ArcSwapOption<PacketIn>,
    counters: Counters,
    wake: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

struct Sessions {
    arbitration: Arbitration,
    streams: HashMap<StreamId, StreamSender>,
    last_stream: u64,
}

#[derive(Default)]
struct Forwarding {
    running: Option<Running>,
    /// VERIFY_AND_SAVE came, COMMIT did not yet.
    saved: Option<Loaded>,
    notes: Notes,
}

struct Running {
    loaded: Arc<Loaded>,
    control: Control,
}

struct PacketIn {
    primary: StreamSender,
    layout: PacketLayout,
}

#[derive(Default)]
struct Counters {
    packet_ins: AtomicU64,
    packet_ins_dropped: AtomicU64,
    packet_outs: AtomicU64,
    packet_outs_dropped: AtomicU64,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// A device around `switch`; `cpu` is the far end of the switch's CPU port.
    pub fn new(config: DeviceConfig, switch: Arc<Switch>, cpu: MemLink) -> Arc<Self> {
        let arbitration = Arbitration::new(config.device_id);
        Arc::new(Device {
            config,
            switch,
            cpu,
            sessions: Mutex::new(Sessions {
                arbitration,
                streams: HashMap::new(),
                last_stream: 0,
            }),
            forwarding: RwLock::default(),
            digests: Digests::default(),
            last_idle_scan: Mutex::default(),
            packet_in: ArcSwapOption::empty(),
            counters: Counters::default(),
            wake: Mutex::default(),
        })
    }

    /// How the device was configured.
    pub fn config(&self) -> &DeviceConfig {
        &self.config
    }

    /// The switch it stands for.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// What went over the streams.
    pub fn stats(&self) -> DeviceStats {
        DeviceStats {
            packet_ins: self.counters.packet_ins.load(Relaxed),
            packet_ins_dropped: self.counters.packet_ins_dropped.load(Relaxed),
            packet_outs: self.counters.packet_outs.load(Relaxed),
            packet_outs_dropped: self.counters.packet_outs_dropped.load(Relaxed),
        }
    }

    /// Is called when [`poll`](Self::poll) may have something to do earlier than it said.
    pub fn on_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        *self.wake.lock() = Some(Box::new(wake));
    }

    /// Opens a controller's stream.
    pub fn open_stream(self: &Arc<Self>) -> ControllerStream {
        ControllerStream::new(self)
    }

    /// `Capabilities`.
    ///
    /// # Errors
    /// NOT_FOUND for another device.
    pub fn capabilities(
        &self,
        request: v1::CapabilitiesRequest,
    ) -> Result<v1::CapabilitiesResponse, Status> {
        if request.device_id != 0 {
            self.check_device(request.device_id)?;
        }
        Ok(v1::CapabilitiesResponse {
            p4runtime_api_version: API_VERSION.to_owned(),
            ..Default::default()
        })
    }

    /// `SetForwardingPipelineConfig`.
    ///
    /// # Errors
    /// NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT, as the specification says.
    pub fn set_pipeline(
        &self,
        request: v1::SetForwardingPipelineConfigRequest,
    ) -> Result<(), Status> {
        use v1::set_forwarding_pipeline_config_request::Action;
        self.check_device(request.device_id)?;
        let check_writer = |sessions: &Sessions| {
            self.check_writer(sessions, &request.role, request.election_id.as_ref())
        };
        check_writer(&self.sessions.lock())?;
        let action = request.action();
        let has_config = request.config.is_some();
        // Loading a program takes a while, and nobody has to wait for it.
        let verified = match action {
            Action::Unspecified => {
                return Err(Refusal::invalid("the request has no action").into());
            }
            Action::Commit if has_config => {
                return Err(
                    Refusal::invalid("COMMIT takes no config: it commits the saved").into(),
                );
            }
            Action::Commit => None,
            _ => {
                let config = request.config.clone();
                let config = config.ok_or_else(|| Refusal::invalid("the request has no config"))?;
                Some(Loaded::verify(config)?)
            }
        };
        if action == Action::Verify {
            return Ok(());
        }
        let sessions = self.sessions.lock();
        check_writer(&sessions)?;
        let mut forwarding = self.forwarding.write();
        match (action, verified) {
            (Action::VerifyAndSave, loaded) => forwarding.saved = loaded,
            (Action::ReconcileAndCommit, Some(loaded)) => {
                self.reconcile(&mut forwarding, loaded)?;
            }
            (_, Some(loaded)) => self.commit(&mut forwarding, loaded),
            (_, None) => match forwarding.saved.take() {
                Some(loaded) => self.commit(&mut forwarding, loaded),
                None => {
                    return Err(Refusal::not_found("no config was saved (VERIFY_AND_SAVE)").into());
                }
            },
        }
        self.refresh_packet_in(&sessions, &forwarding);
        drop((forwarding, sessions));
        self.wake();
        Ok(())
    }

    fn commit(&self, forwarding: &mut Forwarding, loaded: Loaded) {
        let control = self.switch.load(Arc::clone(&loaded.pipeline));
        self.digests.pipeline_changed();
        *forwarding = Forwarding {
            running: Some(Running {
                loaded: Arc::new(loaded),
                control,
            }),
            ..Forwarding::default()
        };
    }

    /// Keeps the forwarding state where that is possible: under the same program.
    fn reconcile(&self, forwarding: &mut Forwarding, loaded: Loaded) -> Outcome {
        match &mut forwarding.running {
            None => self.commit(forwarding, loaded),
            Some(running)
                if running.loaded.config.p4_device_config == loaded.config.p4_device_config
                    && running.loaded.config.p4info == loaded.config.p4info =>
            {
                // Handles of one JSON are the same in each pipeline loaded from it.
                running.loaded = Arc::new(loaded);
                forwarding.saved = None;
            }
            Some(_) => {
                return Err(Refusal::invalid(
                    "the forwarding state cannot be kept under another program: use \
                     VERIFY_AND_COMMIT",
                ));
            }
        }
        Ok(())
    }

    /// `GetForwardingPipelineConfig`.
    ///
    /// # Errors
    /// NOT_FOUND for another device.
    pub fn get_pipeline(
        &self,
        request: v1::GetForwardingPipelineConfigRequest,
    ) -> Result<v1::GetForwardingPipelineConfigResponse, Status> {
        use v1::get_forwarding_pipeline_config_request::ResponseType;
        self.check_device(request.device_id)?;
        let forwarding = self.forwarding.read();
        let config = forwarding.running.as_ref().map(|running| {
            let config = &running.loaded.config;
            let (info, program) = match request.response_type() {
                ResponseType::All => (true, true),
                ResponseType::CookieOnly => (false, false),
                ResponseType::P4infoAndCookie => (true, false),
                ResponseType::DeviceConfigAndCookie => (false, true),
            };
            v1::ForwardingPipelineConfig {
                p4info: config.p4info.clone().filter(|_| info),
                p4_device_config: match program {
                    true => config.p4_device_config.clone(),
                    false => Vec::new(),
                },
                cookie: config.cookie,
            }
        });
        Ok(v1::GetForwardingPipelineConfigResponse { config })
    }

    /// `Write`.
    ///
    /// # Errors
    /// A status for the whole request, or UNKNOWN with one `p4.v1.Error` per update.
    pub fn write(&self, now: Duration, request: &v1::WriteRequest) -> Result<(), Status> {
        self.check_device(request.device_id)?;
        let sessions = self.sessions.lock();
        self.check_writer(&sessions, &request.role, request.election_id.as_ref())?;
        if request.atomicity() != v1::write_request::Atomicity::ContinueOnError {
            return Err(Refusal::unimplemented("atomicity other than CONTINUE_ON_ERROR").into());
        }
        if request.updates.len() > MAX_UPDATES {
            let message = format!("a batch has at most {MAX_UPDATES} updates");
            return Err(Refusal::new(Code::ResourceExhausted, message).into());
        }
        let mut forwarding = self.forwarding.write();
        let Forwarding {
            running,
            saved,
            notes,
        } = &mut *forwarding;
        let Running { loaded, control } = ready(running.as_ref(), saved.as_ref())?;
        let outcomes = Batch::new(
            loaded,
            control,
            notes,
            &self.digests,
            self.config.compat,
            now,
        )
        .run(&request.updates);
        drop((forwarding, sessions));
        let of_digest = |update: &v1::Update| {
            let entity = update
                .entity
                .as_ref()
                .and_then(|entity| entity.entity.as_ref());
            matches!(entity, Some(v1::entity::Entity::DigestEntry(_)))
        };
        if request.updates.iter().any(of_digest) {
            self.wake();
        }
        batch_status(&outcomes)
    }

    /// `Read`: the entities found, and the status to end with.
    ///
    /// # Errors
    /// A status for the whole request; errors of single requests are in the second result.
    #[expect(
        clippy::type_complexity,
        reason = "entities and a status, both said above"
    )]
    pub fn read(
        &self,
        now: Duration,
        request: &v1::ReadRequest,
    ) -> Result<(Vec<v1::Entity>, Result<(), Status>), Status> {
        self.check_device(request.device_id)?;
        if !self.sessions.lock().arbitration.has_role(&request.role) {
            return Err(no_role(&request.role).into());
        }
        let forwarding = self.forwarding.read();
        let running = ready(forwarding.running.as_ref(), forwarding.saved.as_ref())?;
        let mut reader = Reader {
            loaded: &running.loaded,
            control: &running.control,
            notes: &forwarding.notes,
            digests: &self.digests,
            compat: self.config.compat,
            now,
            found: Vec::new(),
        };
        let outcomes: Vec<Outcome> = request
            .entities
            .iter()
            .map(|entity| reader.request(entity))
            .collect();
        Ok((reader.found, batch_status(&outcomes)))
    }

    pub(super) fn add_stream(&self, sender: StreamSender) -> StreamId {
        let mut sessions = self.sessions.lock();
        sessions.last_stream += 1;
        let id = StreamId(sessions.last_stream);
        sessions.streams.insert(id, sender);
        id
    }

    pub(super) fn close_stream(&self, stream: StreamId) {
        let mut sessions = self.sessions.lock();
        let was_primary = sessions.arbitration.primary() == Some(stream);
        let notifications = sessions.arbitration.close(stream);
        sessions.streams.remove(&stream);
        self.after_arbitration(&sessions, notifications, was_primary);
    }

    pub(super) fn stream_message(
        &self,
        now: Duration,
        stream: StreamId,
        message: v1::StreamMessageRequest,
    ) -> Result<(), Status> {
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
        let before = sessions.arbitration.primary();
        match sessions.arbitration.update(stream, &update) {
            Ok(notifications) => {
                let changed = sessions.arbitration.primary() != before;
                self.after_arbitration(&sessions, notifications, changed);
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
            self.digests.primary_changed();
            self.refresh_packet_in(sessions, &self.forwarding.read());
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

    fn packet_out(&self, stream: StreamId, packet: &v1::PacketOut) -> Outcome {
        if self.sessions.lock().arbitration.primary() != Some(stream) {
            return Err(Refusal::denied(
                "only the primary controller may send packets",
            ));
        }
        let forwarding = self.forwarding.read();
        let running = ready(forwarding.running.as_ref(), None)?;
        let layout = &running.loaded.packet_out;
        let mut frame = Vec::with_capacity(layout.len() + packet.payload.len());
        layout.pack(&packet.metadata, &mut frame)?;
        frame.extend_from_slice(&packet.payload);
        match self.cpu.send(&frame) {
            Ok(()) => {
                self.counters.packet_outs.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(error @ LinkError::TooLong(_)) => Err(Refusal::invalid(error.to_string())),
            Err(error @ LinkError::Full) => {
                Err(Refusal::new(Code::ResourceExhausted, error.to_string()))
            }
            Err(error @ LinkError::Closed) => {
                Err(Refusal::new(Code::Unavailable, error.to_string()))
            }
        }
    }

    fn digest_ack(&self, stream: StreamId, ack: v1::DigestListAck) -> Outcome {
        if self.sessions.lock().arbitration.primary() != Some(stream) {
            return Err(Refusal::denied(
                "only the primary controller acknowledges digests",
            ));
        }
        let forwarding = self.forwarding.read();
        let running = ready(forwarding.running.as_ref(), None)?;
        let (_, handle) = running.loaded.digests.get(ack.digest_id)?;
        self.digests.acknowledge(handle, ack.list_id);
        Ok(())
    }

    /// A frame left on the CPU port: it goes to the primary. Takes no lock.
    pub fn packet_in(&self, head: &[u8], payload: &[u8]) {
        let sent = self.packet_in.load().as_ref().is_some_and(|path| {
            let mut frame = [head, payload].concat();
            path.layout.unpack(&frame).is_some_and(|metadata| {
                frame.drain(..path.layout.len());
                path.primary.offer(Response::Packet(v1::PacketIn {
                    payload: frame,
                    metadata,
                }))
            })
        });
        let counter = match sent {
            true => &self.counters.packet_ins,
            false => &self.counters.packet_ins_dropped,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn refresh_packet_in(&self, sessions: &Sessions, forwarding: &Forwarding) {
        let primary = sessions.arbitration.primary();
        let primary = primary
            .and_then(|stream| sessions.streams.get(&stream))
            .cloned();
        let layout = forwarding
            .running
            .as_ref()
            .map(|r| r.loaded.packet_in.clone());
        let path = primary
            .zip(layout)
            .map(|(primary, layout)| PacketIn { primary, layout });
        self.packet_in.store(path.map(Arc::new));
    }

    /// Sends digests and idle-timeout notifications that are due; gives the time at which to be
    /// called again at the latest (earlier after [`on_wake`](Self::on_wake) and after the
    /// switch's [`on_digest`](Switch::on_digest)).
    pub fn poll(&self, now: Duration) -> Option<Duration> {
        let primary = {
            let sessions = self.sessions.lock();
            let primary = sessions.arbitration.primary()?;
            sessions.streams.get(&primary)?.clone()
        };
        let (loaded, control) = {
            let forwarding = self.forwarding.read();
            let running = forwarding.running.as_ref()?;
            (Arc::clone(&running.loaded), running.control.clone())
        };
        let digests = self
            .digests
            .poll(now, self.config.epoch, &loaded, &control, |list| {
                primary.offer(Response::Digest(list));
            });
        let idle = self.poll_idle(now, &loaded, &control, &primary);
        [digests, idle].into_iter().flatten().min()
    }

    fn poll_idle(
        &self,
        now: Duration,
        loaded: &Loaded,
        control: &Control,
        primary: &StreamSender,
    ) -> Option<Duration> {
        if !loaded.tables.iter().any(|(table, _)| table.idle_timeout) {
            return None;
        }
        let mut last = self.last_idle_scan.lock();
        if now < *last + IDLE_SCAN {
            return Some(*last + IDLE_SCAN);
        }
        *last = now;
        let expired = control.expired(now);
        if !expired.is_empty() {
            let forwarding = self.forwarding.read();
            let to_wire = |note: &crate::control::IdleNotification| {
                super::read::entry_key_to_wire(loaded, &forwarding.notes, note.table, &note.entry)
            };
            let table_entry: Vec<v1::TableEntry> = expired.iter().filter_map(to_wire).collect();
            if !table_entry.is_empty() {
                let timestamp = timestamp(self.config.epoch, now);
                let notification = v1::IdleTimeoutNotification {
                    table_entry,
                    timestamp,
                };
                primary.offer(Response::IdleTimeoutNotification(notification));
            }
        }
        Some(now + IDLE_SCAN)
    }

    fn wake(&self) {
        if let Some(wake) = &*self.wake.lock() {
            wake();
        }
    }

    fn check_device(&self, device_id: u64) -> Outcome {
        let own = self.config.device_id;
        if device_id == own || (device_id == 0 && self.config.compat == Compat::Bmv2) {
            return Ok(());
        }
        Err(Refusal::not_found(format!(
            "there is no device {device_id}; this server has device {own}"
        )))
    }

    /// Whether the sender of a request is the role's primary.
    fn check_writer(
        &self,
        sessions: &Sessions,
        role: &str,
        election_id: Option<&v1::Uint128>,
    ) -> Outcome {
        if !sessions.arbitration.has_role(role) {
            return Err(no_role(role));
        }
        let unattended =
            self.config.compat == Compat::Bmv2 && !sessions.arbitration.is_attended(role);
        if unattended || sessions.arbitration.is_primary(role, election_id) {
            return Ok(());
        }
        Err(Refusal::denied(
            "the election id is not that of the primary controller",
        ))
    }
}

fn no_role(role: &str) -> Refusal {
    Refusal::not_found(format!(
        "there is no role \"{role}\"; only the default role exists"
    ))
}

/// The pipeline that reads and writes are about.
fn ready<'a>(running: Option<&'a Running>, saved: Option<&Loaded>) -> Outcome<&'a Running> {
    if saved.is_some() {
        return Err(Refusal::new(
            Code::FailedPrecondition,
            "a saved pipeline config waits for COMMIT",
        ));
    }
    running.ok_or_else(|| {
        Refusal::new(
            Code::FailedPrecondition,
            "no forwarding pipeline config was set: send SetForwardingPipelineConfig first",
        )
    })
}
