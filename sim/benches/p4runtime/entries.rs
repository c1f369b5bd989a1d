//! Entries of our P4 program: those that the traffic needs, and many others beside them.

use p4runtime::p4info::{EntityError, P4Info};
use p4runtime::v1;
use p4runtime::v1::update::Type;

use crate::traffic::{
    BROKER_IP, BROKER_UDP, CLIENT_IP, CLIENT_MAC, CLIENT_UDP, SUBSCRIBER_IP, SUBSCRIBER_MAC, TOPIC,
};

/// The replication id of the subscriber.
const RID: u32 = 7;
/// Its multicast group.
const GROUP: u32 = 9;
const MAX_LENGTH: u16 = 1500;

/// An update of an entity.
pub(crate) fn update(kind: Type, entity: impl Into<v1::Entity>) -> v1::Update {
    v1::Update {
        r#type: kind.into(),
        entity: Some(entity.into()),
    }
}

fn publication(
    p4info: &P4Info,
    ip: u32,
    topic_id: u16,
    index: u32,
) -> Result<v1::TableEntry, EntityError> {
    let entry = p4info.table("publication")?.entry();
    entry
        .exact("ingress_port", 1_u16)?
        .exact("vid", 0_u8)?
        .exact("ip_src", ip)?
        .exact("udp_src", CLIENT_UDP)?
        .exact("topic_id_type", 0_u8)?
        .exact("topic_id", topic_id)?
        .action("admit")?
        .param("topic_index", index)?
        .build()
}

fn topic(p4info: &P4Info, index: u32) -> Result<v1::TableEntry, EntityError> {
    let mut entry = p4info
        .table("topic")?
        .entry()
        .exact("topic_index", index)?
        .action("offload")?;
    let action = p4info.action("offload")?;
    for param in &action.params {
        let value = match param.name.as_str() {
            "group_q0" | "group_q1" => GROUP,
            "copy_topic_id" => u32::from(TOPIC),
            "generation" => 7,
            _ => 0,
        };
        entry = entry.param(param.name.as_str(), value)?;
    }
    entry.build()
}

/// What one publication with one subscriber takes.
pub(crate) fn base(p4info: &P4Info) -> Result<Vec<v1::Update>, EntityError> {
    let insert = |entity: v1::Entity| update(Type::Insert, entity);
    let smac = p4info.table("smac")?.entry();
    let smac = smac
        .exact("eth_src", CLIENT_MAC)?
        .exact("vid", 0_u8)?
        .exact("ingress_port", 1_u16)?
        .action("mac_known")?
        .build()?;
    let service = p4info.table("service")?.entry();
    let service = service
        .exact("ip_dst", BROKER_IP)?
        .exact("udp_dst", BROKER_UDP)?
        .action("serve")?
        .param("max_length", MAX_LENGTH)?
        .build()?;
    let subscriber = p4info.table("subscriber")?.entry();
    let subscriber = subscriber
        .exact("rid", RID)?
        .action("deliver")?
        .param("eth_src", CLIENT_MAC)?
        .param("eth_dst", SUBSCRIBER_MAC)?
        .param("ip_src", BROKER_IP)?
        .param("ip_dst", SUBSCRIBER_IP)?
        .param("udp_src", BROKER_UDP)?
        .param("udp_dst", CLIENT_UDP)?
        .build()?;
    let group = v1::MulticastGroupEntry {
        multicast_group_id: GROUP,
        replicas: vec![v1::Replica {
            port_kind: Some(v1::replica::PortKind::Port(vec![2])),
            instance: RID,
            ..Default::default()
        }],
        ..Default::default()
    };
    Ok(vec![
        insert(smac.into()),
        insert(service.into()),
        insert(subscriber.into()),
        insert(group.into()),
        insert(publication(p4info, CLIENT_IP, TOPIC, 1)?.into()),
        insert(topic(p4info, 1)?.into()),
    ])
}

/// A packet-out that lets the switch offload until long after this has ended.
pub(crate) fn lease(p4info: &P4Info) -> Result<v1::PacketOut, EntityError> {
    p4info
        .packet_out()?
        .packet()
        .metadata("operation", 2_u8)?
        .metadata("egress_port", 0_u8)?
        .metadata("deadline", u64::MAX >> 24)?
        .metadata("request", 1_u8)?
        .packet_out(&[][..])
}

/// Others: `each` publications and as many topics.
pub(crate) fn many(p4info: &P4Info, each: u32) -> Result<Vec<v1::TableEntry>, EntityError> {
    (0..each)
        .flat_map(|n| {
            let index = n + 10;
            [
                publication(p4info, 0x0b00_0000 + n, 1, index),
                topic(p4info, index),
            ]
        })
        .collect()
}
