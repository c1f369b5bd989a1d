//! A thin P4Runtime client: it fills in device, role and election id, and unpacks what failed.
//!
//! It neither retries nor reconnects; what to do about a failure is its owner's decision.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status, Streaming};

use crate::v1::p4_runtime_client::P4RuntimeClient;
use crate::v1::stream_message_request::Update as Request;
use crate::v1::stream_message_response::Update as Response;
use crate::write_error::WriteError;
use crate::{config, v1};

/// Between two HTTP/2 pings, and how long each may stay unanswered.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The largest message taken: a device configuration can be larger than gRPC's usual 4 MiB.
pub const MAX_MESSAGE_BYTES: usize = 128 << 20;
/// The largest trailers taken: a failed Write has an error for every update in them (P4Runtime
/// specification, "gRPC Metadata Maximum Size").
pub const MAX_METADATA_BYTES: u32 = 16 << 20;
/// Requests that may wait on the stream for the transport before `send` waits too.
const STREAM_QUEUE: usize = 256;

/// A failure of anything but Write. The status is boxed because it is large.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address that was asked for.
        address: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// An address that says otherwise than the certificates given, or their absence.
    #[error(
        "{address} is not {wanted}://: TLS needs the certificate of the authority that signed the \
         server's, and without one there is no TLS"
    )]
    Scheme {
        /// The address that was asked for.
        address: String,
        /// The scheme that it needs.
        wanted: &'static str,
    },
    /// The switch refused.
    #[error("the switch refused: {0}")]
    Rpc(Box<Status>),
    /// The stream has ended, so that nothing can be sent on it.
    #[error("the stream to the switch has ended; open another")]
    StreamEnded,
    /// The answer lacks what was asked for.
    #[error("the switch's answer lacks {0}")]
    Incomplete(&'static str),
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Rpc(Box::new(status))
    }
}

/// Whom a client trusts, and who it is. All in PEM.
#[derive(Clone)]
pub struct Tls {
    /// Certificates of the authorities that may have signed the server's.
    pub ca: Vec<u8>,
    /// This client's certificate chain and its key, for servers that want one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    fn config(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        match &self.identity {
            Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
            None => config,
        }
    }
}

/// A connection to one device of a P4Runtime server.
///
/// Clones share the connection. Writes carry the election id of the last
/// [`Client::open_stream`], so clone after opening the stream.
#[derive(Debug, Clone)]
pub struct Client {
    rpc: P4RuntimeClient<Channel>,
    device_id: u64,
    role: String,
    election_id: Option<u128>,
}

impl Client {
    /// Connects to `address`, `http://host:port` or `host:port`, within the deadline if given.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn connect(
        address: &str,
        device_id: u64,
        deadline: Option<Duration>,
    ) -> Result<Self, ClientError> {
        Self::connect_with(address, device_id, deadline, None).await
    }

    /// Connects as [`connect`](Self::connect) does, over TLS if it is given: to
    /// `https://host:port` or `host:port`.
    ///
    /// # Errors
    /// [`ClientError::Connect`], also for certificates and keys that cannot be read;
    /// [`ClientError::Scheme`].
    pub async fn connect_with(
        address: &str,
        device_id: u64,
        deadline: Option<Duration>,
        tls: Option<&Tls>,
    ) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect {
            address: address.to_owned(),
            source,
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let uri = match address.split_once("://") {
            None => format!("{scheme}://{address}"),
            Some((given, _)) if given == scheme => address.to_owned(),
            Some(_) => {
                return Err(ClientError::Scheme {
                    address: address.to_owned(),
                    wanted: scheme,
                });
            }
        };
        let mut endpoint = Endpoint::from_shared(uri)
            .map_err(failed)?
            .tcp_nodelay(true)
            // A server whose host is gone answers nothing, not even that.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .http2_max_header_list_size(MAX_METADATA_BYTES);
        if let Some(deadline) = deadline {
            endpoint = endpoint.connect_timeout(deadline);
        }
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls.config()).map_err(failed)?;
        }
        Ok(Self::new(
            endpoint.connect().await.map_err(failed)?,
            device_id,
        ))
    }

    /// Uses a channel that is there already.
    pub fn new(channel: Channel, device_id: u64) -> Self {
        let rpc = P4RuntimeClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            rpc,
            device_id,
            role: String::new(),
            election_id: None,
        }
    }

    /// The device that requests are for.
    pub fn device_id(&self) -> u64 {
        self.device_id
    }

    /// Opens the StreamChannel, bids to be primary with `election_id`, and waits for the answer.
    ///
    /// Without a `role` it is the default role, which owns the whole device. From here on this
    /// client's writes carry the role and the election id.
    ///
    /// # Errors
    /// [`ClientError::Rpc`], also where the election id is taken; [`ClientError::StreamEnded`].
    pub async fn open_stream(
        &mut self,
        election_id: u128,
        role: Option<v1::Role>,
    ) -> Result<Stream, ClientError> {
        let role_name = role
            .as_ref()
            .map(|role| role.name.clone())
            .unwrap_or_default();
        let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
        let sender = StreamSender { sender };
        // Sent first: a server may answer the RPC itself only when it has heard who is calling.
        sender.send(self.bid(election_id, role)).await?;
        let responses = self
            .rpc
            .stream_channel(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        let mut stream = Stream {
            sender,
            responses,
            waiting: VecDeque::new(),
            is_primary: false,
            arbitration: v1::MasterArbitrationUpdate::default(),
        };
        let mut before = VecDeque::new();
        loop {
            let response = stream.recv().await?.ok_or(ClientError::StreamEnded)?;
            if matches!(response.update, Some(Response::Arbitration(_))) {
                break;
            }
            before.push_back(response);
        }
        stream.waiting = before;
        self.role = role_name;
        self.election_id = Some(election_id);
        Ok(stream)
    }

    fn bid(&self, election_id: u128, role: Option<v1::Role>) -> Request {
        Request::Arbitration(v1::MasterArbitrationUpdate {
            device_id: self.device_id,
            role,
            election_id: Some(election_id.into()),
            status: None,
        })
    }

    /// Loads a program.
    ///
    /// # Errors
    /// [`ClientError::Rpc`].
    pub async fn set_forwarding_pipeline_config(
        &mut self,
        action: v1::set_forwarding_pipeline_config_request::Action,
        p4info: config::P4Info,
        device_config: Vec<u8>,
        cookie: u64,
    ) -> Result<(), ClientError> {
        let config = v1::ForwardingPipelineConfig {
            p4info: Some(p4info),
            p4_device_config: device_config,
            cookie: Some(v1::forwarding_pipeline_config::Cookie { cookie }),
        };
        let request = v1::SetForwardingPipelineConfigRequest {
            device_id: self.device_id,
            role: self.role.clone(),
            election_id: self.election_id.map(Into::into),
            action: action.into(),
            config: Some(config),
            ..Default::default()
        };
        self.rpc.set_forwarding_pipeline_config(request).await?;
        Ok(())
    }

    /// Asks for the loaded program, or for the parts of it that `response_type` names.
    ///
    /// # Errors
    /// [`ClientError::Rpc`], with the code FAILED_PRECONDITION where no program is loaded.
    pub async fn get_forwarding_pipeline_config(
        &mut self,
        response_type: v1::get_forwarding_pipeline_config_request::ResponseType,
    ) -> Result<v1::ForwardingPipelineConfig, ClientError> {
        let request = v1::GetForwardingPipelineConfigRequest {
            device_id: self.device_id,
            response_type: response_type.into(),
        };
        let response = self
            .rpc
            .get_forwarding_pipeline_config(request)
            .await?
            .into_inner();
        response
            .config
            .ok_or(ClientError::Incomplete("a pipeline configuration"))
    }

    /// Writes a batch. The switch may reorder it: what must happen after something else goes into
    /// a later batch.
    ///
    /// # Errors
    /// [`WriteError::Updates`] with an error for each update, or [`WriteError::Rpc`].
    pub async fn write(&mut self, updates: Vec<v1::Update>) -> Result<(), WriteError> {
        let request = v1::WriteRequest {
            device_id: self.device_id,
            role: self.role.clone(),
            election_id: self.election_id.map(Into::into),
            updates,
            ..Default::default()
        };
        self.rpc.write(request).await?;
        Ok(())
    }

    /// Reads entities; fields left unset are wildcards.
    ///
    /// # Errors
    /// [`ClientError::Rpc`].
    pub async fn read(
        &mut self,
        entities: Vec<v1::Entity>,
    ) -> Result<Vec<v1::Entity>, ClientError> {
        let request = v1::ReadRequest {
            device_id: self.device_id,
            role: self.role.clone(),
            entities,
        };
        let mut responses = self.rpc.read(request).await?.into_inner();
        let mut found = Vec::new();
        while let Some(response) = responses.message().await? {
            found.extend(response.entities);
        }
        Ok(found)
    }

    /// Asks which P4Runtime version the switch speaks.
    ///
    /// # Errors
    /// [`ClientError::Rpc`].
    pub async fn capabilities(&mut self) -> Result<v1::CapabilitiesResponse, ClientError> {
        let request = v1::CapabilitiesRequest {
            device_id: self.device_id,
        };
        Ok(self.rpc.capabilities(request).await?.into_inner())
    }
}

/// Sends on a stream; clones send on the same one. The stream closes with the last of them.
#[derive(Debug, Clone)]
pub struct StreamSender {
    sender: mpsc::Sender<v1::StreamMessageRequest>,
}

impl StreamSender {
    /// Sends an arbitration update, a packet-out or a digest acknowledgement.
    ///
    /// # Errors
    /// [`ClientError::StreamEnded`].
    pub async fn send(&self, update: Request) -> Result<(), ClientError> {
        let request = v1::StreamMessageRequest {
            update: Some(update),
        };
        self.sender
            .send(request)
            .await
            .map_err(|_| ClientError::StreamEnded)
    }
}

/// An open StreamChannel. Dropping it, with every [`StreamSender`], gives up the election.
#[derive(Debug)]
pub struct Stream {
    sender: StreamSender,
    responses: Streaming<v1::StreamMessageResponse>,
    /// What came before the answer to the first bid.
    waiting: VecDeque<v1::StreamMessageResponse>,
    is_primary: bool,
    arbitration: v1::MasterArbitrationUpdate,
}

impl Stream {
    /// Whether the switch's last arbitration answer called this client primary. It changes as
    /// [`Stream::recv`] meets further answers.
    pub fn is_primary(&self) -> bool {
        self.is_primary
    }

    /// The switch's last arbitration answer.
    pub fn arbitration(&self) -> &v1::MasterArbitrationUpdate {
        &self.arbitration
    }

    /// A sender that can be kept elsewhere.
    pub fn sender(&self) -> StreamSender {
        self.sender.clone()
    }

    /// Sends an arbitration update, a packet-out or a digest acknowledgement.
    ///
    /// # Errors
    /// [`ClientError::StreamEnded`].
    pub async fn send(&self, update: Request) -> Result<(), ClientError> {
        self.sender.send(update).await
    }

    /// Waits for the next message; `None` when the switch has closed the stream. Nothing is lost
    /// when the wait is cancelled.
    ///
    /// # Errors
    /// [`ClientError::Rpc`] when the stream failed.
    pub async fn recv(&mut self) -> Result<Option<v1::StreamMessageResponse>, ClientError> {
        if let Some(response) = self.waiting.pop_front() {
            return Ok(Some(response));
        }
        let response = self.responses.message().await?;
        if let Some(Response::Arbitration(answer)) =
            response.as_ref().and_then(|r| r.update.as_ref())
        {
            // The status is OK for the primary, and says why not for a backup.
            self.is_primary = answer
                .status
                .as_ref()
                .is_some_and(|status| status.code == i32::from(Code::Ok));
            self.arbitration.clone_from(answer);
        }
        Ok(response)
    }
}
