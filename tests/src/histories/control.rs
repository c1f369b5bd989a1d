//! The switch with our program, and its controllers: all of them the real ones, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller::target::{Event, PipelineConfig, Schema, TargetError, to_event};
use controller::{CacheConfig, HotConfig};
use p4runtime::v1;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use p4runtime::write_error::{WriteError, update_error, write_result};
use sim::ports::{MemLink, Port, mem_pair};
use sim::runtime::{Runtime, RuntimeConfig};
use sim::server::{ControllerStream, Device, Left};
use sim::{Limits, SwitchConfig};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

use super::client::port;
use super::events::History;
use super::links::{Millis, Way};
use super::rpc::{Ask, Connection};
use super::seat::{Seat, Who};
use crate::hosts::BROKER;

/// Frames that wait in a port; each step empties all of them.
const QUEUE: usize = 1024;
/// The first controller's election id; a standby may have the same, or one less or more.
const ELECTION_ID: u64 = 2;
const DEVICE_ID: u64 = 1;

/// Something for the controller that arrives later.
pub(super) type Answer = Box<dyn FnOnce()>;

/// What the switch has to say, and on which way it goes.
pub(super) enum Said {
    Answer(Answer),
    /// `None`: the stream has ended.
    Event(Connection, Option<Event>),
    /// The acknowledgement of a digest, which the controller's stream reader sends.
    Acknowledge(Connection, Request),
}

struct Ear {
    who: Who,
    sender: mpsc::Sender<Event>,
}

struct Stream {
    who: Who,
    stream: ControllerStream,
    election_id: u128,
    is_primary: bool,
}

/// Switch and controllers.
pub(super) struct Control {
    runtime: Runtime,
    wires: Vec<(u32, MemLink)>,
    schema: Schema,
    pipeline: PipelineConfig,
    /// When the switch wants to be asked at the latest.
    pub(super) switch_next: Option<Millis>,
    streams: BTreeMap<Connection, Stream>,
    ears: BTreeMap<Connection, Ear>,
    last_connection: Connection,
    /// What the switch has said, and to whom.
    pub(super) said: Vec<(Who, Said)>,
    pub(super) seats: Vec<Seat>,
    pub(super) last_link: u64,
    /// Updates that the switch still refuses.
    pub(super) refuses: u16,
    /// Writes of former primaries that came after all; the switch refuses them.
    pub(super) late: u64,
}

impl Control {
    pub(super) fn new(history: &History, pipeline: PipelineConfig) -> Self {
        let mut ports: Vec<(u32, Box<dyn Port>)> = Vec::new();
        let mut wires = Vec::new();
        let others: &[bool] = if history.moves() {
            &[false, true]
        } else {
            &[false]
        };
        let clients = others
            .iter()
            .flat_map(|other| (0..history.clients).map(|n| port(n, *other)));
        let numbers = std::iter::once(u32::from(BROKER.port)).chain(clients);
        for number in numbers {
            let (port, link) = mem_pair("wire", QUEUE);
            ports.push((number, Box::new(port)));
            wires.push((number, link));
        }
        let limits = match history.room {
            None => Limits::default(),
            Some(room) => Limits {
                table_entries: Some(room.entries.into()),
                multicast_groups: Some(room.groups.into()),
                ..Limits::default()
            },
        };
        let runtime = RuntimeConfig {
            switch: SwitchConfig {
                limits,
                ..SwitchConfig::default()
            },
            ..RuntimeConfig::default()
        };
        let config = controller::Config {
            device_id: DEVICE_ID,
            election_id: ELECTION_ID,
            ports: wires.iter().map(|(number, _)| *number as u16).collect(),
            policy: history.policy.clone(),
            on_broker_loss: history.on_broker_loss,
            // Histories are short.
            hot: HotConfig {
                interval_ms: 100,
                hold_ms: 200,
                ..HotConfig::default()
            },
            publications: CacheConfig {
                idle_s: 1,
                interval_ms: 100,
                hold_ms: 200,
                ..CacheConfig::default()
            },
            // So too; shorter than the lease: what the one before was granted may be in force.
            takeover_ms: 150,
            ..controller::Config::default()
        };
        let standby = history.standby.map(|election_id| controller::Config {
            name: "standby".to_owned(),
            election_id,
            ..config.clone()
        });
        let configs = std::iter::once(config).chain(standby);
        let seats = configs
            .enumerate()
            .map(|(who, it)| Seat::new(who as Who, it));
        Control {
            runtime: Runtime::new(runtime, ports).expect("distinct ports"),
            wires,
            schema: Schema::new(pipeline.clone()).expect("the built-in program"),
            pipeline,
            switch_next: None,
            streams: BTreeMap::new(),
            ears: BTreeMap::new(),
            last_connection: 0,
            said: Vec::new(),
            seats: seats.collect(),
            last_link: 0,
            refuses: 0,
            late: 0,
        }
    }

    fn device(&self) -> &Arc<Device> {
        self.runtime.device()
    }

    // ---- The controllers ----------------------------------------------------------------------

    /// Starts those whose time has come.
    pub(super) fn start(&mut self, now: Millis) {
        for seat in &mut self.seats {
            if seat.starts_at.is_some_and(|starts| starts <= now) {
                seat.start(&self.pipeline);
            }
        }
    }

    pub(super) fn kill(&mut self, who: Who) {
        let seat = &mut self.seats[usize::from(who)];
        seat.kill();
        // A connection of which it has not heard yet is closed by its host.
        for (connection, ear) in &self.ears {
            if ear.who == who && !ear.sender.is_closed() {
                seat.asks.close(*connection);
            }
        }
    }

    /// An event reaches the controller.
    pub(super) fn hear(&mut self, connection: Connection, event: Option<Event>) {
        match event {
            Some(event) => {
                if let Some(ear) = self.ears.get(&connection) {
                    // Full only if the controller is dead, and then nobody listens.
                    let _ = ear.sender.try_send(event);
                }
            }
            None => {
                self.ears.remove(&connection);
            }
        }
    }

    // ---- The switch ---------------------------------------------------------------------------

    /// A frame enters the switch; what leaves it, by port.
    pub(super) fn frame(&mut self, now: Millis, port: u32, frame: &[u8]) -> Vec<(u32, Vec<u8>)> {
        if let Some((_, wire)) = self.wires.iter().find(|(number, _)| *number == port) {
            wire.send(frame).expect("each step empties the queue");
        }
        self.step(now)
    }

    /// Lets the switch do what is due.
    pub(super) fn step(&mut self, now: Millis) -> Vec<(u32, Vec<u8>)> {
        let step = self.runtime.step(Duration::from_millis(now));
        let next = |next: Duration| (next.as_micros().div_ceil(1000) as Millis).max(now + 1);
        self.switch_next = step.next.map(next);
        let mut left = Vec::new();
        for (number, wire) in &self.wires {
            while let Some(frame) = wire.try_recv() {
                left.push((*number, frame));
            }
        }
        self.listen();
        left
    }

    /// Takes what the switch says on its streams.
    fn listen(&mut self) {
        let mut ended = Vec::new();
        for (connection, stream) in &mut self.streams {
            let who = stream.who;
            while let Some(message) = stream.stream.try_recv() {
                let Ok(v1::StreamMessageResponse {
                    update: Some(update),
                }) = message
                else {
                    ended.push((who, *connection));
                    break;
                };
                match &update {
                    Response::Arbitration(answer) => {
                        let status = answer.status.as_ref();
                        stream.is_primary =
                            status.is_some_and(|status| status.code == i32::from(Code::Ok));
                    }
                    Response::Digest(list) => {
                        let ack = Request::DigestAck(v1::DigestListAck {
                            digest_id: list.digest_id,
                            list_id: list.list_id,
                        });
                        self.said.push((who, Said::Acknowledge(*connection, ack)));
                    }
                    _ => {}
                }
                if let Some(event) = to_event(&self.schema, update, stream.is_primary) {
                    self.said.push((who, Said::Event(*connection, Some(event))));
                }
            }
        }
        for (who, connection) in ended {
            self.streams.remove(&connection);
            self.said.push((who, Said::Event(connection, None)));
        }
    }

    /// The connection of a controller and the switch is lost.
    pub(super) fn cut_switch(&mut self, who: Who) {
        self.listen();
        let streams = self.streams.iter();
        let lost = streams.filter(|(_, stream)| stream.who == who);
        let lost: Vec<Connection> = lost.map(|(connection, _)| *connection).collect();
        for connection in lost {
            self.streams.remove(&connection);
            self.said.push((who, Said::Event(connection, None)));
        }
        // The others hear that nobody is primary, if that is so.
        self.listen();
    }

    /// The switch starts anew.
    pub(super) fn restart(&mut self) {
        self.device().restart(Left::Pipeline);
        self.listen();
    }

    /// A request of a controller reaches the switch.
    pub(super) fn ask(&mut self, now: Millis, who: Who, ask: Ask) -> Vec<(u32, Vec<u8>)> {
        let at = Duration::from_millis(now);
        match ask {
            // Killed meanwhile.
            Ask::Connect(_, answer) if answer.is_closed() => {}
            Ask::Connect(election_id, answer) => {
                let connected = self.open(now, who, election_id);
                self.say(who, answer, connected);
            }
            Ask::Write(connection, updates, answer) => {
                let stream = self.streams.get(&connection);
                self.late += u64::from(stream.is_some_and(|stream| !stream.is_primary));
                let written = match self.reachable(connection) {
                    Ok(election_id) => self.write(at, election_id, updates),
                    Err(status) => Err(status),
                };
                self.say(who, answer, written);
            }
            Ask::Read(connection, entities, answer) => {
                let found = self.reachable(connection).and_then(|_| {
                    let request = v1::ReadRequest {
                        device_id: DEVICE_ID,
                        entities,
                        ..Default::default()
                    };
                    let (found, status) = self.device().read(at, &request)?;
                    status.map(|()| found)
                });
                self.say(who, answer, found);
            }
            Ask::Loaded(connection, answer) => {
                use v1::get_forwarding_pipeline_config_request::ResponseType;
                let loaded = self.reachable(connection).and_then(|_| {
                    self.device()
                        .get_pipeline(v1::GetForwardingPipelineConfigRequest {
                            device_id: DEVICE_ID,
                            response_type: ResponseType::P4infoAndCookie.into(),
                        })
                });
                self.say(who, answer, loaded);
            }
            Ask::Load(connection, program, answer) => {
                use v1::set_forwarding_pipeline_config_request::Action;
                let loaded = self.reachable(connection).and_then(|election_id| {
                    let request = v1::SetForwardingPipelineConfigRequest {
                        device_id: DEVICE_ID,
                        election_id: Some(election_id.into()),
                        action: Action::VerifyAndCommit.into(),
                        config: Some(program),
                        ..Default::default()
                    };
                    self.device().set_pipeline(at, request)
                });
                self.say(who, answer, loaded);
            }
            Ask::Stream(connection, message) => {
                if let Some(stream) = self.streams.get(&connection) {
                    let message = v1::StreamMessageRequest {
                        update: Some(message),
                    };
                    // A stream that the device has ended says so itself.
                    let _ = stream.stream.send(at, message);
                }
            }
            Ask::Close(connection) => {
                self.streams.remove(&connection);
                self.ears.remove(&connection);
            }
            Ask::Link(_) => {}
        }
        self.step(now)
    }

    fn say<T: 'static>(&mut self, who: Who, to: oneshot::Sender<T>, answer: T) {
        let answer = Box::new(move || {
            let _ = to.send(answer); // Whoever asked may be gone.
        });
        self.said.push((who, Said::Answer(answer)));
    }

    /// The election id that requests of this connection carry.
    fn reachable(&self, connection: Connection) -> Result<u128, Status> {
        let stream = self.streams.get(&connection);
        let election_id = stream.map(|stream| stream.election_id);
        election_id.ok_or_else(|| Status::unavailable("the connection is lost"))
    }

    fn open(&mut self, now: Millis, who: Who, election_id: u128) -> super::rpc::Connected {
        if now < self.seats[usize::from(who)].switch_cut_until {
            return Err(TargetError::Lost("there is no way to the switch".into()));
        }
        let stream = self.device().open_stream();
        let bid = v1::MasterArbitrationUpdate {
            device_id: DEVICE_ID,
            election_id: Some(election_id.into()),
            ..Default::default()
        };
        let bid = v1::StreamMessageRequest {
            update: Some(Request::Arbitration(bid)),
        };
        stream
            .send(Duration::from_millis(now), bid)
            .map_err(|status| TargetError::NotPrimary(status.message().to_owned()))?;
        let (sender, events) = mpsc::channel(4096);
        self.last_connection += 1;
        let connection = self.last_connection;
        let stream = Stream {
            who,
            stream,
            election_id,
            is_primary: false,
        };
        self.streams.insert(connection, stream);
        self.ears.insert(connection, Ear { who, sender });
        Ok((connection, events))
    }

    /// Writes a batch; the first of its updates are refused if that is what the switch does now.
    fn write(
        &mut self,
        at: Duration,
        election_id: u128,
        mut updates: Vec<v1::Update>,
    ) -> Result<(), Status> {
        let refused = usize::from(self.refuses).min(updates.len());
        self.refuses -= refused as u16;
        let rest = updates.split_off(refused);
        let count = rest.len();
        let request = v1::WriteRequest {
            device_id: DEVICE_ID,
            election_id: Some(election_id.into()),
            updates: rest,
            ..Default::default()
        };
        let written = self.device().write(at, &request);
        if refused == 0 {
            return written;
        }
        let mut errors = vec![update_error(Code::ResourceExhausted, "refused"); refused];
        match written.map_err(WriteError::from) {
            Ok(()) => errors.extend(vec![v1::Error::default(); count]),
            Err(WriteError::Updates(others)) => errors.extend(others),
            Err(WriteError::Rpc(status)) => return Err(*status),
        }
        write_result(&errors)
    }
}

/// On which way a request goes.
pub(super) fn way_of(who: Who, ask: &Ask) -> Way {
    match ask {
        Ask::Stream(..) | Ask::Close(_) => Way::StreamIn(who),
        Ask::Link(_) => Way::ContractUp(who),
        _ => Way::Requests(who),
    }
}
