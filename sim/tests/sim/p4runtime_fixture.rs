//! A switch in virtual time with four ports in memory and one controller, running
//! `programs/everything.p4`.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::Duration;

use p4runtime::p4info::P4Info;
use p4runtime::v1;
use p4runtime::v1::entity::Entity as Kind;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use p4runtime::write_error::{WriteError, code_of};
use sim::ports::{MemLink, Port, mem_pair};
use sim::runtime::{Runtime, RuntimeConfig};
use sim::server::{Compat, ControllerStream};
use tonic::{Code, Status};

const JSON: &[u8] = include_bytes!("../programs/everything.json");
const P4INFO: &str = include_str!("../programs/everything.p4info.txtpb");

/// The schema of `everything.p4`.
pub(crate) fn p4info() -> P4Info {
    P4Info::from_text(P4INFO).expect("p4c wrote it")
}

/// The configuration that runs `everything.p4`.
pub(crate) fn config() -> v1::ForwardingPipelineConfig {
    v1::ForwardingPipelineConfig {
        p4info: Some(p4info().message().clone()),
        p4_device_config: JSON.to_vec(),
        cookie: Some(v1::forwarding_pipeline_config::Cookie { cookie: 0xc0ffee }),
    }
}

/// A message that bids for primacy.
pub(crate) fn bid(device_id: u64, election_id: Option<u128>) -> v1::StreamMessageRequest {
    let election_id = election_id.map(v1::Uint128::from);
    let update = v1::MasterArbitrationUpdate {
        device_id,
        election_id,
        ..Default::default()
    };
    v1::StreamMessageRequest {
        update: Some(Request::Arbitration(update)),
    }
}

/// A switch and its world.
pub(crate) struct Fixture {
    pub(crate) runtime: Runtime,
    pub(crate) p4info: P4Info,
    /// Ports 1 to 4 from outside.
    pub(crate) links: Vec<MemLink>,
    pub(crate) now: Duration,
}

impl Fixture {
    /// Without controller and pipeline.
    pub(crate) fn bare(mut config: RuntimeConfig) -> Self {
        config.batch = 4;
        let mut links = Vec::new();
        let mut ports: Vec<(u32, Box<dyn Port>)> = Vec::new();
        for number in 1..=4 {
            let (port, link) = mem_pair(&format!("port{number}"), 64);
            links.push(link);
            ports.push((number, Box::new(port)));
        }
        let runtime = Runtime::new(config, ports).expect("distinct ports");
        Fixture {
            runtime,
            p4info: p4info(),
            links,
            now: Duration::ZERO,
        }
    }

    /// With a primary controller (election id 1) and the pipeline set.
    pub(crate) fn ready() -> (Self, ControllerStream) {
        Self::ready_as(Compat::Spec)
    }

    pub(crate) fn ready_as(compat: Compat) -> (Self, ControllerStream) {
        let mut config = RuntimeConfig::default();
        config.device.compat = compat;
        let fixture = Self::bare(config);
        let stream = fixture.primary(1);
        fixture
            .set_pipeline(self::config())
            .expect("the pipeline is good");
        (fixture, stream)
    }

    /// Opens a stream that becomes primary.
    pub(crate) fn primary(&self, election_id: u128) -> ControllerStream {
        let mut stream = self.runtime.device().open_stream();
        stream
            .send(self.now, bid(1, Some(election_id)))
            .expect("accepted");
        assert_eq!(arbitration(&mut stream), (Code::Ok, election_id));
        stream
    }

    pub(crate) fn set_pipeline(&self, config: v1::ForwardingPipelineConfig) -> Result<(), Status> {
        use v1::set_forwarding_pipeline_config_request::Action;
        self.configure(Action::VerifyAndCommit, Some(config))
    }

    pub(crate) fn configure(
        &self,
        action: v1::set_forwarding_pipeline_config_request::Action,
        config: Option<v1::ForwardingPipelineConfig>,
    ) -> Result<(), Status> {
        self.runtime.device().set_pipeline(
            self.now,
            v1::SetForwardingPipelineConfigRequest {
                device_id: 1,
                election_id: Some(1.into()),
                action: action.into(),
                config,
                ..Default::default()
            },
        )
    }

    pub(crate) fn write_as(
        &self,
        election_id: u128,
        updates: Vec<v1::Update>,
    ) -> Result<(), WriteError> {
        let request = v1::WriteRequest {
            device_id: 1,
            election_id: Some(election_id.into()),
            updates,
            ..Default::default()
        };
        self.runtime
            .device()
            .write(self.now, &request)
            .map_err(WriteError::from)
    }

    /// Writes all of the updates or none.
    pub(crate) fn write_atomically(
        &self,
        atomicity: v1::write_request::Atomicity,
        updates: Vec<v1::Update>,
    ) -> Result<(), WriteError> {
        let request = v1::WriteRequest {
            device_id: 1,
            election_id: Some(1.into()),
            updates,
            atomicity: atomicity.into(),
            ..Default::default()
        };
        let device = self.runtime.device();
        device.write(self.now, &request).map_err(WriteError::from)
    }

    /// Everything that can be read, for comparison.
    pub(crate) fn everything(&self) -> Vec<v1::Entity> {
        use v1::packet_replication_engine_entry::Type;
        let replication = |kind| {
            Kind::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry {
                r#type: Some(kind),
            })
        };
        let entries = |is_default_action| {
            Kind::TableEntry(v1::TableEntry {
                is_default_action,
                meter_config: Some(Default::default()),
                counter_data: Some(Default::default()),
                ..Default::default()
            })
        };
        let kinds = [
            entries(false),
            entries(true),
            Kind::ActionProfileMember(Default::default()),
            Kind::ActionProfileGroup(Default::default()),
            replication(Type::MulticastGroupEntry(Default::default())),
            replication(Type::CloneSessionEntry(Default::default())),
            Kind::CounterEntry(Default::default()),
            Kind::MeterEntry(Default::default()),
            Kind::RegisterEntry(Default::default()),
            Kind::ValueSetEntry(Default::default()),
            Kind::DigestEntry(Default::default()),
        ];
        let request = v1::ReadRequest {
            device_id: 1,
            entities: kinds.map(|kind| v1::Entity { entity: Some(kind) }).into(),
            ..Default::default()
        };
        let device = self.runtime.device();
        let (mut found, status) = device.read(self.now, &request).expect("a read at all");
        status.expect("readable");
        found.sort_by_key(|entity| format!("{entity:?}"));
        found
    }

    pub(crate) fn write(&self, updates: Vec<v1::Update>) -> Result<(), WriteError> {
        self.write_as(1, updates)
    }

    /// Writes updates that must succeed.
    pub(crate) fn must(&self, updates: impl IntoIterator<Item = v1::Update>) {
        if let Err(error) = self.write(updates.into_iter().collect()) {
            panic!("{error}");
        }
    }

    /// The code that one update comes to.
    pub(crate) fn code(&self, update: v1::Update) -> Code {
        match self.write(vec![update]) {
            Ok(()) => Code::Ok,
            Err(WriteError::Updates(errors)) => code_of(&errors[0]),
            Err(WriteError::Rpc(status)) => panic!("the whole Write failed: {status}"),
        }
    }

    /// What one request reads.
    pub(crate) fn read(&self, filter: impl Into<v1::Entity>) -> Vec<Kind> {
        self.try_read(filter).expect("readable")
    }

    /// What one request reads, or its error.
    pub(crate) fn try_read(&self, filter: impl Into<v1::Entity>) -> Result<Vec<Kind>, Code> {
        let request = v1::ReadRequest {
            device_id: 1,
            entities: vec![filter.into()],
            ..Default::default()
        };
        let (found, status) = self
            .runtime
            .device()
            .read(self.now, &request)
            .expect("a read at all");
        match status.map_err(WriteError::from) {
            Ok(()) => Ok(found
                .into_iter()
                .filter_map(|entity| entity.entity)
                .collect()),
            Err(WriteError::Updates(errors)) => Err(code_of(&errors[0])),
            Err(WriteError::Rpc(status)) => panic!("no details: {status}"),
        }
    }

    /// The table entries that one request reads, in the order of their matches.
    pub(crate) fn entries(&self, filter: v1::TableEntry) -> Vec<v1::TableEntry> {
        let entry = |kind| match kind {
            Kind::TableEntry(entry) => entry,
            other => panic!("not a table entry: {other:?}"),
        };
        let mut entries: Vec<_> = self.read(filter).into_iter().map(entry).collect();
        entries.sort_by_key(|entry| format!("{:?}", (&entry.table_id, &entry.r#match)));
        entries
    }

    /// Lets time pass and everything that waits happen.
    pub(crate) fn step(&mut self, after: Duration) {
        self.now += after;
        self.runtime.step(self.now);
    }

    /// Sends a frame into port `number` and lets it be processed.
    pub(crate) fn inject(&mut self, number: usize, frame: &[u8]) {
        self.links[number - 1].send(frame).expect("room");
        self.step(Duration::from_micros(1));
    }

    /// The frames that left, with their ports.
    pub(crate) fn left(&self) -> Vec<(usize, Vec<u8>)> {
        let of = |(index, link): (usize, &MemLink)| {
            std::iter::from_fn(|| link.try_recv())
                .map(|f| (index + 1, f))
                .collect::<Vec<_>>()
        };
        self.links.iter().enumerate().flat_map(of).collect()
    }

    /// An entry of `dmac` that forwards to a port.
    pub(crate) fn dmac(&self, mac: u8, port: u16) -> v1::TableEntry {
        let build = || -> Result<_, p4runtime::p4info::EntityError> {
            let entry = self.p4info.table("dmac")?.entry();
            entry
                .exact("dst_addr", [2, 0, 0, 0, 0, mac])?
                .action("forward")?
                .param("port", port)?
                .build()
        };
        build().expect("a valid entry")
    }
}

/// An Ethernet frame of 60 bytes.
pub(crate) fn frame(dst: u8, src: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x08, 0x06];
    frame.resize(60, 0);
    frame
}

/// The next message of a stream, which must be there.
pub(crate) fn next(stream: &mut ControllerStream) -> Response {
    let message = stream.try_recv().expect("a message").expect("not the end");
    message.update.expect("not empty")
}

/// The code and election id of the next message, an arbitration.
pub(crate) fn arbitration(stream: &mut ControllerStream) -> (Code, u128) {
    match next(stream) {
        Response::Arbitration(update) => (
            Code::from(update.status.expect("a status").code),
            update.election_id.map_or(0, u128::from),
        ),
        other => panic!("not an arbitration: {other:?}"),
    }
}
