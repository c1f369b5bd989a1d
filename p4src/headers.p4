// Headers and metadata.
#ifndef TOPICSWITCH_HEADERS_P4
#define TOPICSWITCH_HEADERS_P4

#include "constants.p4"

header ethernet_h {
    mac_addr_t dst;
    mac_addr_t src;
    bit<16>    ether_type;
}

header ipv4_h {
    bit<4>      version;
    bit<4>      ihl;
    bit<8>      dscp_ecn;
    bit<16>     total_length;
    bit<16>     identification;
    bit<1>      reserved;
    bit<1>      dont_fragment;
    bit<1>      more_fragments;
    bit<13>     fragment_offset;
    bit<8>      ttl;
    bit<8>      protocol;
    bit<16>     checksum;
    ipv4_addr_t src;
    ipv4_addr_t dst;
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

// MQTT-SN 1.2 §5.5, as far as needed to see whether a client forges our tag.
header encapsulation_h {
    bit<8>  length;
    bit<8>  msg_type;
    bit<8>  ctrl;
    bit<16> magic;
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
    ipv4_h          ipv4;
    udp_h           udp;
    tag_h           tag;
    puback_h        puback;
    encapsulation_h encapsulation;
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
    bit<8>  copy_flags;     // the finished Flags octet of a subscriber's copy
    bit<16> copy_topic_id;  // its TopicId: the home alias
    bit<1>  aliased;        // some subscriber of the topic has an alias of its own
}

// Which rewrite egress did, so which checksum update the packet needs.
const bit<2> REWRITE_NONE    = 0;
const bit<2> REWRITE_DELIVER = 1;
const bit<2> REWRITE_TAG     = 2;
const bit<2> REWRITE_ACK     = 3;

// Complements of what a rewrite replaced (RFC 1624: HC' = ~(~HC + ~m + m')). `update_checksum`
// takes fields and no expressions, so the complements are kept here.
struct replaced_t {
    bit<16>     ipv4_checksum;
    bit<16>     ipv4_total_length;
    bit<8>      ttl;
    ipv4_addr_t src;
    ipv4_addr_t dst;
    bit<16>     udp_checksum;
    bit<16>     udp_length;
    bit<16>     src_port;
    bit<16>     dst_port;
    bit<8>      flags;
    bit<16>     topic_id;
    bit<16>     msg_id;
}

struct metadata_t {
    bridged_t     bridged;
    // Ingress only.
    topic_index_t topic_index;
    bit<1>        admitted;
    bit<1>        qos1;
    bit<1>        offloadable;
    bit<16>       group;
    bit<1>        copy;
    bit<1>        ack;
    bit<16>       max_length;
    bit<2>        color;
    bit<32>       path;
    // Egress only.
    bit<2>        rewrite;
    bit<1>        checksummed;  // the UDP checksum was in use (non-zero)
    replaced_t    replaced;
}

// Targets tell one sample once and then wait for its acknowledgement. One that got lost on its way to
// the controller would never be told again, so each sample carries the second (roughly: 2^20 µs) it
// was taken in, and is another sample a second later.
struct mac_learned_t {
    mac_addr_t mac;
    bit<9>     port;
    bit<28>    second;
}

struct endpoint_learned_t {
    bit<9>      port;
    mac_addr_t  eth_src;
    mac_addr_t  eth_dst;
    ipv4_addr_t ip_src;
    ipv4_addr_t ip_dst;
    bit<28>     second;
}

#endif
