//! The P4 program as the controller needs it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use p4runtime::p4info::{EntityError, LookupError, P4Info};
use p4runtime::{config, v1};
use prost::Message;

use crate::constants::{OUT_LEASE, PATH_COUNTER};
use crate::tables::{
    Key, Mac, Rate, TABLES, Value, answer, digests, dmac, encode, endpoint, meters,
    open_publication, publication, service, share, smac, subscriber, subscriber_alias, topic, vlan,
};

/// The program: what a target loads.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// Its control-plane interface.
    pub p4info: Arc<P4Info>,
    /// In the target's own form: p4c's BMv2 JSON, say.
    pub device_config: Vec<u8>,
}

/// A program that this controller cannot work with.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// P4Info lacks something.
    #[error("this P4Info is not of the program that this controller is for: {0}")]
    Mismatch(#[from] EntityError),
    /// P4Info lacks a name.
    #[error("this P4Info is not of the program that this controller is for: {0}")]
    Lookup(#[from] LookupError),
    /// The device configuration is empty.
    #[error("the device configuration is empty: there is nothing to load into the switch")]
    Empty,
}

/// A checked program.
#[derive(Clone, Debug)]
pub struct Schema {
    pipeline: PipelineConfig,
    cookie: u64,
}

impl Schema {
    /// Checks that P4Info has every table, field, action and parameter that the controller uses.
    ///
    /// # Errors
    /// [`PipelineError`] names the first that is missing.
    pub fn new(pipeline: PipelineConfig) -> Result<Self, PipelineError> {
        if pipeline.device_config.is_empty() {
            return Err(PipelineError::Empty);
        }
        let p4info = &pipeline.p4info;
        for (key, value) in samples() {
            encode(p4info, &key, Some(&value))?;
        }
        for kind in digests::Kind::ALL {
            p4info.digest(kind.name())?;
        }
        lease_packet(p4info, 0, 0)?;
        for name in ["reason", "timestamp", "request"] {
            p4info.packet_in()?.metadata.get(name)?;
        }
        p4info.counter(PATH_COUNTER)?;
        let cookie = cookie(p4info.message(), &pipeline.device_config);
        Ok(Self { pipeline, cookie })
    }

    /// The control-plane interface.
    pub fn p4info(&self) -> &P4Info {
        &self.pipeline.p4info
    }

    /// In the target's own form.
    pub fn device_config(&self) -> &[u8] {
        &self.pipeline.device_config
    }

    /// Tells this program from others (P4Runtime specification, "ForwardingPipelineConfig").
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// How many rows each table has room for.
    pub fn sizes(&self) -> HashMap<&'static str, usize> {
        TABLES
            .into_iter()
            .filter_map(|name| {
                let size = self.p4info().table(name).ok()?.size;
                let size = usize::try_from(size).ok()?;
                (size > 0).then_some((name, size))
            })
            .collect()
    }
}

/// Packet-out `OUT_LEASE`.
pub(crate) fn lease_packet(
    p4info: &P4Info,
    deadline_us: u64,
    request: u32,
) -> Result<v1::PacketOut, EntityError> {
    p4info
        .packet_out()?
        .packet()
        .metadata("operation", OUT_LEASE)?
        .metadata("egress_port", 0u16)?
        .metadata("deadline", deadline_us)?
        .metadata("request", request)?
        .packet_out(Vec::new())
}

/// One row of every table, to see whether it can be built.
fn samples() -> Vec<(Key, Value)> {
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let [v4, v6] = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    let rate = Rate {
        packets_per_s: 1,
        burst: 1,
    };
    let idle_timeout = Duration::from_secs(1);
    let rid = 1;
    let mut samples = Vec::new();
    for ip in [v4, v6] {
        let service = service::Key {
            ip_dst: ip,
            udp_dst: 1,
        };
        let serve = service::Action { max_length: 1500 };
        samples.push((Key::Service(service), Value::Service(serve)));
        let answer = answer::Key {
            ip_src: ip,
            udp_src: 1,
        };
        let answers = answer::Action { port: 1 };
        samples.push((Key::Answer(answer), Value::Answer(answers)));
        let endpoint = endpoint::Key {
            vid: 1,
            eth_src: mac,
            eth_dst: mac,
            ip_dst: ip,
        };
        let known = endpoint::Action {
            ip_src: None,
            port: 1,
        };
        samples.push((Key::Endpoint(endpoint), Value::Endpoint(known)));
        for vid in [0, 1] {
            let deliver = subscriber::Action {
                eth_src: mac,
                eth_dst: mac,
                vid,
                ip_src: ip,
                ip_dst: ip,
                udp_src: 1,
                udp_dst: 1,
            };
            let subscriber = Key::Subscriber(subscriber::Key { rid });
            samples.push((subscriber, Value::Subscriber(deliver)));
        }
        let publication = publication::Key {
            ingress_port: 1,
            vid: 1,
            ip_src: ip,
            udp_src: 1,
            topic_id_type: 1,
            topic_id: 1,
        };
        let admit = publication::Action {
            topic_index: 1,
            idle_timeout,
            rate: Some(rate),
        };
        samples.push((Key::Publication(publication), Value::Publication(admit)));
    }
    let smac = smac::Key {
        eth_src: mac,
        vid: 1,
        ingress_port: 1,
    };
    let dmac = dmac::Key {
        eth_dst: mac,
        vid: 1,
    };
    let vlan = Key::Vlan(vlan::Key {
        vid: 1,
        ingress_port: 1,
    });
    let member = vlan::Action::Member { flood_group: 1 };
    let alias = subscriber_alias::Key {
        topic_index: 1,
        rid,
    };
    let set_alias = subscriber_alias::Action {
        copy_flags: 1,
        topic_id: 1,
    };
    let offload = topic::Offload {
        group_q0: 2,
        group_q1: 2,
        copy_q0: true,
        copy_q1: true,
        ack_q1: true,
        aliased: true,
        translated: true,
        generation: 1,
        copy_flags: 1,
        copy_topic_id: 1,
    };
    let to_one = topic::ToOne {
        port: 1,
        rid,
        ack_q1: true,
        translated: true,
        generation: 1,
        copy_flags: 1,
        copy_topic_id: 1,
    };
    let open = open_publication::Key {
        topic_id_type: 1,
        topic_id: 1,
    };
    let admit_open = open_publication::Action { topic_index: 1 };
    let topic = Key::Topic(topic::Key { topic_index: 1 });
    let shared = topic::Key { topic_index: 1 };
    let discard = topic::Action::Discard { generation: 1 };
    samples.extend([
        (Key::Meter(meters::Kind::Open, 1), Value::Rate(rate)),
        (Key::Meter(meters::Kind::Software, 1), Value::Rate(rate)),
        (vlan, Value::Vlan(member)),
        (vlan, Value::Vlan(vlan::Action::Refuse)),
        (Key::Smac(smac), Value::Smac(smac::Action { idle_timeout })),
        (Key::Dmac(dmac), Value::Dmac(dmac::Action { port: 1 })),
        (
            Key::SubscriberAlias(alias),
            Value::SubscriberAlias(set_alias),
        ),
        (topic, Value::Topic(topic::Action::Offload(offload))),
        (Key::ShareMember(1), Value::ShareMember(offload)),
        (Key::ShareGroup(1), Value::ShareGroup(share::members([1]))),
        (Key::SharedTopic(shared), Value::SharedTopic(1)),
        (topic, Value::Topic(topic::Action::ToOne(to_one))),
        (topic, Value::Topic(discard)),
        (
            Key::OpenPublication(open),
            Value::OpenPublication(admit_open),
        ),
    ]);
    samples
}

/// FNV-1a over the program. It only tells two versions apart that nobody made alike on purpose.
fn cookie(p4info: &config::P4Info, device_config: &[u8]) -> u64 {
    let mut plain = p4info.clone();
    // Its maps have no order; sorted here, so that the same program gives the same cookie.
    let types = plain.type_info.take().unwrap_or_default();
    let structs: BTreeMap<_, _> = types.structs.iter().collect();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    eat(&plain.encode_to_vec());
    for (name, spec) in structs {
        eat(name.as_bytes());
        eat(&spec.encode_to_vec());
    }
    eat(device_config);
    hash
}
