// Numbers that the P4 program and its controller agree on.
#ifndef TOPICSWITCH_CONSTANTS_P4
#define TOPICSWITCH_CONSTANTS_P4

typedef bit<48> mac_addr_t;
typedef bit<32> ipv4_addr_t;
typedef bit<128> ipv6_addr_t;
typedef bit<12> vid_t;
typedef bit<16> rid_t;
typedef bit<32> topic_index_t;
typedef bit<32> generation_t;

// ---- Protocol numbers -------------------------------------------------------------------------

const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_VLAN = 0x8100;
const bit<16> ETHERTYPE_IPV6 = 0x86dd;
const bit<8>  IP_PROTO_UDP   = 17;
// RFC 8200 §4.5.
const bit<8>  IPV6_FRAGMENT  = 44;

// A packet that the switch makes, or addresses anew, starts its life here.
const bit<8> TTL = 64;

// MQTT-SN 1.2 §5.2.2, MsgType.
const bit<8> MSG_PUBLISH       = 0x0c;
const bit<8> MSG_PUBACK        = 0x0d;
const bit<8> MSG_ENCAPSULATION = 0xfe;
// MQTT-SN 1.2 §5.2.1: a first octet of 1 announces a Length of two octets.
const bit<8> LONG_LENGTH = 0x01;

// MQTT-SN 1.2 §5.3.4, Flags: DUP(7) QoS(6..5) Retain(4) Will(3) CleanSession(2) TopicIdType(1..0).
const bit<2> QOS_0         = 0b00;
const bit<2> QOS_1         = 0b01;
const bit<2> QOS_2         = 0b10;
const bit<2> QOS_MINUS_ONE = 0b11;

// RFC 2698 colours as v1model's meters give them.
const bit<2> METER_RED = 2;

const bit<8> RETURN_ACCEPTED = 0x00;

// Octets of a PUBLISH before its data: Length, MsgType, Flags, TopicId, MsgId.
const bit<16> PUBLISH_SHORT_HEADER = 7;
const bit<16> PUBLISH_LONG_HEADER  = 9;
const bit<16> UDP_HEADER           = 8;
const bit<16> IPV4_HEADER          = 20;
const bit<16> IPV6_HEADER          = 40;
const bit<16> IPV6_GROWTH          = 20;  // of a packet that goes from IPv4 to IPv6
const bit<32> ETHERNET_HEADER      = 14;
const bit<32> VLAN_HEADER          = 4;
const bit<16> PUBACK_LENGTH        = 7;

// ---- The broker copy's tag --------------------------------------------------------------------

// A forwarder encapsulation (MQTT-SN 1.2 §5.5) whose Wireless Node Id is the tag.
const bit<16> TAG_MAGIC   = 0x5453;
const bit<8>  TAG_VERSION = 1;
const bit<8>  TAG_LENGTH_8  = 14;
const bit<16> TAG_LENGTH_16 = 14;

// ---- Ports, groups, replication ids -----------------------------------------------------------

const bit<9> CPU_PORT = 510;
// No port of a switch: where the broker may live while nobody knows.
const bit<9> ANY_PORT = 511;

// The multicast group of all ports; every replica of it carries RID_FLOOD, and so do those of a
// VLAN's group.
const bit<16> GROUP_FLOOD = 1;

// Replication ids from 0xfff0 up are the program's own; below they name a row of `subscriber`.
const rid_t RID_BRIDGED  = 0;
const rid_t RID_RESERVED = 0xfff0;
const rid_t RID_ACK      = 0xfffd;
const rid_t RID_FLOOD    = 0xfffe;
const rid_t RID_COPY     = 0xffff;

// Clone sessions: one towards the broker (a replica with RID_COPY), and one per port that
// returns a PUBACK to where the PUBLISH came from (SESSION_ACK + port, a replica with RID_ACK).
const bit<32> SESSION_COPY = 1024;
const bit<32> SESSION_ACK  = 1025;

// ---- The controller's packets -----------------------------------------------------------------

// packet_out.operation
const bit<16> OUT_SEND  = 1;  // send the packet out of `egress_port`
const bit<16> OUT_LEASE = 2;  // offload until `deadline`; answered by a packet-in
// packet_in.reason
const bit<16> IN_LEASE  = 2;  // the answer to OUT_LEASE

// ---- Why a packet to a service was not offloaded (index of the counter `path`) ----------------

const bit<32> PATH_OFFLOADED           = 0;
const bit<32> PATH_NOT_PUBLISH         = 1;   // any other message, or a PUBLISH that does not parse
const bit<32> PATH_NO_LEASE            = 2;
const bit<32> PATH_LENGTH              = 3;   // Length, UDP, IPv4 and the frame contradict each other
const bit<32> PATH_QOS2_OR_DUP         = 4;
const bit<32> PATH_CHECKSUM            = 5;   // would be acknowledged, but its checksum is wrong
const bit<32> PATH_UNKNOWN_PUBLICATION = 6;
const bit<32> PATH_TOPIC_IN_SOFTWARE   = 7;
const bit<32> PATH_TOO_LONG            = 8;   // a tagged copy would exceed the MTU
const bit<32> PATH_COPY_ONLY           = 9;   // nobody but the broker wants it
const bit<32> PATH_FORGED_TAG          = 10;  // dropped
const bit<32> PATH_METER               = 11;  // dropped: a publication above its rate
const bit<32> PATH_OPEN_METER          = 12;  // dropped: QoS -1 above the port's rate
const bit<32> PATH_SOFTWARE_METER      = 13;  // dropped: more for the broker than the port may send
const bit<32> PATH_TRANSLATION         = 14;  // a subscriber needs IPv6, and this cannot become it
const bit<32> PATH_VLAN                = 15;  // dropped: the port is not in that VLAN
const bit<32> PATH_FOREIGN_ANSWER      = 16;  // bridged: from a service's address, but not from the broker's port
const bit<32> PATH_REASONS             = 32;
const bit<32> PORTS                    = 512;

#endif
