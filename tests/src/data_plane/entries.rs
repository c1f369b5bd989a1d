//! Entries of the program's tables, by their names.

use std::net::IpAddr;
use std::time::Duration;

use p4runtime::p4info::EntityError;
use p4runtime::v1;

use super::{DataPlane, SESSION_COPY};
use crate::hosts::Host;

/// What `topic` says of a topic. The default serves nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Multicast group of a PUBLISH of QoS 0 or −1; 0 for none.
    pub group_q0: u16,
    /// Multicast group of a PUBLISH of QoS 1.
    pub group_q1: u16,
    /// `group_q0` holds the broker's copy.
    pub copy_q0: bool,
    /// `group_q1` holds the broker's copy.
    pub copy_q1: bool,
    /// The data plane acknowledges QoS 1.
    pub ack_q1: bool,
    /// Some subscribers have an alias of their own.
    pub aliased: bool,
    /// Some subscribers are reached over IPv6.
    pub translated: bool,
    /// Names the set of subscribers.
    pub generation: u32,
    /// Flags of the copies.
    pub copy_flags: u8,
    /// TopicId of the copies.
    pub copy_topic_id: u16,
}

impl Offload {
    fn params(&self) -> [(&'static str, u32); 10] {
        [
            ("group_q0", self.group_q0.into()),
            ("group_q1", self.group_q1.into()),
            ("copy_q0", self.copy_q0.into()),
            ("copy_q1", self.copy_q1.into()),
            ("ack_q1", self.ack_q1.into()),
            ("aliased", self.aliased.into()),
            ("translated", self.translated.into()),
            ("generation", self.generation),
            ("copy_flags", self.copy_flags.into()),
            ("copy_topic_id", self.copy_topic_id.into()),
        ]
    }
}

/// What a fixture writes is what the program declares, so a mistake ends the test.
fn declared(entry: Result<v1::TableEntry, EntityError>) -> v1::TableEntry {
    entry.unwrap_or_else(|error| panic!("the program does not take this entry: {error}"))
}

impl DataPlane {
    /// Inserts an entry of exact matches and an action with parameters.
    pub fn insert(
        &mut self,
        table: &str,
        matches: &[(&str, u128)],
        action: &str,
        params: &[(&str, u128)],
    ) {
        let entry = self.entry(table, matches, action, params);
        self.write(vec![v1::Update::insert(entry)]);
    }

    /// An entry of exact matches and an action with parameters.
    pub fn entry(
        &self,
        table: &str,
        matches: &[(&str, u128)],
        action: &str,
        params: &[(&str, u128)],
    ) -> v1::TableEntry {
        let table = self.p4info().table(table).expect("a table of the program");
        let build = || {
            let mut entry = table.entry();
            for (field, value) in matches {
                entry = entry.exact(field, *value)?;
            }
            entry = entry.action(action)?;
            for (param, value) in params {
                entry = entry.param(param, *value)?;
            }
            entry.build()
        };
        declared(build())
    }

    /// The key of an entry.
    pub fn key(&self, table: &str, matches: &[(&str, u128)]) -> v1::TableEntry {
        let table = self.p4info().table(table).expect("a table of the program");
        let build = || {
            let mut entry = table.entry();
            for (field, value) in matches {
                entry = entry.exact(field, *value)?;
            }
            entry.build_key()
        };
        declared(build())
    }

    /// Makes a host's port and MAC address known: what goes to it is not flooded.
    pub fn know(&mut self, host: &Host) {
        let known = [
            ("eth_src", mac(host.mac)),
            ("vid", host.vid.into()),
            ("ingress_port", host.port.into()),
        ];
        self.insert("smac", &known, "mac_known", &[]);
        self.insert(
            "dmac",
            &[("eth_dst", mac(host.mac)), ("vid", host.vid.into())],
            "forward",
            &[("port", host.port.into())],
        );
    }

    /// Makes a host's UDP address a service.
    pub fn serve(&mut self, host: &Host, max_length: u16) {
        let key = [("ip_dst", ip(host)), ("udp_dst", host.udp.into())];
        let (table, action) = match host.ip {
            IpAddr::V4(_) => ("service", "serve"),
            IpAddr::V6(_) => ("service_v6", "serve_v6"),
        };
        self.insert(table, &key, action, &[("max_length", max_length.into())]);
    }

    /// Says from which port a host's UDP address, a service, is believed.
    pub fn answers(&mut self, host: &Host, port: u16) {
        let key = [("ip_src", ip(host)), ("udp_src", host.udp.into())];
        let table = match host.ip {
            IpAddr::V4(_) => "answer",
            IpAddr::V6(_) => "answer_v6",
        };
        self.insert(table, &key, "answers", &[("port", port.into())]);
    }

    /// Makes known how the broker's host addresses frames for a client.
    pub fn place(&mut self, broker: &Host, client: &Host) {
        let key = [
            ("vid", client.vid.into()),
            ("eth_src", mac(broker.mac)),
            ("eth_dst", mac(client.mac)),
            ("ip_dst", ip(client)),
        ];
        let (table, action) = match client.ip {
            IpAddr::V4(_) => ("endpoint", "endpoint_known"),
            IpAddr::V6(_) => ("endpoint_v6", "endpoint_v6_known"),
        };
        self.insert(table, &key, action, &[]);
    }

    /// The key of a publication.
    pub fn publication(host: &Host, topic_id_type: u8, topic_id: u16) -> [(&'static str, u128); 6] {
        [
            ("ingress_port", host.port.into()),
            ("vid", host.vid.into()),
            ("ip_src", ip(host)),
            ("udp_src", host.udp.into()),
            ("topic_id_type", topic_id_type.into()),
            ("topic_id", topic_id.into()),
        ]
    }

    /// Lets a host publish to a topic under an alias.
    pub fn admit(&mut self, host: &Host, topic_id_type: u8, topic_id: u16, topic_index: u32) {
        let key = Self::publication(host, topic_id_type, topic_id);
        let (table, action) = match host.ip {
            IpAddr::V4(_) => ("publication", "admit"),
            IpAddr::V6(_) => ("publication_v6", "admit_v6"),
        };
        self.insert(table, &key, action, &[("topic_index", topic_index.into())]);
    }

    /// Lets anybody publish at QoS −1 under an alias.
    pub fn admit_open(&mut self, topic_id_type: u8, topic_id: u16, topic_index: u32) {
        let key = [
            ("topic_id_type", topic_id_type.into()),
            ("topic_id", topic_id.into()),
        ];
        let params = [("topic_index", topic_index.into())];
        self.insert("open_publication", &key, "admit_open", &params);
    }

    /// Offloads a topic.
    pub fn offload(&mut self, topic_index: u32, offload: Offload) {
        let params = offload
            .params()
            .map(|(name, value)| (name, u128::from(value)));
        self.insert(
            "topic",
            &[("topic_index", topic_index.into())],
            "offload",
            &params,
        );
    }

    /// Offloads a topic to one subscriber alone, without a copy for the broker; at QoS 1 only where
    /// the data plane acknowledges. What `offload` says of groups, copies and aliases does not count.
    pub fn offload_to_one(&mut self, topic_index: u32, port: u16, rid: u16, offload: Offload) {
        let params = [
            ("port", port.into()),
            ("rid", rid.into()),
            ("ack_q1", offload.ack_q1.into()),
            ("translated", offload.translated.into()),
            ("generation", offload.generation.into()),
            ("copy_flags", offload.copy_flags.into()),
            ("copy_topic_id", offload.copy_topic_id.into()),
        ];
        let key = [("topic_index", topic_index.into())];
        self.insert("topic", &key, "offload_to_one", &params);
    }

    /// Offloads a topic that nobody subscribes to.
    pub fn discard(&mut self, topic_index: u32, generation: u32) {
        let key = [("topic_index", topic_index.into())];
        self.insert(
            "topic",
            &key,
            "discard",
            &[("generation", generation.into())],
        );
    }

    /// Offloads a topic through a selector with these members, all of weight 1.
    pub fn share(&mut self, topic_index: u32, members: &[Offload]) {
        let profile = self
            .p4info()
            .action_profile("share_group")
            .expect("the selector")
            .id;
        let action = self
            .p4info()
            .action("offload_to_member")
            .expect("an action")
            .clone();
        let mut group = v1::ActionProfileGroup {
            action_profile_id: profile,
            group_id: topic_index,
            max_size: i32::try_from(members.len()).expect("few"),
            ..Default::default()
        };
        let mut updates = Vec::new();
        for (member_id, offload) in (topic_index * 100..).zip(members) {
            let mut call = action.call();
            for (name, value) in offload.params() {
                call = call.param(name, value).expect("a parameter of the program");
            }
            updates.push(v1::Update::insert(v1::ActionProfileMember {
                action_profile_id: profile,
                member_id,
                action: Some(call.build().expect("all parameters")),
            }));
            group.members.push(v1::action_profile_group::Member {
                member_id,
                weight: 1,
                ..Default::default()
            });
        }
        self.write(updates);
        self.write(vec![v1::Update::insert(group)]);
        let table = self
            .p4info()
            .table("shared_topic")
            .expect("a table of the program");
        let entry = table.entry().exact("topic_index", topic_index);
        let entry = declared(entry.and_then(|entry| entry.group(topic_index).build()));
        self.write(vec![v1::Update::insert(entry)]);
    }

    /// Describes a subscriber: copies with this replication id go to `to`, as if `from` sent them,
    /// with the tag of the subscriber's VLAN.
    pub fn subscriber(&mut self, rid: u16, from: &Host, to: &Host) {
        let mut params = vec![
            ("eth_src", mac(from.mac)),
            ("eth_dst", mac(to.mac)),
            ("ip_src", ip(from)),
            ("ip_dst", ip(to)),
            ("udp_src", from.udp.into()),
            ("udp_dst", to.udp.into()),
        ];
        if to.vid != 0 {
            params.push(("vid", to.vid.into()));
        }
        let action = match (to.ip, to.vid) {
            (IpAddr::V4(_), 0) => "deliver",
            (IpAddr::V4(_), _) => "deliver_tagged",
            (IpAddr::V6(_), 0) => "deliver_v6",
            (IpAddr::V6(_), _) => "deliver_v6_tagged",
        };
        self.insert("subscriber", &[("rid", rid.into())], action, &params);
    }

    /// Names a VLAN's ports among all of the switch's: its frames come from these only, and are
    /// flooded to the group, which is to hold them with `RID_FLOOD`.
    pub fn vlan(&mut self, vid: u16, ports: &[u16], all: &[u16], group: u16) {
        let replicas: Vec<_> = ports.iter().map(|port| (*port, super::RID_FLOOD)).collect();
        self.group(group, &replicas);
        for port in all {
            let key = [("vid", vid.into()), ("ingress_port", (*port).into())];
            if ports.contains(port) {
                self.insert("vlan", &key, "member", &[("flood_group", group.into())]);
            } else {
                self.insert("vlan", &key, "refuse", &[]);
            }
        }
    }

    /// Limits the packets of one port in an indirect meter to one a second, and one in reserve.
    pub fn limit(&mut self, meter: &str, port: u16) {
        let entry = v1::MeterEntry {
            meter_id: self.p4info().meter(meter).expect("a meter").id,
            index: Some(v1::Index { index: port.into() }),
            config: Some(v1::MeterConfig {
                cir: 1,
                cburst: 1,
                pir: 1,
                pburst: 1,
                ..Default::default()
            }),
            ..Default::default()
        };
        self.write(vec![v1::Update::modify(entry)]);
    }

    /// Gives a subscriber an alias of its own for a topic.
    pub fn alias(&mut self, topic_index: u32, rid: u16, copy_flags: u8, topic_id: u16) {
        let key = [("topic_index", topic_index.into()), ("rid", rid.into())];
        let params = [
            ("copy_flags", copy_flags.into()),
            ("topic_id", topic_id.into()),
        ];
        self.insert("subscriber_alias", &key, "set_alias", &params);
    }

    /// Makes a multicast group of (port, replication id).
    pub fn group(&mut self, id: u16, replicas: &[(u16, u32)]) {
        let entry = v1::MulticastGroupEntry {
            multicast_group_id: id.into(),
            replicas: replicas
                .iter()
                .map(|(port, rid)| replica(*port, *rid))
                .collect(),
            ..Default::default()
        };
        self.write(vec![v1::Update::insert(entry)]);
    }

    /// The direct counter (packets, octets) of the entry with this key.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn direct_count(&mut self, table: &str, matches: &[(&str, u128)]) -> (i64, i64) {
        let table_entry = self.key(table, matches);
        let found = self.read(v1::DirectCounterEntry {
            table_entry: Some(table_entry),
            data: None,
        });
        let [
            v1::Entity {
                entity: Some(v1::entity::Entity::DirectCounterEntry(entry)),
            },
        ] = &found[..]
        else {
            panic!("one counter, not {found:?}");
        };
        let data = entry.data.expect("a value");
        (data.packet_count, data.byte_count)
    }

    /// Asks for lists of one digest message each, at once.
    pub fn enable_digest(&mut self, name: &str) {
        let digest_id = self
            .p4info()
            .digest(name)
            .expect("a digest of the program")
            .id;
        let config = v1::digest_entry::Config {
            max_timeout_ns: 0,
            max_list_size: 1,
            ack_timeout_ns: i64::try_from(Duration::from_millis(1).as_nanos()).expect("small"),
        };
        let entry = v1::DigestEntry {
            digest_id,
            config: Some(config),
        };
        self.write(vec![v1::Update::insert(entry)]);
    }

    /// What every switch that runs the program has: the flood group and the clone sessions.
    pub(super) fn install_base(&mut self, ports: &[u16], broker: u16) {
        let flood: Vec<_> = ports.iter().map(|port| (*port, super::RID_FLOOD)).collect();
        self.group(1, &flood);
        self.clone_session(SESSION_COPY, broker, super::RID_COPY);
        for port in ports {
            self.clone_session(super::SESSION_ACK + u32::from(*port), *port, super::RID_ACK);
        }
        for port in ports {
            let key = [
                ("eth_src", mac(super::target::FENCE_MAC)),
                ("vid", 0),
                ("ingress_port", (*port).into()),
            ];
            self.insert("smac", &key, "mac_known", &[]);
        }
    }

    fn clone_session(&mut self, session_id: u32, port: u16, rid: u32) {
        let entry = v1::CloneSessionEntry {
            session_id,
            replicas: vec![replica(port, rid)],
            ..Default::default()
        };
        self.write(vec![v1::Update::insert(entry)]);
    }
}

/// The old form of a replica's port is the one that every server knows.
#[allow(deprecated)]
fn replica(port: u16, instance: u32) -> v1::Replica {
    v1::Replica {
        port_kind: Some(v1::replica::PortKind::EgressPort(port.into())),
        instance,
        ..Default::default()
    }
}

/// A MAC address as a number.
fn mac(octets: [u8; 6]) -> u128 {
    octets
        .iter()
        .fold(0, |number, octet| number << 8 | u128::from(*octet))
}

/// A host's IP address as a number.
fn ip(host: &Host) -> u128 {
    match host.ip {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
