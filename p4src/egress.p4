// Egress: every copy becomes what its receiver expects.
#ifndef TOPICSWITCH_EGRESS_P4
#define TOPICSWITCH_EGRESS_P4

#include "headers.p4"

control MqttsnEgress(inout headers_t hdr,
                     inout metadata_t meta,
                     inout standard_metadata_t standard_metadata) {

    direct_counter(CounterType.packets_and_bytes) subscriber_counter;
    direct_counter(CounterType.packets) broker_copy_counter;

    action drop() {
        mark_to_drop(standard_metadata);
    }

    action note_checksums() {
        meta.checksummed = hdr.udp.checksum != 0 ? 1w1 : 1w0;
        meta.replaced.udp_checksum = ~hdr.udp.checksum;
        meta.replaced.ipv4_checksum = ~hdr.ipv4.checksum;
    }

    // ---- A subscriber's copy -----------------------------------------------------------------

    action deliver(mac_addr_t eth_src, mac_addr_t eth_dst,
                   ipv4_addr_t ip_src, ipv4_addr_t ip_dst,
                   bit<16> udp_src, bit<16> udp_dst) {
        subscriber_counter.count();
        note_checksums();
        meta.rewrite = REWRITE_DELIVER;
        meta.replaced.src = ~hdr.ipv4.src;
        meta.replaced.dst = ~hdr.ipv4.dst;
        meta.replaced.ttl = ~hdr.ipv4.ttl;
        meta.replaced.src_port = ~hdr.udp.src_port;
        meta.replaced.dst_port = ~hdr.udp.dst_port;
        meta.replaced.flags = ~hdr.publish.flags;
        meta.replaced.topic_id = ~hdr.publish.topic_id;
        meta.replaced.msg_id = ~hdr.publish.msg_id;
        hdr.ethernet.src = eth_src;
        hdr.ethernet.dst = eth_dst;
        hdr.ipv4.src = ip_src;
        hdr.ipv4.dst = ip_dst;
        hdr.ipv4.ttl = 64;
        hdr.udp.src_port = udp_src;
        hdr.udp.dst_port = udp_dst;
        hdr.publish.flags = meta.bridged.copy_flags;
        hdr.publish.topic_id = meta.bridged.copy_topic_id;
        hdr.publish.msg_id = 0;  // MQTT-SN 1.2 §5.4.12: not relevant at QoS 0, so zero
    }

    // A copy for a row that is gone goes nowhere.
    table subscriber {
        key = {
            standard_metadata.egress_rid: exact @name("rid");
        }
        actions = {
            deliver;
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
            meta.bridged.topic_index:     exact @name("topic_index");
            standard_metadata.egress_rid: exact @name("rid");
        }
        actions = {
            set_alias;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 32768;
    }

    // ---- The broker's copy -------------------------------------------------------------------

    // Nothing of the packet changes but its lengths; in front of the message comes the tag.
    action encapsulate() {
        broker_copy_counter.count();
        note_checksums();
        meta.rewrite = REWRITE_TAG;
        meta.replaced.ipv4_total_length = ~hdr.ipv4.total_length;
        meta.replaced.udp_length = ~hdr.udp.length;
        hdr.ipv4.total_length = hdr.ipv4.total_length + TAG_LENGTH_16;
        hdr.udp.length = hdr.udp.length + TAG_LENGTH_16;
        hdr.tag.setValid();
        hdr.tag.length = TAG_LENGTH_8;
        hdr.tag.msg_type = MSG_ENCAPSULATION;
        hdr.tag.ctrl = 0;
        hdr.tag.magic = TAG_MAGIC;
        hdr.tag.version = TAG_VERSION;
        hdr.tag.topic_index = meta.bridged.topic_index;
        hdr.tag.generation = meta.bridged.generation;
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

    // ---- The publisher's PUBACK --------------------------------------------------------------

    // MQTT-SN 1.2 §5.4.13, back to where the PUBLISH came from. Its checksum is a new one, over
    // fields that are all in headers: a PUBLISH with a wrong checksum did not come this far.
    action acknowledge() {
        mac_addr_t client_mac = hdr.ethernet.src;
        ipv4_addr_t client_ip = hdr.ipv4.src;
        bit<16> client_port = hdr.udp.src_port;
        meta.rewrite = REWRITE_ACK;
        meta.replaced.ipv4_checksum = ~hdr.ipv4.checksum;
        meta.replaced.ipv4_total_length = ~hdr.ipv4.total_length;
        meta.replaced.ttl = ~hdr.ipv4.ttl;
        hdr.ethernet.src = hdr.ethernet.dst;
        hdr.ethernet.dst = client_mac;
        hdr.ipv4.src = hdr.ipv4.dst;
        hdr.ipv4.dst = client_ip;
        hdr.ipv4.ttl = 64;
        hdr.ipv4.total_length = IPV4_HEADER + UDP_HEADER + PUBACK_LENGTH;
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
        truncate(14 + 20 + 8 + 7);
    }

    // ------------------------------------------------------------------------------------------

    apply {
        if (standard_metadata.egress_rid == RID_BRIDGED) {
            // As it came.
        } else if (standard_metadata.egress_rid < RID_RESERVED) {
            subscriber.apply();
            if (meta.bridged.aliased == 1) {
                subscriber_alias.apply();
            }
        } else if (standard_metadata.egress_rid == RID_FLOOD) {
            if (standard_metadata.egress_port == standard_metadata.ingress_port) {
                drop();
            }
        } else if (standard_metadata.egress_rid == RID_ACK) {
            acknowledge();
        } else {
            broker_copy.apply();
        }
    }
}

#endif
