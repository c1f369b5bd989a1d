//! The server behind gRPC, with threads and real time: in memory and over TCP.

use std::time::{Duration, Instant};

use crate::p4runtime_fixture::{Fixture, bid, config, frame};
use p4runtime::client::Client;
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::p4_runtime_client::P4RuntimeClient;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;
use sim::ports::MemLink;
use sim::runtime::{RunningRuntime, RuntimeConfig};
use sim::server::{connect_in_memory, serve_tcp};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

const PATIENCE: Duration = Duration::from_secs(20);

fn running() -> (RunningRuntime, Vec<MemLink>) {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let Fixture { runtime, links, .. } = fixture;
    (runtime.start().expect("threads and descriptors"), links)
}

/// Opens a stream and bids; gives the stream and the sending side.
async fn open(
    rpc: &mut P4RuntimeClient<Channel>,
    election_id: u128,
) -> (
    tokio::sync::mpsc::Sender<v1::StreamMessageRequest>,
    Streaming<v1::StreamMessageResponse>,
) {
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    sender.send(bid(1, Some(election_id))).await.expect("room");
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let responses = rpc
        .stream_channel(requests)
        .await
        .expect("opened")
        .into_inner();
    (sender, responses)
}

async fn message(stream: &mut Streaming<v1::StreamMessageResponse>) -> Response {
    let next = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("in time");
    next.expect("no error")
        .expect("not the end")
        .update
        .expect("not empty")
}

fn code(response: Response) -> Code {
    match response {
        Response::Arbitration(update) => Code::from(update.status.expect("a status").code),
        other => panic!("not an arbitration: {other:?}"),
    }
}

async fn set_pipeline(rpc: &mut P4RuntimeClient<Channel>) {
    rpc.set_forwarding_pipeline_config(v1::SetForwardingPipelineConfigRequest {
        device_id: 1,
        election_id: Some(1.into()),
        action: Action::VerifyAndCommit.into(),
        config: Some(config()),
        ..Default::default()
    })
    .await
    .expect("the pipeline is good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_in_memory_sees_packets_and_digests_and_forwards() {
    let (running, links) = running();
    let mut rpc = P4RuntimeClient::new(connect_in_memory(running.service()));
    let (to_device, mut stream) = open(&mut rpc, 1).await;
    assert_eq!(code(message(&mut stream).await), Code::Ok);
    set_pipeline(&mut rpc).await;

    links[0].send(&frame(1, 9)).expect("room");
    match message(&mut stream).await {
        Response::Packet(packet) => assert_eq!(packet.payload, frame(1, 9)),
        other => panic!("not a packet: {other:?}"),
    }
    let metadata = |metadata_id, value| v1::PacketMetadata {
        metadata_id,
        value: vec![value],
    };
    let out = v1::PacketOut {
        payload: frame(9, 1),
        metadata: vec![metadata(1, 2), metadata(2, 0)],
    };
    let out = v1::StreamMessageRequest {
        update: Some(Request::Packet(out)),
    };
    to_device.send(out).await.expect("the stream is open");
    let left = tokio::time::timeout(PATIENCE, links[1].recv())
        .await
        .expect("in time");
    assert_eq!(left, Some(frame(9, 1)));

    let p4info = crate::p4runtime_fixture::p4info();
    let digest_id = p4info.digest("learn_t").expect("there").id;
    let enable = v1::DigestEntry {
        digest_id,
        config: Some(v1::digest_entry::Config {
            max_list_size: 1,
            ..Default::default()
        }),
    };
    let write = v1::WriteRequest {
        device_id: 1,
        election_id: Some(1.into()),
        updates: vec![Update::insert(enable)],
        ..Default::default()
    };
    rpc.write(write).await.expect("enabled");
    links[0].send(&frame(1, 8)).expect("room");
    loop {
        // The packet-in of the same frame may come first.
        match message(&mut stream).await {
            Response::Digest(list) => {
                assert_eq!(list.digest_id, digest_id);
                // Nanoseconds since 1970, and not since the switch started.
                assert!(list.timestamp > 1_500_000_000_000_000_000);
                break;
            }
            Response::Packet(_) => {}
            other => panic!("neither digest nor packet: {other:?}"),
        }
    }
    running.shutdown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typed_client_works_over_tcp_and_long_answers_come_in_parts() {
    let (running, _links) = running();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve_tcp(running.service(), listener, async {
        let _ = stopped.await;
    }));
    let mut client = Client::connect(&address, 1, Some(PATIENCE))
        .await
        .expect("connected");
    let stream = client.open_stream(1, None).await.expect("opened");
    assert!(stream.is_primary());
    let v1::ForwardingPipelineConfig {
        p4info,
        p4_device_config,
        ..
    } = config();
    client
        .set_forwarding_pipeline_config(
            Action::VerifyAndCommit,
            p4info.expect("set"),
            p4_device_config,
            1,
        )
        .await
        .expect("the pipeline is good");
    let groups = (1..=2_000).map(|multicast_group_id| {
        Update::insert(v1::MulticastGroupEntry {
            multicast_group_id,
            ..Default::default()
        })
    });
    client.write(groups.collect()).await.expect("written");
    let all = v1::MulticastGroupEntry::default();
    let read = client.read(vec![all.into()]).await.expect("read");
    assert_eq!(read.len(), 2_000);
    let twice = v1::MulticastGroupEntry {
        multicast_group_id: 1,
        ..Default::default()
    };
    let error = client
        .write(vec![Update::insert(twice)])
        .await
        .expect_err("exists");
    assert_eq!(error.failed().count(), 1);
    // An open stream does not keep the server from ending.
    stop.send(()).expect("the server runs");
    let ended = tokio::time::timeout(PATIENCE, server)
        .await
        .expect("in time");
    ended.expect("no panic").expect("no error");
    drop((client, stream));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_connection_demotes_and_a_bad_bid_ends_the_stream() {
    let (running, _links) = running();
    let channel = || connect_in_memory(running.service());
    let mut first = P4RuntimeClient::new(channel());
    let mut second = P4RuntimeClient::new(channel());
    let primary = open(&mut first, 5).await;
    let (_to_device, mut backup) = open(&mut second, 4).await;
    assert_eq!(code(message(&mut backup).await), Code::AlreadyExists);

    let (_to_device, mut third) = open(&mut second, 4).await;
    let ended = tokio::time::timeout(PATIENCE, third.message())
        .await
        .expect("in time");
    assert_eq!(ended.expect_err("ended").code(), Code::InvalidArgument);

    drop((primary, first));
    assert_eq!(code(message(&mut backup).await), Code::NotFound);
}

#[test]
fn a_running_switch_shuts_down_at_once() {
    let (running, _links) = running();
    let before = Instant::now();
    running.shutdown();
    assert!(before.elapsed() < PATIENCE);
}
