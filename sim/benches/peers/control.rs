//! Loads the MQTT-SN program and its entries over P4Runtime, the same into every switch.

use std::time::{Duration, Instant};

use p4runtime::client::Client;
use p4runtime::p4info::{EntityError, EntryBuilder, P4Info};
use p4runtime::v1;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use p4runtime::v1::stream_message_request::Update as Request;
use p4runtime::v1::stream_message_response::Update as Response;

use crate::bed::{GRPC, repository};
use crate::load::{BROKER_IP, CLIENT_IP, CLIENT_MAC, Latency};

/// Other entries in each of the large tables.
const OTHERS: u32 = 1000;
const DEADLINE: Duration = Duration::from_secs(20);

/// Whoever has programmed a switch; the flows pass while this lives.
pub(crate) struct Controller {
    runtime: tokio::runtime::Runtime,
    client: Client,
    p4info: P4Info,
    _stream: p4runtime::client::Stream,
}

/// The entry of an exact table.
fn entry(
    p4info: &P4Info,
    table: &str,
    key: &[(&str, u64)],
    action: &str,
    params: &[(&str, u64)],
) -> Result<v1::TableEntry, EntityError> {
    let mut entry: EntryBuilder<'_> = p4info.table(table).expect("a table of the program").entry();
    for &(field, value) in key {
        entry = entry.exact(field, value)?;
    }
    entry = entry.action(action)?;
    for &(param, value) in params {
        entry = entry.param(param, value)?;
    }
    entry.build()
}

fn offload(p4info: &P4Info, topic: u64, group: u64, generation: u64) -> v1::TableEntry {
    let params = [
        ("group_q0", group),
        ("group_q1", group),
        ("copy_q0", 0),
        ("copy_q1", 0),
        ("ack_q1", 0),
        ("aliased", 0),
        ("translated", 0),
        ("generation", generation),
        ("copy_flags", 0),
        ("copy_topic_id", topic),
    ];
    let key = [("topic_index", topic)];
    entry(
        p4info,
        "MqttsnIngress.topic",
        &key,
        "MqttsnIngress.offload",
        &params,
    )
    .expect("fits")
}

/// Flow `f`: a publisher at port 1 + 2f, its subscriber at port 2 + 2f.
fn flow(p4info: &P4Info, flow: u64) -> Result<Vec<v1::Update>, EntityError> {
    let (port, out, topic) = (1 + 2 * flow, 2 + 2 * flow, flow + 1);
    let ip = u64::from(CLIENT_IP) + flow;
    let mac = CLIENT_MAC + flow;
    let make = |table: &str, key: &[(&str, u64)], action: &str, params: &[(&str, u64)]| {
        let table = format!("MqttsnIngress.{table}");
        let action = format!("MqttsnIngress.{action}");
        entry(p4info, &table, key, &action, params).map(v1::Update::insert)
    };
    let publication = [
        ("ingress_port", port),
        ("vid", 0),
        ("ip_src", ip),
        ("udp_src", 40_000),
        ("topic_id_type", 0),
        ("topic_id", topic),
    ];
    let deliver = [
        ("eth_src", 0x0200_0000_0001),
        ("eth_dst", 0x0200_0000_0300 + flow),
        ("ip_src", u64::from(BROKER_IP)),
        ("ip_dst", u64::from(BROKER_IP) + 100 + flow),
        ("udp_src", 1883),
        ("udp_dst", 40_000),
    ];
    // What the controller writes for a topic with one subscriber.
    let to_one = [
        ("port", out),
        ("rid", topic),
        ("ack_q1", 0),
        ("translated", 0),
        ("generation", 7),
        ("copy_flags", 0),
        ("copy_topic_id", topic),
    ];
    Ok(vec![
        make(
            "smac",
            &[("eth_src", mac), ("vid", 0), ("ingress_port", port)],
            "mac_known",
            &[],
        )?,
        make(
            "publication",
            &publication,
            "admit",
            &[("topic_index", topic)],
        )?,
        make(
            "topic",
            &[("topic_index", topic)],
            "offload_to_one",
            &to_one,
        )?,
        v1::Update::insert(entry(
            p4info,
            "MqttsnEgress.subscriber",
            &[("rid", topic)],
            "MqttsnEgress.deliver",
            &deliver,
        )?),
    ])
}

impl Controller {
    /// Programs the switch that serves at [`GRPC`] for so many flows.
    pub(crate) fn connect(device: u64, flows: u64) -> Self {
        Self::connect_to(GRPC, device, flows)
    }

    pub(crate) fn connect_to(address: &str, device: u64, flows: u64) -> Self {
        let path = |name: &str| repository("p4src/compiled").join(name);
        let p4info = P4Info::load(path("mqttsn.p4info.txtpb")).expect("p4src is compiled");
        let json = std::fs::read(path("mqttsn.json")).expect("p4src is compiled");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (client, stream) = runtime.block_on(program(address, device, flows, &p4info, json));
        Controller {
            runtime,
            client,
            p4info,
            _stream: stream,
        }
    }

    /// How long writes of one MODIFY take, one after another.
    pub(crate) fn write_latency(&mut self, count: u64) -> Latency {
        let mut times = Vec::new();
        for i in 0..count {
            let update = v1::Update::modify(offload(&self.p4info, 10 + i % 100, 1, i));
            let start = Instant::now();
            let written = self.runtime.block_on(self.client.write(vec![update]));
            written.expect("the entry is there");
            times.push(start.elapsed());
        }
        Latency::of(times)
    }
}

async fn program(
    address: &str,
    device: u64,
    flows: u64,
    p4info: &P4Info,
    json: Vec<u8>,
) -> (Client, p4runtime::client::Stream) {
    let deadline = Instant::now() + DEADLINE;
    let mut client = loop {
        match Client::connect(address, device, Some(Duration::from_secs(1))).await {
            Ok(client) => break client,
            Err(error) => assert!(
                Instant::now() < deadline,
                "the switch does not serve: {error}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut stream = client.open_stream(1, None).await.expect("the stream");
    let info = p4info.message().clone();
    let set = client.set_forwarding_pipeline_config(Action::VerifyAndCommit, info, json, 1);
    set.await.expect("the switch takes the program");
    let service = entry(
        p4info,
        "MqttsnIngress.service",
        &[("ip_dst", u64::from(BROKER_IP)), ("udp_dst", 1883)],
        "MqttsnIngress.serve",
        &[("max_length", 1500)],
    );
    let mut updates = vec![v1::Update::insert(service.expect("fits"))];
    for i in 0..OTHERS {
        let topic = u64::from(i) + 10;
        updates.push(v1::Update::insert(offload(p4info, topic, 1, 7)));
    }
    client
        .write(updates)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    for f in 0..flows {
        for update in flow(p4info, f).expect("fits") {
            // One by one: an entry may need the one before it.
            let written = client.write(vec![update]).await;
            written.unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let lease = p4info.packet_out().expect("packet_out").packet();
    let lease = lease
        .metadata("operation", 2_u64)
        .and_then(|p| p.metadata("egress_port", 0_u64))
        .and_then(|p| p.metadata("deadline", 0xffff_ffff_ffff_u64))
        .and_then(|p| p.metadata("request", 1_u64))
        .and_then(|p| p.packet_out(&[][..]))
        .expect("the header of the program");
    stream
        .send(Request::Packet(lease))
        .await
        .expect("the stream is open");
    loop {
        let message = stream.recv().await.expect("the stream is open");
        let update = message.and_then(|message| message.update);
        if matches!(update, Some(Response::Packet(_))) {
            return (client, stream);
        }
    }
}
