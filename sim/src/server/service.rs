//! The gRPC service around a [`Device`].

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use p4runtime::v1;
use p4runtime::v1::p4_runtime_server::{P4Runtime, P4RuntimeServer};
use prost::Message;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Certificate, Channel, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::device::Device;
use super::stream::ControllerStream;

/// The longest message taken: a pipeline configuration can be long.
const MAX_MESSAGE: usize = 256 << 20;
/// Bytes of entities in one message of a `Read`'s answer: far below the 4 MiB that gRPC clients
/// take unless told otherwise. A single entity may be longer.
const RESPONSE_BYTES: usize = 1 << 20;
/// Updates of a `Write` from which on it leaves the task's thread.
const LONG_WRITE: usize = 64;
/// A controller that does not answer pings for so long is gone, and with it its primacy.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Where a service takes the time from: the time since its switch started.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The time since `start`.
    pub fn since(start: Instant) -> Self {
        Clock::from_fn(move || start.elapsed())
    }

    /// Whatever `now` says, e.g. a test's virtual time.
    pub fn from_fn(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Clock(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// The P4Runtime service of one device. Cheap to clone.
#[derive(Debug, Clone)]
pub struct P4RuntimeService {
    device: Arc<Device>,
    clock: Clock,
}

impl P4RuntimeService {
    /// The service of `device`, whose time `clock` tells.
    pub fn new(device: Arc<Device>, clock: Clock) -> Self {
        P4RuntimeService { device, clock }
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// As a tonic service, for a server that offers others too.
    pub fn into_server(self) -> P4RuntimeServer<Self> {
        P4RuntimeServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Device, Duration) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let device = Arc::clone(&self.device);
        let now = self.clock.now();
        tokio::task::spawn_blocking(move || work(&device, now))
            .await
            .map_err(|error| Status::internal(format!("the request was not finished: {error}")))
    }
}

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl P4Runtime for P4RuntimeService {
    async fn write(
        &self,
        request: Request<v1::WriteRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        if request.updates.len() < LONG_WRITE {
            self.device.write(self.clock.now(), &request)?;
        } else {
            self.blocking(move |device, now| device.write(now, &request))
                .await??;
        }
        Ok(Response::new(v1::WriteResponse {}))
    }

    type ReadStream = ResponseStream<v1::ReadResponse>;

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let (entities, status) = self
            .blocking(move |device, now| device.read(now, &request))
            .await??;
        let mut responses: Vec<_> = chunks(entities).map(Ok).collect();
        // A stream that ends with an error has sent before what was read without one.
        responses.extend(status.err().map(Err));
        Ok(Response::new(Box::pin(tokio_stream::iter(responses))))
    }

    async fn set_forwarding_pipeline_config(
        &self,
        request: Request<v1::SetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::SetForwardingPipelineConfigResponse>, Status> {
        let request = request.into_inner();
        self.blocking(move |device, now| device.set_pipeline(now, request))
            .await??;
        Ok(Response::new(v1::SetForwardingPipelineConfigResponse {}))
    }

    async fn get_forwarding_pipeline_config(
        &self,
        request: Request<v1::GetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::GetForwardingPipelineConfigResponse>, Status> {
        Ok(Response::new(
            self.device.get_pipeline(request.into_inner())?,
        ))
    }

    type StreamChannelStream = ResponseStream<v1::StreamMessageResponse>;

    async fn stream_channel(
        &self,
        request: Request<Streaming<v1::StreamMessageRequest>>,
    ) -> Result<Response<Self::StreamChannelStream>, Status> {
        let mut requests = request.into_inner();
        let stream = self.device.open_stream();
        let id = stream.id();
        let (device, clock) = (Arc::clone(&self.device), self.clock.clone());
        let (open, closed) = oneshot::channel();
        tokio::spawn(async move {
            let requests = async {
                while let Some(Ok(message)) = requests.next().await {
                    if device.stream_message(clock.now(), id, message).is_err() {
                        break;
                    }
                }
            };
            // Ends when the controller is done or gone, and when the device ended the stream: the
            // half that is still open would keep the connection.
            tokio::select! {
                () = requests => {}
                _ = closed => {}
            }
            device.close_stream(id);
        });
        let responses = Responses {
            stream,
            _open: open,
        };
        Ok(Response::new(Box::pin(responses)))
    }

    async fn capabilities(
        &self,
        request: Request<v1::CapabilitiesRequest>,
    ) -> Result<Response<v1::CapabilitiesResponse>, Status> {
        Ok(Response::new(
            self.device.capabilities(request.into_inner())?,
        ))
    }
}

/// The entities in messages of bounded length.
fn chunks(entities: Vec<v1::Entity>) -> impl Iterator<Item = v1::ReadResponse> {
    let mut rest = entities.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let mut bytes = first.encoded_len();
        let mut entities = vec![first];
        let mut fits = |next: &v1::Entity| {
            bytes += next.encoded_len();
            bytes <= RESPONSE_BYTES
        };
        while let Some(next) = rest.next_if(&mut fits) {
            entities.push(next);
        }
        Some(v1::ReadResponse { entities })
    })
}

/// The device's messages on a stream. Dropping it closes the stream.
struct Responses {
    stream: ControllerStream,
    /// Its drop tells the task that reads requests.
    _open: oneshot::Sender<()>,
}

impl Stream for Responses {
    type Item = Result<v1::StreamMessageResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_recv(context)
    }
}

/// Who a server is, and whom it lets in. All in PEM.
#[derive(Clone)]
pub struct ServerTls {
    /// The server's certificate chain.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Certificates of the authorities that must have signed a client's; without any, every client
    /// is let in.
    pub client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("ServerTls")
            .field("clients_need_certificates", &self.client_ca.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a server ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the P4Runtime server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A certificate or key cannot be used.
    #[error("the P4Runtime server's certificate, key or client CA cannot be used: {0}")]
    Tls(tonic::transport::Error),
}

/// Serves over TCP until `shutdown` completes; controllers' streams end with UNAVAILABLE then.
///
/// # Errors
/// [`ServeError`] when the transport fails.
pub async fn serve_tcp(
    service: P4RuntimeService,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    serve(Server::builder(), service, listener, shutdown).await
}

/// As [`serve_tcp`], over TLS. A client that is not let in is told so by TLS; others do not notice.
///
/// # Errors
/// [`ServeError::Tls`] before anything is served.
pub async fn serve_tls(
    service: P4RuntimeService,
    listener: TcpListener,
    tls: &ServerTls,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let identity = Identity::from_pem(&tls.certificate, &tls.key);
    let mut config = ServerTlsConfig::new().identity(identity);
    if let Some(client_ca) = &tls.client_ca {
        config = config.client_ca_root(Certificate::from_pem(client_ca));
    }
    let server = Server::builder().tls_config(config);
    serve(
        server.map_err(ServeError::Tls)?,
        service,
        listener,
        shutdown,
    )
    .await
}

async fn serve(
    server: Server,
    service: P4RuntimeService,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let incoming = TcpListenerStream::new(listener).map(|connection| {
        connection.inspect(|socket| {
            // Without it packets to controllers wait for acknowledgements; nothing else changes.
            let _ = socket.set_nodelay(true);
        })
    });
    let device = Arc::clone(&service.device);
    let shutdown = async move {
        shutdown.await;
        // Open streams would keep the connections, and thus the server, for ever.
        device.end_streams(&Status::unavailable("the switch is shutting down"));
    };
    server
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service.into_server())
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await?;
    Ok(())
}

/// A gRPC channel to the service inside this process; no socket is used. Needs a tokio runtime;
/// the server ends when the channel and its clones are gone.
pub fn connect_in_memory(service: P4RuntimeService) -> Channel {
    let (connections, incoming) = mpsc::channel(1);
    tokio::spawn(async move {
        let server = Server::builder().add_service(service.into_server());
        if let Err(error) = server
            .serve_with_incoming(ReceiverStream::new(incoming))
            .await
        {
            tracing::error!(%error, "the in-memory P4Runtime server failed");
        }
    });
    // The address is never looked up: the connector ignores it.
    Endpoint::from_static("http://in-memory")
        .connect_with_connector_lazy(MemoryConnector { connections })
}

/// Makes a pipe for each connection.
#[derive(Debug, Clone)]
struct MemoryConnector {
    connections: mpsc::Sender<io::Result<DuplexStream>>,
}

impl Service<Uri> for MemoryConnector {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connections = self.connections.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(256 * 1024);
            connections
                .send(Ok(far))
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::ConnectionRefused, "server is gone"))?;
            Ok(TokioIo::new(near))
        })
    }
}
