//! The contract over gRPC, so that broker and controller can live on two hosts.
//!
//! The broker serves ([`service`]), the controller connects ([`connect`]); either side then holds the
//! same end of a link as it would within one process.

mod convert;

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    tonic::include_proto!("topicswitch.offload.v1");
}

use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

pub use convert::WireError;

use crate::link::{BrokerEnd, ControllerEnd};

/// A snapshot of 64 k topics with 10 subscribers each takes some 10 MB; gRPC's default is 4.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// The gRPC service to add to a tonic server.
pub type Service = proto::offload_server::OffloadServer<Links>;

/// The service that a broker offers: every controller that connects becomes a [`BrokerEnd`], sent to
/// `links`.
pub fn service(links: Sender<BrokerEnd>) -> Service {
    proto::offload_server::OffloadServer::new(Links { links })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Turns gRPC streams into links.
#[derive(Debug)]
pub struct Links {
    links: Sender<BrokerEnd>,
}

type Outgoing<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl proto::offload_server::Offload for Links {
    type LinkStream = Outgoing<proto::FromBroker>;

    async fn link(
        &self,
        request: Request<Streaming<proto::FromController>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let (to_controller, outgoing) = unbounded_channel();
        let (to_broker, incoming) = unbounded_channel();
        self.links
            .send(BrokerEnd {
                tx: to_controller,
                rx: incoming,
            })
            .await
            .map_err(|_| Status::unavailable("the broker is shutting down"))?;
        tokio::spawn(pump(request.into_inner(), to_broker));
        let outgoing = UnboundedReceiverStream::new(outgoing)
            .map(|message| Ok(proto::FromBroker::from(message)));
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// Opens a link to the broker's service behind `channel`.
///
/// # Errors
/// The gRPC status of a broker that cannot be reached or refuses.
pub async fn connect(channel: Channel) -> Result<ControllerEnd, Status> {
    let mut client = proto::offload_client::OffloadClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (tx, outgoing): (_, UnboundedReceiver<_>) = unbounded_channel();
    let outgoing = UnboundedReceiverStream::new(outgoing).map(proto::FromController::from);
    let incoming = client.link(outgoing).await?.into_inner();
    let (to_controller, rx) = unbounded_channel();
    tokio::spawn(pump(incoming, to_controller));
    Ok(ControllerEnd { tx, rx })
}

/// Hands over messages until the stream or its receiver ends, or a message cannot be read.
async fn pump<Wire, Message>(mut from: Streaming<Wire>, to: UnboundedSender<Message>)
where
    Message: TryFrom<Wire, Error = WireError>,
{
    loop {
        let received = tokio::select! {
            received = from.next() => received,
            () = to.closed() => return,
        };
        match received {
            Some(Ok(message)) => match Message::try_from(message) {
                Ok(message) => {
                    if to.send(message).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "link ended: a message of the other side cannot be read");
                    return;
                }
            },
            Some(Err(status)) => {
                tracing::warn!(code = ?status.code(), why = status.message(), "link ended");
                return;
            }
            None => return,
        }
    }
}
