// Headers and metadata.
#ifndef TOPICSWITCH_HEADERS_P4
#define TOPICSWITCH_HEADERS_P4

#include "constants.p4"

header ethernet_h {
    mac_addr_t dst;
    mac_addr_t src;
    bit<16>    ether_type;
}

// IEEE 802.1Q. `ether_type` is what would have stood in the Ethernet header.
header vlan_h {
    bit<3>  pcp;
    bit<1>  dei;
    vid_t   vid;
    bit<16> ether_type;
}

// RFC 791. What nobody reads by itself is one field: each field costs a software target time.
header ipv4_h {
    bit<8>      version_ihl;
    bit<8>      dscp_ecn;
    bit<16>     total_length;
    bit<16>     identification;
    bit<16>     flags_fragment;  // reserved(15) DF(14) MF(13) offset(12..0)
    bit<8>      ttl;
    bit<8>      protocol;
    bit<16>     checksum;
    ipv4_addr_t src;
    ipv4_addr_t dst;
}

header ipv4_options_h {
    varbit<320> options;
}

// RFC 8200.
header ipv6_h {
    bit<4>      version;
    bit<8>      traffic_class;
    bit<20>     flow_label;
    bit<16>     payload_length;
    bit<8>      next_header;
    bit<8>      hop_limit;
    ipv6_addr_t src;
    ipv6_addr_t dst;
}

// RFC 8200 §4.5.
header ipv6_fragment_h {
    bit<8>  next_header;
    bit<8>  reserved;
    bit<16> offset_flags;  // offset(15..3) reserved(2..1) M(0)
    bit<32> identification;
}

header udp_h {
    bit<16> src_port;
    bit<16> dst_port;
    bit<16> length;
    bit<16> checksum;
}

// MQTT-SN 1.2 §5.2.1: Length in one octet.
header mqttsn_short_h {
    bit<8> length;
    bit<8> msg_type;
}

// MQTT-SN 1.2 §5.2.1: Length in three octets, the first of them 0x01.
header mqttsn_long_h {
    bit<8>  marker;
    bit<16> length;
    bit<8>  msg_type;
}

// MQTT-SN 1.2 §5.4.12. The flags stay one field, read by slices: see `offload`.
header publish_h {
    bit<8>  flags;
    bit<16> topic_id;
    bit<16> msg_id;
}

// MQTT-SN 1.2 §5.4.13, with its own Length and MsgType.
header puback_h {
    bit<8>  length;
    bit<8>  msg_type;
    bit<16> topic_id;
    bit<16> msg_id;
    bit<8>  return_code;
}

// The encapsulation in front of a broker copy: 14 octets, an even number, so that the 16-bit words
// behind it keep their place in the UDP checksum.
header tag_h {
    bit<8>        length;
    bit<8>        msg_type;
    bit<8>        ctrl;
    bit<16>       magic;
    bit<8>        version;
    topic_index_t topic_index;
    generation_t  generation;
}

@controller_header("packet_in")
header packet_in_h {
    bit<16> reason;
    bit<16> ingress_port;
    bit<48> timestamp;  // the switch's clock, in microseconds
    bit<32> request;    // echo of packet_out.request
}

@controller_header("packet_out")
header packet_out_h {
    bit<16> operation;
    bit<16> egress_port;
    bit<48> deadline;   // in the switch's clock, in microseconds
    bit<32> request;
}

struct headers_t {
    packet_in_h     packet_in;
    packet_out_h    packet_out;
    ethernet_h      ethernet;
    vlan_h          vlan;
    ipv4_h          ipv4;
    ipv4_options_h  ipv4_options;
    ipv6_h          ipv6;
    ipv6_fragment_h ipv6_fragment;
    udp_h           udp;
    tag_h           tag;
    puback_h        puback;
    mqttsn_short_h  mqttsn_short;
    mqttsn_long_h   mqttsn_long;
    publish_h       publish;
}

// What egress needs of ingress: it crosses the traffic manager with every copy. The field list is
// for the clones; the replicas of a multicast group carry all metadata.
#define FIELDS_BRIDGED 1
struct bridged_t {
    @field_list(FIELDS_BRIDGED) topic_index_t topic_index;
    @field_list(FIELDS_BRIDGED) generation_t  generation;
    rid_t   rid;            // row of `subscriber` for the one copy of a topic with one subscriber
    bit<8>  copy_flags;     // the finished Flags octet of a subscriber's copy
    bit<16> copy_topic_id;  // its TopicId: the home alias
    bit<1>  aliased;        // some subscriber of the topic has an alias of its own
}

struct metadata_t {
    bridged_t bridged;
    vid_t     vid;          // 0: untagged
    bit<32>   vlan_length;  // octets of an 802.1Q tag
    bit<1>    forged;       // a forwarder encapsulation with our magic
    // Ingress only.
    bit<1>    admitted;
    bit<1>    copy;
    bit<1>    ack;
    bit<1>    translated;
    bit<2>    color;
    bit<1>    answered;     // offloaded, and the broker gets a copy
    bit<16>   group;
    bit<16>   flood_group;  // of the VLAN; 0: that of all ports
    bit<32>   publisher;    // its address, for the selector
    bit<16>   max_length;   // longest IP packet for the broker; 0: the packet is for no service
    bit<16>   ip_length;    // octets of this one, its header included
    bit<16>   ip_header;
    bit<9>    broker_port;  // whence packets of the service that this claims to be come
    bit<32>   path;
    // Egress only: what the rewrite replaces, as it counted in the checksums (see `egress.p4`).
    bit<16>   old_header;
    bit<16>   old_datagram;
    bit<1>    from_v6;      // over IPv6 it came
    bit<1>    to_v6;        // and goes
}

// Targets tell one sample once and then wait for its acknowledgement. One that got lost on its way to
// the controller would never be told again, so each sample carries the second (roughly: 2^20 µs) it
// was taken in, and is another sample a second later.
struct mac_learned_t {
    mac_addr_t mac;
    vid_t      vid;
    bit<9>     port;
    bit<28>    second;
}

// The broker speaks to a client: `port` and `eth_src` are the broker's, `ip_src` is the service.
struct endpoint_learned_t {
    bit<9>      port;
    vid_t       vid;
    mac_addr_t  eth_src;
    mac_addr_t  eth_dst;
    ipv4_addr_t ip_src;
    ipv4_addr_t ip_dst;
    bit<28>     second;
}

struct endpoint_v6_learned_t {
    bit<9>      port;
    vid_t       vid;
    mac_addr_t  eth_src;
    mac_addr_t  eth_dst;
    ipv6_addr_t ip_src;
    ipv6_addr_t ip_dst;
    bit<28>     second;
}

#endif
