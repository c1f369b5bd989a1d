//! The real switch, over P4Runtime.
//!
//! What is known of BMv2's server (`simple_switch_grpc`, which is p4lang/PI) where it differs from
//! the specification, and what is done here so that both work:
//!
//! * It tells the time since the last hit only of rows with an idle timeout, and 0 of others: so
//!   rows of `publication` have one, a long one ([`crate::tables::publication`]). And it has the
//!   nanoseconds that remain of the timeout in 32 bits, so a time within 2^32 ns of the timeout is
//!   not believed; it is then known from when the row's counter changed between two readings.
//! * Where a table is full, or all 4096 replicas are taken, it answers UNKNOWN: see [`crate::apply`].
//! * Multicast groups end at 2^15: see [`crate::constants::GROUP_LAST`].
//! * A read of one row that is not there fails the whole read: rows are then read one by one.
//! * Registers and value sets cannot be written: the program needs neither.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use p4runtime::client::{Client, ClientError, Stream, Tls};
use p4runtime::v1;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use p4runtime::write_error::{WriteError, code_of};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;

use super::advice::{on_program, on_refusal};
use super::rpc::{Connection, Rpc};
use super::schema::lease_packet;
use super::{Counter, Event, Hit, Schema, Switch, Target, TargetError};
use crate::apply::{Op, RowError, Update};
use crate::config::TlsConfig;
use crate::constants::{IN_LEASE, PATH_COUNTER, PATH_REASONS};
use crate::tables::{Key, TABLES, Value, decode, digests, encode, idle_row, meters, share};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Events that may wait for the reconciler before the stream is not read any further.
const EVENTS: usize = 1024;

/// How to get at a P4Runtime server.
#[derive(Debug)]
pub struct GrpcSwitch {
    address: String,
    channel: Option<Channel>,
    tls: TlsConfig,
    device_id: u64,
    election_id: u128,
    /// Above the configured one since it took over.
    raised: Option<u128>,
    schema: Schema,
}

impl GrpcSwitch {
    /// A server at `host:port`.
    pub fn new(address: &str, device_id: u64, election_id: u128, schema: Schema) -> Self {
        Self {
            address: address.to_owned(),
            channel: None,
            tls: TlsConfig::default(),
            device_id,
            election_id,
            raised: None,
            schema,
        }
    }

    /// Speaks TLS, if these files say so. They are read at each connection, so that a renewed
    /// certificate is used from the next one on.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsConfig) -> Self {
        self.tls = tls;
        self
    }

    /// Uses a channel that is there already, in place of connecting: one in memory, say.
    #[must_use]
    pub fn with_channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }
}

fn read_tls(config: &TlsConfig) -> Result<Option<Tls>, String> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let Some(ca) = &config.ca else {
        return Ok(None);
    };
    let identity = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        _ => None,
    };
    let ca = read(ca)?;
    Ok(Some(Tls { ca, identity }))
}

impl Switch for GrpcSwitch {
    type Target = GrpcTarget;

    async fn connect(&mut self) -> Result<(GrpcTarget, mpsc::Receiver<Event>), TargetError> {
        let mut client = match &self.channel {
            Some(channel) => Client::new(channel.clone(), self.device_id),
            None => {
                let tls = read_tls(&self.tls).map_err(TargetError::Lost)?;
                let (address, patience) = (&self.address, Some(CONNECT_TIMEOUT));
                Client::connect_with(address, self.device_id, patience, tls.as_ref())
                    .await
                    .map_err(lost)?
            }
        };
        let opening = client.open_stream(self.election_id(), None);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| {
                TargetError::Lost(format!(
                    "no answer to the bid for device {} within {CONNECT_TIMEOUT:?}",
                    self.device_id
                ))
            })?
            .map_err(|error| self.not_elected(error))?;
        let (sender, events) = mpsc::channel(EVENTS);
        let out = stream.sender();
        let reader = tokio::spawn(read_stream(stream, sender, self.schema.clone()));
        let connection = Connection {
            client,
            out,
            reader,
        };
        let target = GrpcTarget::over(connection, self.schema.clone());
        Ok((target, events))
    }

    fn raise(&mut self, election_id: u128) {
        self.raised = Some(election_id);
    }

    fn election_id(&self) -> u128 {
        self.raised.unwrap_or(self.election_id)
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

impl GrpcSwitch {
    fn not_elected(&mut self, error: ClientError) -> TargetError {
        let id = self.election_id();
        match &error {
            ClientError::Rpc(status) if status.code() == Code::InvalidArgument => {
                self.raised = None;
                TargetError::NotPrimary(format!(
                    "election id {id} is taken by another controller ({}): give each its own",
                    status.message()
                ))
            }
            ClientError::Rpc(status) if status.code() == Code::NotFound => TargetError::Lost(
                format!("it has no device {}: {}", self.device_id, status.message()),
            ),
            ClientError::Rpc(status) => match on_refusal(status.code(), &self.tls) {
                Some(advice) => TargetError::Lost(format!("{advice}: {}", error_chain(&error))),
                None => lost(error),
            },
            _ => lost(error),
        }
    }
}

/// Whether the answer to a read says that the row is not there. BMv2's server answers UNKNOWN.
fn says_absent(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound | Code::InvalidArgument | Code::Unknown
    )
}

/// The time since the last hit, where the switch tells it and can be believed: see above.
fn told_idle(entry: &v1::TableEntry) -> Option<Duration> {
    const WRAP: Duration = Duration::from_nanos(1 << 32);
    let nanos = |value: i64| Duration::from_nanos(u64::try_from(value).unwrap_or(0));
    let elapsed = nanos(entry.time_since_last_hit.as_ref()?.elapsed_ns);
    (elapsed + WRAP < nanos(entry.idle_timeout_ns)).then_some(elapsed)
}

fn lost(error: ClientError) -> TargetError {
    TargetError::Lost(error_chain(&error))
}

/// The error with what caused it, each once: gRPC's own text is only "transport error", others
/// repeat their cause.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Turns the stream into events, and acknowledges digests. Ends with the stream.
async fn read_stream(mut stream: Stream, events: mpsc::Sender<Event>, schema: Schema) {
    // `open_stream` has taken in the first answer.
    let mut first = Some(arbitration_event(
        stream.is_primary(),
        stream.arbitration().clone(),
    ));
    loop {
        let event = match first.take() {
            Some(event) => Some(event),
            None => match stream.recv().await {
                Ok(Some(response)) => {
                    let Some(update) = response.update else {
                        continue;
                    };
                    if let Response::Digest(list) = &update {
                        let ack = v1::DigestListAck {
                            digest_id: list.digest_id,
                            list_id: list.list_id,
                        };
                        if stream.send(Request::DigestAck(ack)).await.is_err() {
                            return;
                        }
                    }
                    to_event(&schema, update, stream.is_primary())
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::info!(%error, "the stream from the switch failed");
                    return;
                }
            },
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

fn arbitration_event(is_primary: bool, answer: v1::MasterArbitrationUpdate) -> Event {
    if is_primary {
        return Event::Primary;
    }
    let status = answer.status.map(|status| Code::from_i32(status.code));
    Event::Backup {
        highest: answer.election_id.map(u128::from),
        vacant: status == Some(Code::NotFound),
    }
}

/// What a message of the stream means here, if it means anything.
pub fn to_event(schema: &Schema, update: Response, is_primary: bool) -> Option<Event> {
    let p4info = schema.p4info();
    match update {
        Response::Arbitration(answer) => Some(arbitration_event(is_primary, answer)),
        Response::Packet(packet) => {
            let header = p4info.packet_in().ok()?;
            let view = match header.decode(&packet.metadata) {
                Ok(view) => view,
                Err(error) => {
                    tracing::warn!(%error, "a packet-in does not fit P4Info");
                    return None;
                }
            };
            if view.get("reason").ok()?.to_u16().ok()? != IN_LEASE {
                return None;
            }
            Some(Event::Echo {
                request: view.get("request").ok()?.to_u32().ok()?,
                timestamp_us: view.get("timestamp").ok()?.to_u64().ok()?,
            })
        }
        Response::Digest(list) => match digests::learned(p4info, &list) {
            Ok(learned) => Some(Event::Learned(learned)),
            Err(error) => {
                tracing::warn!(%error, "a digest does not fit P4Info");
                None
            }
        },
        Response::IdleTimeoutNotification(notification) => {
            let rows = notification.table_entry.iter();
            let idle = rows.filter_map(|entry| idle_row(p4info, entry).ok().flatten());
            Some(Event::StationsIdle(idle.collect()))
        }
        Response::Error(error) => {
            let code = Code::from_i32(error.canonical_code);
            tracing::warn!(
                ?code,
                message = error.message,
                "the switch refused a message"
            );
            None
        }
        _ => None,
    }
}

/// A connection to a P4Runtime server.
#[derive(Debug)]
pub struct GrpcTarget<R = Connection> {
    rpc: R,
    schema: Schema,
    /// Packets last seen on a row and since when, for switches that do not tell when it was hit.
    hits: Arc<Mutex<HashMap<Key, (u64, Instant)>>>,
}

impl<R: Rpc> GrpcTarget<R> {
    /// The server that `rpc` leads to, on which this controller is primary.
    pub fn over(rpc: R, schema: Schema) -> Self {
        GrpcTarget {
            rpc,
            schema,
            hits: Arc::default(),
        }
    }

    fn encode(&self, update: &Update) -> Result<v1::Update, RowError> {
        let entity = encode(self.schema.p4info(), &update.key, update.value.as_ref());
        let entity = entity.map_err(|error| RowError {
            code: Code::InvalidArgument,
            message: error.to_string(),
        })?;
        // A meter's cell is always there: it is only ever set (P4Runtime specification, "MeterEntry").
        if matches!(update.key, Key::Meter(..)) {
            return Ok(v1::Update::modify(entity));
        }
        Ok(match update.op {
            Op::Insert => v1::Update::insert(entity),
            Op::Modify => v1::Update::modify(entity),
            Op::Delete => v1::Update::delete(entity),
        })
    }

    async fn read_entities(
        &self,
        entities: Vec<v1::Entity>,
    ) -> Result<Vec<v1::Entity>, ClientError> {
        self.rpc.read(entities).await
    }

    /// Reads rows with their counters, and with the time since the last hit if asked for.
    async fn read_rows(
        &self,
        rows: &[Key],
        with_hit: bool,
    ) -> Result<HashMap<Key, v1::TableEntry>, TargetError> {
        let p4info = self.schema.p4info();
        let mut wanted = Vec::with_capacity(rows.len());
        for row in rows {
            let entity = encode(p4info, row, None);
            let mut entity = entity.map_err(|error| TargetError::Read(error.to_string()))?;
            if let Some(v1::entity::Entity::TableEntry(entry)) = &mut entity.entity {
                entry.counter_data = Some(v1::CounterData::default());
                if with_hit {
                    entry.time_since_last_hit = Some(v1::table_entry::IdleTimeout::default());
                }
            }
            wanted.push(entity);
        }
        let found = match self.read_entities(wanted.clone()).await {
            Ok(found) => found,
            Err(ClientError::Rpc(status)) if status.code() == Code::Unavailable => {
                return Err(TargetError::Lost(status.message().to_owned()));
            }
            Err(_) => {
                // One row that is gone meanwhile fails the others on some switches.
                let mut found = Vec::new();
                for entity in wanted {
                    match self.read_entities(vec![entity]).await {
                        Ok(row) => found.extend(row),
                        Err(ClientError::Rpc(status)) if says_absent(&status) => {}
                        Err(error) => return Err(TargetError::Read(error.to_string())),
                    }
                }
                found
            }
        };
        let mut entries = HashMap::new();
        for entity in found {
            let Some(v1::entity::Entity::TableEntry(entry)) = entity.entity.clone() else {
                continue;
            };
            if let Ok(Some((key, _))) = decode(p4info, entity) {
                entries.insert(key, entry);
            }
        }
        Ok(entries)
    }
}

impl<R: Rpc> Target for GrpcTarget<R> {
    async fn prepare(&self) -> Result<bool, TargetError> {
        match self.rpc.loaded().await {
            Ok(loaded) => {
                let same = loaded.cookie.map(|cookie| cookie.cookie) == Some(self.schema.cookie());
                if same && loaded.p4info.as_ref() == Some(self.schema.p4info().message()) {
                    return Ok(false);
                }
            }
            // FAILED_PRECONDITION: no program yet. Others show when it is set.
            Err(ClientError::Rpc(status)) if status.code() != Code::Unavailable => {}
            Err(ClientError::Incomplete(_)) => {}
            Err(error) => return Err(lost(error)),
        }
        let program = v1::ForwardingPipelineConfig {
            p4info: Some(self.schema.p4info().message().clone()),
            p4_device_config: self.schema.device_config().to_vec(),
            cookie: Some(v1::forwarding_pipeline_config::Cookie {
                cookie: self.schema.cookie(),
            }),
        };
        match self.rpc.load(program).await {
            Ok(()) => Ok(true),
            Err(ClientError::Rpc(status)) => Err(match status.code() {
                Code::Unavailable | Code::Cancelled => TargetError::Lost(status.message().into()),
                Code::PermissionDenied => TargetError::NotPrimary(status.message().into()),
                code => {
                    let advice = on_program(status.message())
                        .map_or(String::new(), |advice| format!("{advice}: "));
                    TargetError::Pipeline(format!("{advice}{code:?}: {}", status.message()))
                }
            }),
            Err(error) => Err(lost(error)),
        }
    }

    async fn write(&self, updates: Vec<Update>) -> Result<Vec<Result<(), RowError>>, TargetError> {
        // A row that cannot be encoded is not sent; the others keep their places.
        let mut results = Vec::with_capacity(updates.len());
        let mut sent = Vec::with_capacity(updates.len());
        for update in &updates {
            match self.encode(update) {
                Ok(encoded) => {
                    sent.push(encoded);
                    results.push(Ok(()));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        let errors: Vec<Result<(), RowError>> = match self.rpc.write(sent).await {
            Ok(()) => return Ok(results),
            Err(WriteError::Updates(errors)) => errors
                .into_iter()
                .map(|error| match code_of(&error) {
                    Code::Ok => Ok(()),
                    code => Err(RowError {
                        code,
                        message: error.message,
                    }),
                })
                .collect(),
            Err(WriteError::Rpc(status)) => match status.code() {
                Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => {
                    return Err(TargetError::Lost(status.message().to_owned()));
                }
                Code::PermissionDenied => {
                    return Err(TargetError::NotPrimary(status.message().to_owned()));
                }
                code => {
                    let error = RowError {
                        code,
                        message: status.message().to_owned(),
                    };
                    vec![Err(error); updates.len()]
                }
            },
        };
        let mut errors = errors.into_iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = errors.next().unwrap_or_else(|| {
                Err(RowError {
                    code: Code::Internal,
                    message: "the switch answered fewer updates than it got".into(),
                })
            });
        }
        Ok(results)
    }

    async fn read(&self) -> Result<Vec<(Key, Value)>, TargetError> {
        let p4info = self.schema.p4info();
        let refused = |error: p4runtime::p4info::LookupError| TargetError::Read(error.to_string());
        let mut wanted: Vec<(&str, v1::Entity, bool)> = Vec::new();
        for name in TABLES {
            let table = p4info.table(name).map_err(refused)?;
            let mut entries = table.all_entries();
            if table.direct_meter.is_some() {
                // Else it is not told.
                entries.meter_config = Some(v1::MeterConfig::default());
            }
            wanted.push((name, entries.into(), true));
        }
        // What a switch cannot read back is written anew: an INSERT that meets it becomes a MODIFY.
        let groups = v1::MulticastGroupEntry::default().into();
        wanted.push(("multicast groups", groups, false));
        wanted.push((
            share::MEMBERS,
            share::read_members(p4info).map_err(refused)?,
            false,
        ));
        wanted.push((
            share::GROUPS,
            share::read_groups(p4info).map_err(refused)?,
            false,
        ));
        let sessions = v1::CloneSessionEntry::default().into();
        wanted.push(("clone sessions", sessions, false));
        for kind in [meters::Kind::Open, meters::Kind::Software] {
            let cells = meters::read(p4info, kind).map_err(refused)?;
            wanted.push((kind.name(), cells, false));
        }
        for kind in digests::Kind::ALL {
            let digest = v1::DigestEntry {
                digest_id: p4info.digest(kind.name()).map_err(refused)?.id,
                ..Default::default()
            };
            wanted.push((kind.name(), digest.into(), false));
        }
        let mut rows = Vec::new();
        for (what, entity, needed) in wanted {
            let found = match self.read_entities(vec![entity]).await {
                Ok(found) => found,
                Err(ClientError::Rpc(status)) if !needed && status.code() != Code::Unavailable => {
                    tracing::debug!(what, %status, "cannot be read back");
                    continue;
                }
                Err(ClientError::Rpc(status)) if status.code() != Code::Unavailable => {
                    return Err(TargetError::Read(format!("{what}: {}", status.message())));
                }
                Err(error) => return Err(lost(error)),
            };
            for entity in found {
                match decode(p4info, entity) {
                    Ok(row) => rows.extend(row),
                    Err(error) => tracing::warn!(what, %error, "a row does not fit P4Info"),
                }
            }
        }
        Ok(rows)
    }

    async fn hits(&self, rows: Vec<Key>) -> Result<Vec<Option<Hit>>, TargetError> {
        let entries = self.read_rows(&rows, true).await?;
        let now = Instant::now();
        let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = rows.iter().map(|row| {
            let entry = entries.get(row)?;
            let packets = entry.counter_data.as_ref().map(|data| data.packet_count);
            let packets = packets.and_then(|packets| u64::try_from(packets).ok());
            let packets = packets.unwrap_or(0);
            // Counted since we looked last: some time since then.
            let seen = hits.entry(*row).or_insert((packets, now));
            if seen.0 != packets {
                *seen = (packets, now);
            }
            let counted = now.duration_since(seen.1);
            let idle = told_idle(entry).unwrap_or(counted);
            Some(Hit { packets, idle })
        });
        Ok(hit.collect())
    }

    async fn counters(&self, rows: Vec<Key>) -> Result<Vec<Counter>, TargetError> {
        let entries = self.read_rows(&rows, false).await?;
        let counter = |row| {
            let data = entries.get(row).and_then(|entry| entry.counter_data);
            let data = data.unwrap_or_default();
            Counter {
                packets: data.packet_count.max(0).unsigned_abs(),
                bytes: data.byte_count.max(0).unsigned_abs(),
            }
        };
        Ok(rows.iter().map(counter).collect())
    }

    async fn paths(&self) -> Result<BTreeMap<String, u64>, TargetError> {
        let counter = self.schema.p4info().counter(PATH_COUNTER);
        let counter = counter.map_err(|error| TargetError::Read(error.to_string()))?;
        let all = v1::CounterEntry {
            counter_id: counter.id,
            ..Default::default()
        };
        let found = self
            .read_entities(vec![all.into()])
            .await
            .map_err(|error| TargetError::Read(error.to_string()))?;
        let mut paths = BTreeMap::new();
        for entity in found {
            let Some(v1::entity::Entity::CounterEntry(cell)) = entity.entity else {
                continue;
            };
            let index = cell.index.map_or(0, |index| index.index);
            let name = usize::try_from(index)
                .ok()
                .and_then(|i| PATH_REASONS.get(i));
            if let (Some(name), Some(data)) = (name, cell.data) {
                paths.insert((*name).to_owned(), data.packet_count.max(0).unsigned_abs());
            }
        }
        Ok(paths)
    }

    async fn send_lease(&self, deadline_us: u64, request: u32) -> Result<(), TargetError> {
        let packet = lease_packet(self.schema.p4info(), deadline_us, request)
            .map_err(|error| TargetError::Read(error.to_string()))?;
        self.rpc.send(Request::Packet(packet)).await.map_err(lost)
    }

    fn sizes(&self) -> HashMap<&'static str, usize> {
        self.schema.sizes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(timeout: Duration, elapsed: Duration) -> Option<Duration> {
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap();
        told_idle(&v1::TableEntry {
            idle_timeout_ns: nanos(timeout),
            time_since_last_hit: Some(v1::table_entry::IdleTimeout {
                elapsed_ns: nanos(elapsed),
            }),
            ..Default::default()
        })
    }

    #[test]
    fn a_time_since_the_last_hit_is_believed_only_where_it_can_be_one() {
        let day = Duration::from_secs(86_400);
        let hour = Duration::from_secs(3600);
        assert_eq!(told(day, hour), Some(hour));
        // BMv2, two seconds after a hit.
        assert_eq!(told(day, Duration::from_millis(86_397_581)), None);
        // BMv2 without a timeout.
        assert_eq!(told(Duration::ZERO, Duration::ZERO), None);
        assert_eq!(told_idle(&v1::TableEntry::default()), None);
    }
}
