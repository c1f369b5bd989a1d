//! The client against a server of this crate's own bindings, over a real connection.

#![allow(clippy::unwrap_used)] // What helpers of tests meet fails the test.

use std::net::SocketAddr;
use std::time::Duration;

use p4runtime::client::{Client, ClientError};
use p4runtime::v1::p4_runtime_server::{P4Runtime, P4RuntimeServer};
use p4runtime::v1::stream_message_request::Update as FromController;
use p4runtime::v1::stream_message_response::Update as FromSwitch;
use p4runtime::write_error::{WriteError, update_error, write_result};
use p4runtime::{rpc, v1};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

const DEADLINE: Duration = Duration::from_secs(20);

/// A switch that fails every odd update, echoes packets and calls nobody else primary.
struct Switch;

type Replies<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl P4Runtime for Switch {
    type ReadStream = Replies<v1::ReadResponse>;
    type StreamChannelStream = Replies<v1::StreamMessageResponse>;

    async fn write(
        &self,
        request: Request<v1::WriteRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        if request.election_id != Some(5u128.into()) || request.role != "tables" {
            return Err(Status::permission_denied("not primary"));
        }
        let errors: Vec<_> = (0..request.updates.len())
            .map(|position| match position % 2 {
                0 => v1::Error::default(),
                _ => update_error(Code::ResourceExhausted, format!("no room for {position}")),
            })
            .collect();
        write_result(&errors)?;
        Ok(Response::new(v1::WriteResponse {}))
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        // One entity a message: the client must put them together again.
        let parts = request.into_inner().entities.into_iter().map(|entity| {
            Ok(v1::ReadResponse {
                entities: vec![entity],
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(
            parts.collect::<Vec<_>>(),
        ))))
    }

    async fn set_forwarding_pipeline_config(
        &self,
        request: Request<v1::SetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::SetForwardingPipelineConfigResponse>, Status> {
        match request.into_inner().config {
            Some(config) if config.p4_device_config.len() == 6 << 20 => {
                Ok(Response::new(v1::SetForwardingPipelineConfigResponse {}))
            }
            _ => Err(Status::invalid_argument("no configuration")),
        }
    }

    async fn get_forwarding_pipeline_config(
        &self,
        _: Request<v1::GetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::GetForwardingPipelineConfigResponse>, Status> {
        Err(Status::failed_precondition("no program is loaded"))
    }

    async fn stream_channel(
        &self,
        request: Request<Streaming<v1::StreamMessageRequest>>,
    ) -> Result<Response<Self::StreamChannelStream>, Status> {
        let mut requests = request.into_inner();
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let update = match request.update {
                    Some(FromController::Arbitration(mut bid)) => {
                        let code = match bid.election_id.map(u128::from) {
                            Some(5) => Code::Ok,
                            _ => Code::AlreadyExists,
                        };
                        bid.status = Some(rpc::Status {
                            code: code.into(),
                            ..Default::default()
                        });
                        FromSwitch::Arbitration(bid)
                    }
                    Some(FromController::Packet(packet)) => FromSwitch::Packet(v1::PacketIn {
                        payload: packet.payload,
                        metadata: packet.metadata,
                    }),
                    _ => continue,
                };
                let response = v1::StreamMessageResponse {
                    update: Some(update),
                };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn capabilities(
        &self,
        _: Request<v1::CapabilitiesRequest>,
    ) -> Result<Response<v1::CapabilitiesResponse>, Status> {
        let p4runtime_api_version = "1.4.0".into();
        Ok(Response::new(v1::CapabilitiesResponse {
            p4runtime_api_version,
            experimental: None,
        }))
    }
}

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = P4RuntimeServer::new(Switch).max_decoding_message_size(64 << 20);
    let server = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("an answer within the deadline")
}

async fn connect() -> Client {
    let address = serve().await.to_string();
    within(Client::connect(&address, 1, Some(DEADLINE)))
        .await
        .unwrap()
}

fn role() -> Option<v1::Role> {
    Some(v1::Role {
        name: "tables".into(),
        ..Default::default()
    })
}

#[tokio::test]
async fn the_highest_bid_is_primary_and_packets_flow() {
    let mut client = connect().await;
    let mut stream = within(client.open_stream(5, role())).await.unwrap();
    assert!(stream.is_primary());
    let packet = v1::PacketOut {
        payload: b"frame".to_vec(),
        metadata: Vec::new(),
    };
    stream
        .sender()
        .send(FromController::Packet(packet))
        .await
        .unwrap();
    let response = within(stream.recv()).await.unwrap().unwrap();
    assert!(matches!(response.update, Some(FromSwitch::Packet(p)) if p.payload == b"frame"));
}

#[tokio::test]
async fn a_lower_bid_is_a_backup_and_its_writes_fail_as_a_whole() {
    let mut client = connect().await;
    let stream = within(client.open_stream(4, role())).await.unwrap();
    assert!(!stream.is_primary());
    let error = within(client.write(vec![v1::Update::default()]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, WriteError::Rpc(status) if status.code() == Code::PermissionDenied),
        "{error}"
    );
}

#[tokio::test]
async fn a_failed_batch_of_thousands_says_what_became_of_each_update() {
    let mut client = connect().await;
    let _stream = within(client.open_stream(5, role())).await.unwrap();
    within(client.write(vec![v1::Update::default()]))
        .await
        .unwrap();
    let error = within(client.write(vec![v1::Update::default(); 5000]))
        .await
        .unwrap_err();
    let failed: Vec<_> = error.failed().collect();
    assert_eq!(failed.len(), 2500, "{error}");
    assert_eq!(
        failed[0],
        (1, &update_error(Code::ResourceExhausted, "no room for 1"))
    );
    assert_eq!(failed[2499].0, 4999);
}

#[tokio::test]
async fn a_read_puts_the_parts_together() {
    let mut client = connect().await;
    let asked: Vec<v1::Entity> = (1..=3)
        .map(|table_id| {
            v1::TableEntry {
                table_id,
                ..Default::default()
            }
            .into()
        })
        .collect();
    assert_eq!(within(client.read(asked.clone())).await.unwrap(), asked);
}

#[tokio::test]
async fn a_program_larger_than_four_mebibytes_can_be_loaded() {
    let mut client = connect().await;
    let action = v1::set_forwarding_pipeline_config_request::Action::VerifyAndCommit;
    let loaded = client.set_forwarding_pipeline_config(
        action,
        p4runtime::config::P4Info::default(),
        vec![1; 6 << 20],
        7,
    );
    within(loaded).await.unwrap();
}

#[tokio::test]
async fn refusals_and_versions_come_through() {
    let mut client = connect().await;
    let all = v1::get_forwarding_pipeline_config_request::ResponseType::All;
    let error = within(client.get_forwarding_pipeline_config(all))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ClientError::Rpc(status) if status.code() == Code::FailedPrecondition)
    );
    assert_eq!(
        within(client.capabilities())
            .await
            .unwrap()
            .p4runtime_api_version,
        "1.4.0"
    );
}

#[tokio::test]
async fn nobody_listening_is_an_error_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = within(Client::connect(&address, 1, Some(DEADLINE)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}
