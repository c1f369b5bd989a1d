//! What a target asks of a P4Runtime server: over gRPC, or of a server in the same process.

use std::future::Future;

use p4runtime::client::{Client, ClientError, StreamSender};
use p4runtime::v1;
use p4runtime::v1::get_forwarding_pipeline_config_request::ResponseType;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action as SetAction;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::write_error::WriteError;
use tokio::task::JoinHandle;

/// The requests that a controller makes of one device as its primary.
pub trait Rpc: Send + Sync + 'static {
    /// `Write`.
    fn write(
        &self,
        updates: Vec<v1::Update>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// `Read`: all that was found.
    fn read(
        &self,
        entities: Vec<v1::Entity>,
    ) -> impl Future<Output = Result<Vec<v1::Entity>, ClientError>> + Send;

    /// `GetForwardingPipelineConfig`, P4Info and cookie.
    fn loaded(
        &self,
    ) -> impl Future<Output = Result<v1::ForwardingPipelineConfig, ClientError>> + Send;

    /// `SetForwardingPipelineConfig`, verify and commit.
    fn load(
        &self,
        program: v1::ForwardingPipelineConfig,
    ) -> impl Future<Output = Result<(), ClientError>> + Send;

    /// A message on `StreamChannel`.
    fn send(&self, message: Request) -> impl Future<Output = Result<(), ClientError>> + Send;
}

/// Over gRPC. Dropping it gives up the election.
#[derive(Debug)]
pub struct Connection {
    pub(super) client: Client,
    pub(super) out: StreamSender,
    /// Turns the stream into events.
    pub(super) reader: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Rpc for Connection {
    async fn write(&self, updates: Vec<v1::Update>) -> Result<(), WriteError> {
        self.client.clone().write(updates).await
    }

    async fn read(&self, entities: Vec<v1::Entity>) -> Result<Vec<v1::Entity>, ClientError> {
        self.client.clone().read(entities).await
    }

    async fn loaded(&self) -> Result<v1::ForwardingPipelineConfig, ClientError> {
        let mut client = self.client.clone();
        client
            .get_forwarding_pipeline_config(ResponseType::P4infoAndCookie)
            .await
    }

    async fn load(&self, program: v1::ForwardingPipelineConfig) -> Result<(), ClientError> {
        let v1::ForwardingPipelineConfig {
            p4info,
            p4_device_config,
            cookie,
        } = program;
        let mut client = self.client.clone();
        client
            .set_forwarding_pipeline_config(
                SetAction::VerifyAndCommit,
                p4info.unwrap_or_default(),
                p4_device_config,
                cookie.map_or(0, |cookie| cookie.cookie),
            )
            .await
    }

    async fn send(&self, message: Request) -> Result<(), ClientError> {
        self.out.send(message).await
    }
}
