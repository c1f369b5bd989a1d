//! One P4Runtime device: a switch, its pipeline, its controllers.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use p4runtime::v1;
use p4runtime::v1::write_request::Atomicity;
use parking_lot::{Mutex, RwLock};
use tonic::{Code, Status};

use crate::Switch;
use crate::control::Control;
use crate::ports::MemLink;
use crate::server::arbitration::{Arbitration, StreamId};
use crate::server::digests::Digests;
use crate::server::errors::{Outcome, Refusal, batch_status};
use crate::server::faults::{Fault, Faults};
use crate::server::notes::Notes;
use crate::server::pace::Pace;
use crate::server::pipeline::Loaded;
use crate::server::read::Reader;
use crate::server::roles::Access;
use crate::server::stream::{ControllerStream, StreamSender};
use crate::server::write::{Batch, Target};
use crate::server::{API_VERSION, Compat};

mod channel;
mod configure;
mod notify;
mod packets;
mod reconcile;

use packets::PacketPath;

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
    /// notifications. Zero in virtual time;
    /// [`Runtime::start`](crate::runtime::Runtime::start) takes the system's clock then.
    pub epoch: Duration,
    /// What goes wrong on purpose.
    pub faults: Vec<Fault>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        DeviceConfig {
            device_id: 1,
            compat: Compat::Spec,
            epoch: Duration::ZERO,
            faults: Vec::new(),
        }
    }
}

/// What went over the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceStats {
    /// Streams that controllers have opened since the start.
    pub streams: u64,
    /// Packets sent to the primary.
    pub packet_ins: u64,
    /// Packets for a controller that were dropped: there was no primary, it was too slow, or the
    /// packet was shorter than its header.
    pub packet_ins_dropped: u64,
    /// Updates asked for by Writes that were let through, whatever came of each.
    pub updates: u64,
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
    /// Set when the device starts to run in real time.
    started_at: OnceLock<Duration>,
    /// Held for the whole of a `Write`, so that a new primary never overtakes the old one's.
    sessions: Mutex<Sessions>,
    forwarding: RwLock<Forwarding>,
    pace: Option<Mutex<Pace>>,
    faults: Mutex<Faults>,
    last_idle_scan: Mutex<Duration>,
    packet_path: ArcSwapOption<PacketPath>,
    counters: Counters,
    wake: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

struct Sessions {
    arbitration: Arbitration,
    streams: HashMap<StreamId, StreamSender>,
    last_stream: u64,
}

impl Sessions {
    /// Nobody has ever asked to be primary.
    fn forget(&mut self, device_id: u64) {
        self.arbitration = Arbitration::new(device_id);
    }
}

#[derive(Default)]
struct Forwarding {
    /// What packets see.
    running: Option<Running>,
    /// VERIFY_AND_SAVE came, COMMIT did not yet: what reads and writes are about meanwhile.
    saved: Option<Running>,
}

impl Forwarding {
    /// The instance that reads and writes are about.
    fn current(&self) -> Option<&Running> {
        self.saved.as_ref().or(self.running.as_ref())
    }

    fn current_mut(&mut self) -> Option<&mut Running> {
        self.saved.as_mut().or(self.running.as_mut())
    }
}

/// An instance of a pipeline, whether packets see it or not.
struct Running {
    loaded: Arc<Loaded>,
    control: Control,
    notes: Notes,
    digests: Arc<Digests>,
}

impl Running {
    /// What a batch writes to.
    fn target(&mut self, compat: Compat) -> Target<'_> {
        Target {
            loaded: &self.loaded,
            control: &self.control,
            notes: &mut self.notes,
            digests: &self.digests,
            compat,
        }
    }

    /// What reads it at this time, within this access.
    fn reader(&self, now: Duration, compat: Compat, access: Access) -> Reader<'_> {
        Reader {
            loaded: &self.loaded,
            control: &self.control,
            notes: &self.notes,
            digests: &self.digests,
            compat,
            access,
            now,
            found: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Counters {
    packet_ins: AtomicU64,
    packet_ins_dropped: AtomicU64,
    updates: AtomicU64,
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
        let faults = Mutex::new(Faults::new(config.faults.clone()));
        let pace = switch.limits().updates_per_second;
        Arc::new(Device {
            config,
            switch,
            cpu,
            started_at: OnceLock::new(),
            sessions: Mutex::new(Sessions {
                arbitration,
                streams: HashMap::new(),
                last_stream: 0,
            }),
            forwarding: RwLock::default(),
            pace: pace.map(|per_second| Mutex::new(Pace::new(per_second))),
            faults,
            last_idle_scan: Mutex::default(),
            packet_path: ArcSwapOption::empty(),
            counters: Counters::default(),
            wake: Mutex::default(),
        })
    }

    /// How the device was configured.
    pub fn config(&self) -> &DeviceConfig {
        &self.config
    }

    /// Tells at which time since the Unix epoch the switch's clock is zero, unless the
    /// configuration did.
    pub(crate) fn start_at(&self, epoch: Duration) {
        // Told twice it keeps the first, as a switch starts once.
        let _ = self.started_at.set(epoch);
    }

    fn epoch(&self) -> Duration {
        match self.config.epoch {
            Duration::ZERO => self.started_at.get().copied().unwrap_or_default(),
            configured => configured,
        }
    }

    /// The switch it stands for.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// What went over the streams.
    pub fn stats(&self) -> DeviceStats {
        DeviceStats {
            streams: self.sessions.lock().last_stream,
            packet_ins: self.counters.packet_ins.load(Relaxed),
            packet_ins_dropped: self.counters.packet_ins_dropped.load(Relaxed),
            updates: self.counters.updates.load(Relaxed),
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

    /// `Write`.
    ///
    /// # Errors
    /// A status for the whole request, or UNKNOWN with one `p4.v1.Error` per update.
    pub fn write(&self, now: Duration, request: &v1::WriteRequest) -> Result<(), Status> {
        self.check_device(request.device_id)?;
        let sessions = self.sessions.lock();
        self.check_writer(&sessions, &request.role, request.election_id.as_ref())?;
        let Ok(atomicity) = Atomicity::try_from(request.atomicity) else {
            let message = format!("there is no atomicity {}", request.atomicity);
            return Err(Refusal::invalid(message).into());
        };
        if request.updates.len() > MAX_UPDATES {
            let message = format!("a batch has at most {MAX_UPDATES} updates");
            return Err(Refusal::new(Code::ResourceExhausted, message).into());
        }
        let mut forwarding = self.forwarding.write();
        let running = forwarding.current_mut().ok_or_else(no_pipeline)?;
        let target = running.target(self.config.compat);
        let access = sessions.arbitration.access(&request.role);
        let asked = request.updates.len() as u64;
        self.counters.updates.fetch_add(asked, Relaxed);
        let admit = || self.admit(now);
        let outcomes = Batch::new(target, access, now).run(&request.updates, atomicity, admit)?;
        drop((forwarding, sessions));
        if let Some(left) = self.faults.lock().after_write() {
            self.restart(left);
            return Err(Status::unavailable("the switch restarts"));
        }
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
    pub fn read(
        &self,
        now: Duration,
        request: &v1::ReadRequest,
    ) -> Result<(Vec<v1::Entity>, Result<(), Status>), Status> {
        self.check_device(request.device_id)?;
        let access = {
            let sessions = self.sessions.lock();
            self.check_role(&sessions, &request.role)?;
            sessions.arbitration.access(&request.role)
        };
        let forwarding = self.forwarding.read();
        let running = ready(forwarding.current())?;
        let mut reader = running.reader(now, self.config.compat, access);
        let outcomes: Vec<Outcome> = request
            .entities
            .iter()
            .map(|entity| reader.request(entity))
            .collect();
        Ok((reader.found, batch_status(&outcomes)))
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
        self.check_role(sessions, role)?;
        // BMv2: while no controller is connected, whoever names no election id may write.
        let unattended = self.config.compat == Compat::Bmv2
            && !sessions.arbitration.is_attended(role)
            && election_id.is_none_or(|id| *id == v1::Uint128::default());
        if unattended || sessions.arbitration.is_primary(role, election_id) {
            return Ok(());
        }
        Err(Refusal::denied(
            "the election id is not that of the primary controller",
        ))
    }

    /// A role is one of the device's when a controller has asked for it, or P4Info names it.
    fn check_role(&self, sessions: &Sessions, role: &str) -> Outcome {
        let named = || {
            let forwarding = self.forwarding.read();
            forwarding
                .current()
                .is_some_and(|running| running.loaded.roles.names(role))
        };
        if sessions.arbitration.has_role(role) || named() {
            return Ok(());
        }
        Err(Refusal::not_found(format!(
            "there is no role \"{role}\": no controller has asked for it, and P4Info does not \
             name it"
        )))
    }

    /// Whether an update may come now.
    fn admit(&self, now: Duration) -> Outcome {
        if let Some(pace) = &self.pace {
            pace.lock().admit(now)?;
        }
        match self.config.faults.is_empty() {
            true => Ok(()),
            false => self.faults.lock().admit(),
        }
    }
}

/// The pipeline that reads and writes are about.
fn ready(running: Option<&Running>) -> Outcome<&Running> {
    running.ok_or_else(no_pipeline)
}

fn no_pipeline() -> Refusal {
    Refusal::new(
        Code::FailedPrecondition,
        "no forwarding pipeline config was set: send SetForwardingPipelineConfig first",
    )
}
