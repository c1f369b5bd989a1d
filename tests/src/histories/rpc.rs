//! The controller's way to the switch: what it asks for waits here until the scheduler lets it
//! through.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use controller::target::{Event, GrpcTarget, PipelineConfig, Rpc, Schema, Switch, TargetError};
use futures::future::BoxFuture;
use offload::ControllerEnd;
use p4runtime::client::ClientError;
use p4runtime::v1;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::write_error::WriteError;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// A connection of a controller to the switch, by its number.
pub(super) type Connection = u64;

/// What came of a connection.
pub(super) type Connected = Result<(Connection, mpsc::Receiver<Event>), TargetError>;

/// A request and who waits for its answer.
#[expect(clippy::large_enum_variant, reason = "few are under way at a time")]
pub(super) enum Ask {
    /// With the election id that it bids with.
    Connect(u128, oneshot::Sender<Connected>),
    Write(
        Connection,
        Vec<v1::Update>,
        oneshot::Sender<Result<(), Status>>,
    ),
    Read(
        Connection,
        Vec<v1::Entity>,
        oneshot::Sender<Result<Vec<v1::Entity>, Status>>,
    ),
    Loaded(
        Connection,
        oneshot::Sender<Result<v1::GetForwardingPipelineConfigResponse, Status>>,
    ),
    Load(
        Connection,
        v1::ForwardingPipelineConfig,
        oneshot::Sender<Result<(), Status>>,
    ),
    Stream(Connection, Request),
    Close(Connection),
    Link(oneshot::Sender<ControllerEnd>),
}

/// What controllers have asked for and nobody has taken yet.
#[derive(Clone, Default)]
pub(super) struct Asks(Arc<Mutex<VecDeque<Ask>>>);

impl Asks {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Ask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, ask: Ask) {
        self.lock().push_back(ask);
    }

    pub(super) fn take(&self) -> Option<Ask> {
        self.lock().pop_front()
    }

    /// Nobody uses the connection any more.
    pub(super) fn close(&self, connection: Connection) {
        self.push(Ask::Close(connection));
    }

    /// A link to the broker.
    pub(super) fn link(&self) -> BoxFuture<'static, Result<ControllerEnd, controller::LinkError>> {
        let (sender, receiver) = oneshot::channel();
        self.push(Ask::Link(sender));
        Box::pin(async move { receiver.await.map_err(|_| "the broker is not there".into()) })
    }
}

/// The switch, as the controller gets at it.
pub(super) struct VirtualSwitch {
    asks: Asks,
    schema: Schema,
    election_id: u128,
    /// In its place, once the controller takes over.
    raised: Option<u128>,
}

impl VirtualSwitch {
    pub(super) fn new(asks: Asks, pipeline: PipelineConfig, election_id: u128) -> Self {
        VirtualSwitch {
            asks,
            election_id,
            raised: None,
            schema: Schema::new(pipeline).expect("the built-in program is the controller's"),
        }
    }
}

impl Switch for VirtualSwitch {
    type Target = GrpcTarget<VirtualRpc>;

    async fn connect(&mut self) -> Result<(Self::Target, mpsc::Receiver<Event>), TargetError> {
        let (sender, receiver) = oneshot::channel();
        self.asks.push(Ask::Connect(self.election_id(), sender));
        let connected = receiver
            .await
            .unwrap_or_else(|_| Err(TargetError::Lost("the switch is not there".into())));
        if let Err(TargetError::NotPrimary(_)) = connected {
            self.raised = None;
        }
        let (connection, events) = connected?;
        let rpc = VirtualRpc {
            asks: self.asks.clone(),
            connection,
        };
        Ok((GrpcTarget::over(rpc, self.schema.clone()), events))
    }

    fn raise(&mut self, election_id: u128) {
        self.raised = Some(election_id);
    }

    fn election_id(&self) -> u128 {
        self.raised.unwrap_or(self.election_id)
    }

    fn address(&self) -> String {
        "the switch".to_owned()
    }
}

/// One connection.
pub(super) struct VirtualRpc {
    asks: Asks,
    connection: Connection,
}

impl Drop for VirtualRpc {
    fn drop(&mut self) {
        self.asks.close(self.connection);
    }
}

fn gone() -> Status {
    Status::unavailable("the connection is lost")
}

impl VirtualRpc {
    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, Status>>) -> Ask,
    ) -> Result<T, Status> {
        let (sender, receiver) = oneshot::channel();
        self.asks.push(ask(sender));
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Rpc for VirtualRpc {
    async fn write(&self, updates: Vec<v1::Update>) -> Result<(), WriteError> {
        let to = self.connection;
        Ok(self.ask(|answer| Ask::Write(to, updates, answer)).await?)
    }

    async fn read(&self, entities: Vec<v1::Entity>) -> Result<Vec<v1::Entity>, ClientError> {
        let to = self.connection;
        Ok(self.ask(|answer| Ask::Read(to, entities, answer)).await?)
    }

    async fn loaded(&self) -> Result<v1::ForwardingPipelineConfig, ClientError> {
        let to = self.connection;
        let response = self.ask(|answer| Ask::Loaded(to, answer)).await?;
        let config = response.config;
        config.ok_or(ClientError::Incomplete("a pipeline configuration"))
    }

    async fn load(&self, program: v1::ForwardingPipelineConfig) -> Result<(), ClientError> {
        let to = self.connection;
        Ok(self.ask(|answer| Ask::Load(to, program, answer)).await?)
    }

    async fn send(&self, message: Request) -> Result<(), ClientError> {
        self.asks.push(Ask::Stream(self.connection, message));
        Ok(())
    }
}
