//! Numbers that the P4 program and its controller agree on (`p4src/constants.p4`).

/// `CPU_PORT`: where packet-outs enter and packet-ins leave.
pub const CPU_PORT: u16 = 510;
/// `ANY_PORT`: where the broker may live while nobody knows.
pub const ANY_PORT: u16 = 511;

/// `GROUP_FLOOD`: the multicast group of all ports.
pub const GROUP_FLOOD: u16 = 1;
/// The first multicast group that is free for topics.
pub const GROUP_FIRST: u16 = 2;
/// The last one; behind it are those of VLANs.
pub const GROUP_LAST: u16 = 0x7eff;
/// The first of the groups that flood a VLAN: BMv2's P4Runtime server keeps the groups from 2^15 up
/// for its clone sessions.
pub const GROUP_VLAN: u16 = 0x7f00;
/// So many VLANs can be named.
pub const VLANS: usize = 0x100;

/// The first replication id that names a row of `subscriber`.
pub const RID_FIRST: u16 = 1;
/// The last one; `RID_RESERVED` (0xfff0) and up are the program's own.
pub const RID_LAST: u16 = 0xffef;
/// `RID_ACK`: a PUBACK on its way back to the publisher.
pub const RID_ACK: u16 = 0xfffd;
/// `RID_FLOOD`: every replica of the flood group.
pub const RID_FLOOD: u16 = 0xfffe;
/// `RID_COPY`: the broker's tagged copy.
pub const RID_COPY: u16 = 0xffff;

/// `SESSION_COPY`: the clone session towards the broker.
pub const SESSION_COPY: u32 = 1024;
/// `SESSION_ACK`: plus the port, the clone session that returns a PUBACK there.
pub const SESSION_ACK: u32 = 1025;

/// The topic index of publications that are parked: no topic has it.
pub const TOPIC_PARKED: u32 = u32::MAX;

/// `OUT_SEND` of `packet_out.operation`.
pub const OUT_SEND: u16 = 1;
/// `OUT_LEASE` of `packet_out.operation`.
pub const OUT_LEASE: u16 = 2;
/// `IN_LEASE` of `packet_in.reason`.
pub const IN_LEASE: u16 = 2;

/// The indirect counter of packets to a service by what became of them.
pub const PATH_COUNTER: &str = "MqttsnIngress.path";
/// What the cells of [`PATH_COUNTER`] count, by their index (`PATH_…`).
pub const PATH_REASONS: [&str; 17] = [
    "offloaded",
    "not_publish",
    "no_lease",
    "length",
    "qos2_or_dup",
    "checksum",
    "unknown_publication",
    "topic_in_software",
    "too_long",
    "copy_only",
    "forged_tag",
    "meter",
    "open_meter",
    "software_meter",
    "translation",
    "vlan",
    "foreign_answer",
];
