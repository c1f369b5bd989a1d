// Egress: every copy becomes what its receiver expects.
#ifndef TOPICSWITCH_EGRESS_P4
#define TOPICSWITCH_EGRESS_P4

#include "headers.p4"

// One's complement sums (RFC 1071), complemented, of fields that come in whole 16-bit words. Every
// change of a checksum is incremental (RFC 1624: HC' = ~(~HC + ~m + m')), so what was wrong on
// arrival stays wrong: m is the sum of what is replaced, taken before, so CSUM gives ~m; then
// CSUM over { ~HC, ~m, what replaces it } is HC'.
#define CSUM(result, ...) hash(result, HashAlgorithm.csum16, 16w0, __VA_ARGS__, 32w0x10000)
// RFC 768: a computed zero is sent as all ones, for zero says that there is none.
#define NOT_ZERO(checksum) ((checksum) == 0 ? 16w0xffff : (checksum))

control MqttsnEgress(inout headers_t hdr,
                     inout metadata_t meta,
                     inout standard_metadata_t standard_metadata) {

    direct_counter(CounterType.packets_and_bytes) subscriber_counter;
    direct_counter(CounterType.packets) broker_copy_counter;
    // Where a checksum is made before it is looked at.
    bit<16> checksum;
    // Of the whole PUBACK.
    bit<32> octets;

    action drop() {
        mark_to_drop(standard_metadata);
    }

    // ---- A subscriber's copy -----------------------------------------------------------------

    // The message's Flags, TopicId and MsgId start at an even offset and end at an odd one, so a zero
    // octet, before and after, fills the last word. TTL is the high octet of its word.
    action note_v4() {
        CSUM(meta.old_header, { hdr.ipv4.src, hdr.ipv4.dst, hdr.ipv4.ttl, 8w0 });
        CSUM(meta.old_datagram, { hdr.ipv4.src, hdr.ipv4.dst,
                                  hdr.udp.src_port, hdr.udp.dst_port,
                                  hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id,
                                  8w0 });
    }

    // Pseudo headers of both families add up to the same but for the addresses: length and protocol
    // (RFC 8200 §8.1). So only they count where a packet changes its family.
    action note_v6() {
        CSUM(meta.old_datagram, { hdr.ipv6.src, hdr.ipv6.dst,
                                  hdr.udp.src_port, hdr.udp.dst_port,
                                  hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id,
                                  8w0 });
        meta.from_v6 = 1;
        // Should the subscriber be reached over IPv4 (RFC 7915 §5.1); DF, for no identification is.
        hdr.ipv4.setValid();
        hdr.ipv4.version_ihl = 0x45;
        hdr.ipv4.dscp_ecn = hdr.ipv6.traffic_class;
        hdr.ipv4.total_length = hdr.ipv6.payload_length + IPV4_HEADER;
        hdr.ipv4.identification = 0;
        hdr.ipv4.flags_fragment = 0x4000;
        hdr.ipv4.protocol = IP_PROTO_UDP;
    }

    action address_v4(mac_addr_t eth_src, mac_addr_t eth_dst,
                      ipv4_addr_t ip_src, ipv4_addr_t ip_dst,
                      bit<16> udp_src, bit<16> udp_dst) {
        hdr.ethernet.src = eth_src;
        hdr.ethernet.dst = eth_dst;
        hdr.ipv4.src = ip_src;
        hdr.ipv4.dst = ip_dst;
        hdr.ipv4.ttl = TTL;
        hdr.udp.src_port = udp_src;
        hdr.udp.dst_port = udp_dst;
        hdr.publish.flags = meta.bridged.copy_flags;
        hdr.publish.topic_id = meta.bridged.copy_topic_id;
        hdr.publish.msg_id = 0;  // MQTT-SN 1.2 §5.4.12: not relevant at QoS 0, so zero
    }

    action address_v6(mac_addr_t eth_src, mac_addr_t eth_dst,
                      ipv6_addr_t ip_src, ipv6_addr_t ip_dst,
                      bit<16> udp_src, bit<16> udp_dst) {
        hdr.ethernet.src = eth_src;
        hdr.ethernet.dst = eth_dst;
        hdr.ipv6.setValid();
        hdr.ipv6.src = ip_src;
        hdr.ipv6.dst = ip_dst;
        hdr.ipv6.hop_limit = TTL;
        hdr.udp.src_port = udp_src;
        hdr.udp.dst_port = udp_dst;
        hdr.publish.flags = meta.bridged.copy_flags;
        hdr.publish.topic_id = meta.bridged.copy_topic_id;
        hdr.publish.msg_id = 0;
    }

    action untag(bit<16> ether_type) {
        hdr.vlan.setInvalid();
        hdr.ethernet.ether_type = ether_type;
    }

    action tag(vid_t vid, bit<16> ether_type) {
        hdr.ethernet.ether_type = ETHERTYPE_VLAN;
        hdr.vlan.setValid();
        hdr.vlan.pcp = 0;
        hdr.vlan.dei = 0;
        hdr.vlan.vid = vid;
        hdr.vlan.ether_type = ether_type;
    }

    action deliver(mac_addr_t eth_src, mac_addr_t eth_dst,
                   ipv4_addr_t ip_src, ipv4_addr_t ip_dst, bit<16> udp_src, bit<16> udp_dst) {
        subscriber_counter.count();
        untag(ETHERTYPE_IPV4);
        address_v4(eth_src, eth_dst, ip_src, ip_dst, udp_src, udp_dst);
    }

    action deliver_tagged(mac_addr_t eth_src, mac_addr_t eth_dst, vid_t vid,
                          ipv4_addr_t ip_src, ipv4_addr_t ip_dst,
                          bit<16> udp_src, bit<16> udp_dst) {
        subscriber_counter.count();
        tag(vid, ETHERTYPE_IPV4);
        address_v4(eth_src, eth_dst, ip_src, ip_dst, udp_src, udp_dst);
    }

    action deliver_v6(mac_addr_t eth_src, mac_addr_t eth_dst,
                      ipv6_addr_t ip_src, ipv6_addr_t ip_dst, bit<16> udp_src, bit<16> udp_dst) {
        subscriber_counter.count();
        untag(ETHERTYPE_IPV6);
        address_v6(eth_src, eth_dst, ip_src, ip_dst, udp_src, udp_dst);
        meta.to_v6 = 1;
    }

    action deliver_v6_tagged(mac_addr_t eth_src, mac_addr_t eth_dst, vid_t vid,
                             ipv6_addr_t ip_src, ipv6_addr_t ip_dst,
                             bit<16> udp_src, bit<16> udp_dst) {
        subscriber_counter.count();
        tag(vid, ETHERTYPE_IPV6);
        address_v6(eth_src, eth_dst, ip_src, ip_dst, udp_src, udp_dst);
        meta.to_v6 = 1;
    }

    // A copy for a row that is gone goes nowhere.
    table subscriber {
        key = {
            meta.bridged.rid: exact @name("rid");
        }
        actions = {
            deliver;
            deliver_tagged;
            deliver_v6;
            deliver_v6_tagged;
            @defaultonly drop;
        }
        const default_action = drop();
        size = 65520;
        counters = subscriber_counter;
    }

    action set_alias(bit<8> copy_flags, bit<16> topic_id) {
        hdr.publish.flags = copy_flags;
        hdr.publish.topic_id = topic_id;
    }

    // Sessions that know the topic by another alias than the home alias.
    table subscriber_alias {
        key = {
            meta.bridged.topic_index: exact @name("topic_index");
            meta.bridged.rid:         exact @name("rid");
        }
        actions = {
            set_alias;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 32768;
    }

    action sum_v4() {
        bit<16> old = ~hdr.ipv4.checksum;
        CSUM(hdr.ipv4.checksum, { old, meta.old_header,
                                  hdr.ipv4.src, hdr.ipv4.dst, hdr.ipv4.ttl, 8w0 });
        old = ~hdr.udp.checksum;
        CSUM(checksum, { old, meta.old_datagram,
                         hdr.ipv4.src, hdr.ipv4.dst,
                         hdr.udp.src_port, hdr.udp.dst_port,
                         hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id, 8w0 });
        hdr.udp.checksum = hdr.udp.checksum == 0 ? 16w0 : NOT_ZERO(checksum);
    }

    action to_v4() {
        hdr.ipv6.setInvalid();
        CSUM(hdr.ipv4.checksum, { hdr.ipv4.version_ihl, hdr.ipv4.dscp_ecn, hdr.ipv4.total_length,
                                  hdr.ipv4.identification, hdr.ipv4.flags_fragment,
                                  hdr.ipv4.ttl, hdr.ipv4.protocol,
                                  hdr.ipv4.src, hdr.ipv4.dst });
        bit<16> old = ~hdr.udp.checksum;
        CSUM(checksum, { old, meta.old_datagram,
                         hdr.ipv4.src, hdr.ipv4.dst,
                         hdr.udp.src_port, hdr.udp.dst_port,
                         hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id, 8w0 });
        hdr.udp.checksum = NOT_ZERO(checksum);
    }

    // RFC 7915 §4.1.
    action from_v4() {
        hdr.ipv6.version = 6;
        hdr.ipv6.traffic_class = hdr.ipv4.dscp_ecn;
        hdr.ipv6.flow_label = 0;
        hdr.ipv6.payload_length = hdr.udp.length;
        hdr.ipv6.next_header = IP_PROTO_UDP;
    }

    action sum_v6() {
        hdr.ipv4.setInvalid();
        bit<16> old = ~hdr.udp.checksum;
        CSUM(checksum, { old, meta.old_datagram,
                         hdr.ipv6.src, hdr.ipv6.dst,
                         hdr.udp.src_port, hdr.udp.dst_port,
                         hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id, 8w0 });
        hdr.udp.checksum = NOT_ZERO(checksum);
    }

    // ---- The broker's copy -------------------------------------------------------------------

    // Nothing of the packet changes but its lengths; in front of the message comes the tag.
    action encapsulate() {
        broker_copy_counter.count();
        hdr.tag.setValid();
        hdr.tag.length = TAG_LENGTH_8;
        hdr.tag.msg_type = MSG_ENCAPSULATION;
        hdr.tag.ctrl = 0;
        hdr.tag.magic = TAG_MAGIC;
        hdr.tag.version = TAG_VERSION;
        hdr.tag.topic_index = meta.bridged.topic_index;
        hdr.tag.generation = meta.bridged.generation;
        hdr.udp.length = hdr.udp.length + TAG_LENGTH_16;
        bit<16> old = ~hdr.udp.checksum;
        // The UDP length counts twice: in its header and in the pseudo header.
        CSUM(checksum, { old, TAG_LENGTH_16, TAG_LENGTH_16,
                         hdr.tag.length, hdr.tag.msg_type, hdr.tag.ctrl, hdr.tag.magic,
                         hdr.tag.version, hdr.tag.topic_index, hdr.tag.generation });
        hdr.udp.checksum = hdr.udp.checksum == 0 ? 16w0 : NOT_ZERO(checksum);
    }

    table broker_copy {
        key = {
            standard_metadata.egress_rid: exact @name("rid");
        }
        actions = {
            encapsulate;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        const entries = {
            RID_COPY: encapsulate();
        }
        counters = broker_copy_counter;
    }

    action lengthen_v4() {
        hdr.ipv4.total_length = hdr.ipv4.total_length + TAG_LENGTH_16;
        bit<16> old = ~hdr.ipv4.checksum;
        CSUM(hdr.ipv4.checksum, { old, TAG_LENGTH_16 });
    }

    action lengthen_v6() {
        hdr.ipv6.payload_length = hdr.ipv6.payload_length + TAG_LENGTH_16;
    }

    // ---- The publisher's PUBACK --------------------------------------------------------------

    // MQTT-SN 1.2 §5.4.13, back to where the PUBLISH came from. Its checksum is a new one, over
    // fields that are all in headers: a PUBLISH with a wrong checksum did not come this far.
    action acknowledge() {
        mac_addr_t client_mac = hdr.ethernet.src;
        bit<16> client_port = hdr.udp.src_port;
        hdr.ethernet.src = hdr.ethernet.dst;
        hdr.ethernet.dst = client_mac;
        hdr.udp.src_port = hdr.udp.dst_port;
        hdr.udp.dst_port = client_port;
        hdr.udp.length = UDP_HEADER + PUBACK_LENGTH;
        hdr.puback.setValid();
        hdr.puback.length = (bit<8>)PUBACK_LENGTH;
        hdr.puback.msg_type = MSG_PUBACK;
        hdr.puback.topic_id = hdr.publish.topic_id;
        hdr.puback.msg_id = hdr.publish.msg_id;
        hdr.puback.return_code = RETURN_ACCEPTED;
        hdr.mqttsn_short.setInvalid();
        hdr.mqttsn_long.setInvalid();
        hdr.publish.setInvalid();
    }

    // Addresses only change places, which a sum does not notice.
    action acknowledge_v4() {
        CSUM(meta.old_header, { hdr.ipv4.ttl, 8w0, hdr.ipv4.total_length });
        ipv4_addr_t client = hdr.ipv4.src;
        hdr.ipv4.src = hdr.ipv4.dst;
        hdr.ipv4.dst = client;
        hdr.ipv4.ttl = TTL;
        hdr.ipv4.total_length = IPV4_HEADER + UDP_HEADER + PUBACK_LENGTH;
        bit<16> old = ~hdr.ipv4.checksum;
        CSUM(hdr.ipv4.checksum, { old, meta.old_header, hdr.ipv4.ttl, 8w0, hdr.ipv4.total_length });
        CSUM(checksum, { hdr.ipv4.src, hdr.ipv4.dst, 8w0, hdr.ipv4.protocol, hdr.udp.length,
                         hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
                         hdr.puback.length, hdr.puback.msg_type, hdr.puback.topic_id,
                         hdr.puback.msg_id, hdr.puback.return_code, 8w0 });
        hdr.udp.checksum = NOT_ZERO(checksum);
        octets = ETHERNET_HEADER + 20 + 8 + 7;
    }

    action acknowledge_v6() {
        ipv6_addr_t client = hdr.ipv6.src;
        hdr.ipv6.src = hdr.ipv6.dst;
        hdr.ipv6.dst = client;
        hdr.ipv6.hop_limit = TTL;
        hdr.ipv6.payload_length = UDP_HEADER + PUBACK_LENGTH;
        CSUM(checksum, { hdr.ipv6.src, hdr.ipv6.dst, 8w0, hdr.ipv6.next_header, hdr.udp.length,
                         hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
                         hdr.puback.length, hdr.puback.msg_type, hdr.puback.topic_id,
                         hdr.puback.msg_id, hdr.puback.return_code, 8w0 });
        hdr.udp.checksum = NOT_ZERO(checksum);
        octets = ETHERNET_HEADER + 40 + 8 + 7;
    }

    // ------------------------------------------------------------------------------------------

    apply {
        if (standard_metadata.egress_rid != RID_BRIDGED) {
            meta.bridged.rid = standard_metadata.egress_rid;
        }
        if (meta.bridged.rid == RID_BRIDGED) {
            // As it came.
        } else if (meta.bridged.rid < RID_RESERVED) {
            if (hdr.ipv6.isValid()) {
                note_v6();
            } else {
                note_v4();
            }
            subscriber.apply();
            if (meta.bridged.aliased == 1) {
                subscriber_alias.apply();
            }
            if (!hdr.ipv6.isValid()) {
                sum_v4();
            } else if (meta.to_v6 == 0) {
                to_v4();
            } else {
                if (meta.from_v6 == 0) {
                    from_v4();
                }
                sum_v6();
            }
        } else if (standard_metadata.egress_rid == RID_FLOOD) {
            if (standard_metadata.egress_port == standard_metadata.ingress_port) {
                drop();
            }
        } else if (standard_metadata.egress_rid == RID_ACK) {
            acknowledge();
            if (hdr.ipv4.isValid()) {
                acknowledge_v4();
            } else {
                acknowledge_v6();
            }
            // A clone has lost what its parser noted in metadata.
            if (hdr.vlan.isValid()) {
                octets = octets + VLAN_HEADER;
            }
            truncate(octets);
        } else {
            broker_copy.apply();
            if (hdr.ipv4.isValid()) {
                lengthen_v4();
            } else {
                lengthen_v6();
            }
        }
    }
}

#endif
