// Ingress: a learning switch; an offloadable PUBLISH leaves it for `topic`.
#ifndef TOPICSWITCH_INGRESS_P4
#define TOPICSWITCH_INGRESS_P4

#include "headers.p4"

control MqttsnIngress(inout headers_t hdr,
                      inout metadata_t meta,
                      inout standard_metadata_t standard_metadata) {

    // Packets to a service, by what became of them (PATH_…).
    counter(PATH_REASONS, CounterType.packets) path;

    // Until when the data plane may offload, in the switch's clock (µs). The controller moves it by
    // packet-out; nobody needs to move it back.
    register<bit<48>>(1) lease;

    // ---- VLANs -------------------------------------------------------------------------------

    // Frames of a VLAN that the controller has named are flooded to its ports only …
    action member(bit<16> flood_group) {
        meta.flood_group = flood_group;
    }

    // … and come from its ports only.
    action refuse() {
        path.count(PATH_VLAN);
        mark_to_drop(standard_metadata);
        exit;
    }

    // Asked for tagged frames. A VLAN without rows is flooded as untagged frames are.
    table vlan {
        key = {
            meta.vid:                       exact @name("vid");
            standard_metadata.ingress_port: exact @name("ingress_port");
        }
        actions = {
            member;
            refuse;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 4096;
    }

    // ---- Bridging ----------------------------------------------------------------------------

    action learn_mac() {
        digest<mac_learned_t>(1, {
            hdr.ethernet.src,
            meta.vid,
            standard_metadata.ingress_port,
            standard_metadata.ingress_global_timestamp[47:20]
        });
    }

    action mac_known() {}

    // Addresses are learned for each VLAN; 0 is untagged.
    table smac {
        key = {
            hdr.ethernet.src:               exact @name("eth_src");
            meta.vid:                       exact @name("vid");
            standard_metadata.ingress_port: exact @name("ingress_port");
        }
        actions = {
            mac_known;
            @defaultonly learn_mac;
        }
        const default_action = learn_mac();
        size = 4096;
        support_timeout = true;
    }

    // A frame never goes back to where it came from: egress drops that replica of a flood.
    action flood() {
        standard_metadata.mcast_grp = meta.flood_group == 0 ? GROUP_FLOOD : meta.flood_group;
    }

    action forward(bit<9> port) {
        standard_metadata.egress_spec = port;
    }

    table dmac {
        key = {
            hdr.ethernet.dst: exact @name("eth_dst");
            meta.vid:         exact @name("vid");
        }
        actions = {
            forward;
            @defaultonly flood;
        }
        const default_action = flood();
        size = 4096;
    }

    // ---- Services and endpoints --------------------------------------------------------------

    // `max_length`: the longest IP packet (octets) that the port towards the broker carries.
    action serve(bit<16> max_length) {
        meta.max_length = max_length;
        meta.ip_length = hdr.ipv4.total_length;
        meta.ip_header = IPV4_HEADER;
    }

    table service {
        key = {
            hdr.ipv4.dst:     exact @name("ip_dst");
            hdr.udp.dst_port: exact @name("udp_dst");
        }
        actions = {
            serve;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 64;
    }

    action serve_v6(bit<16> max_length) {
        meta.max_length = max_length;
        meta.ip_length = hdr.ipv6.payload_length + IPV6_HEADER;
        meta.ip_header = IPV6_HEADER;
    }

    table service_v6 {
        key = {
            hdr.ipv6.dst:     exact @name("ip_dst");
            hdr.udp.dst_port: exact @name("udp_dst");
        }
        actions = {
            serve_v6;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 64;
    }

    // What the broker sends to its clients comes from `port`; from ANY_PORT while nobody knows where
    // the broker lives.
    action answers(bit<9> port) {
        meta.broker_port = port;
    }

    table answer {
        key = {
            hdr.ipv4.src:     exact @name("ip_src");
            hdr.udp.src_port: exact @name("udp_src");
        }
        actions = {
            answers;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 64;
    }

    table answer_v6 {
        key = {
            hdr.ipv6.src:     exact @name("ip_src");
            hdr.udp.src_port: exact @name("udp_src");
        }
        actions = {
            answers;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 64;
    }

    action learn_endpoint() {
        digest<endpoint_learned_t>(2, {
            standard_metadata.ingress_port,
            meta.vid,
            hdr.ethernet.src,
            hdr.ethernet.dst,
            hdr.ipv4.src,
            hdr.ipv4.dst,
            standard_metadata.ingress_global_timestamp[47:20]
        });
    }

    action endpoint_known() {}

    // In which VLAN and behind which MAC address a client's address lives, routers included, and from
    // which MAC address the broker speaks to it. Asked of what the broker sends: its host found that
    // out by ARP or ND. What a client sends may say anything.
    table endpoint {
        key = {
            meta.vid:         exact @name("vid");
            hdr.ethernet.src: exact @name("eth_src");
            hdr.ethernet.dst: exact @name("eth_dst");
            hdr.ipv4.dst:     exact @name("ip_dst");
        }
        actions = {
            endpoint_known;
            @defaultonly learn_endpoint;
        }
        const default_action = learn_endpoint();
        size = 65536;
    }

    action learn_endpoint_v6() {
        digest<endpoint_v6_learned_t>(3, {
            standard_metadata.ingress_port,
            meta.vid,
            hdr.ethernet.src,
            hdr.ethernet.dst,
            hdr.ipv6.src,
            hdr.ipv6.dst,
            standard_metadata.ingress_global_timestamp[47:20]
        });
    }

    action endpoint_v6_known() {}

    table endpoint_v6 {
        key = {
            meta.vid:         exact @name("vid");
            hdr.ethernet.src: exact @name("eth_src");
            hdr.ethernet.dst: exact @name("eth_dst");
            hdr.ipv6.dst:     exact @name("ip_dst");
        }
        actions = {
            endpoint_v6_known;
            @defaultonly learn_endpoint_v6;
        }
        const default_action = learn_endpoint_v6();
        size = 65536;
    }

    // What a port may send to services without being offloaded; unlimited until it is configured.
    meter(PORTS, MeterType.packets) software_meter;

    // ---- Publications ------------------------------------------------------------------------

    direct_counter(CounterType.packets_and_bytes) publication_counter;
    direct_meter<bit<2>>(MeterType.packets) publication_meter;

    action admit(topic_index_t topic_index) {
        publication_counter.count();
        publication_meter.read(meta.color);
        meta.admitted = 1;
        meta.bridged.topic_index = topic_index;
    }

    // The presence of an entry is the permission to publish; port, VLAN and address bind it to the
    // client.
    table publication {
        key = {
            standard_metadata.ingress_port: exact @name("ingress_port");
            meta.vid:                       exact @name("vid");
            hdr.ipv4.src:                   exact @name("ip_src");
            hdr.udp.src_port:               exact @name("udp_src");
            hdr.publish.flags[1:0]:         exact @name("topic_id_type");
            hdr.publish.topic_id:           exact @name("topic_id");
        }
        actions = {
            admit;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 65536;
        counters = publication_counter;
        meters = publication_meter;
        support_timeout = true;
    }

    direct_counter(CounterType.packets_and_bytes) publication_v6_counter;
    direct_meter<bit<2>>(MeterType.packets) publication_v6_meter;

    action admit_v6(topic_index_t topic_index) {
        publication_v6_counter.count();
        publication_v6_meter.read(meta.color);
        meta.admitted = 1;
        meta.bridged.topic_index = topic_index;
    }

    table publication_v6 {
        key = {
            standard_metadata.ingress_port: exact @name("ingress_port");
            meta.vid:                       exact @name("vid");
            hdr.ipv6.src:                   exact @name("ip_src");
            hdr.udp.src_port:               exact @name("udp_src");
            hdr.publish.flags[1:0]:         exact @name("topic_id_type");
            hdr.publish.topic_id:           exact @name("topic_id");
        }
        actions = {
            admit_v6;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 16384;
        counters = publication_v6_counter;
        meters = publication_v6_meter;
        support_timeout = true;
    }

    direct_counter(CounterType.packets_and_bytes) open_publication_counter;

    action admit_open(topic_index_t topic_index) {
        open_publication_counter.count();
        meta.admitted = 1;
        meta.bridged.topic_index = topic_index;
    }

    // QoS −1 needs no session, only an alias that everybody knows (MQTT-SN 1.2 §6.8).
    table open_publication {
        key = {
            hdr.publish.flags[1:0]: exact @name("topic_id_type");
            hdr.publish.topic_id:   exact @name("topic_id");
        }
        actions = {
            admit_open;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 4096;
        counters = open_publication_counter;
    }

    // What a port may publish so: nobody's identity stands behind it. Unlimited until it is configured.
    meter(PORTS, MeterType.packets) open_meter;

    // ---- Topics ------------------------------------------------------------------------------

    direct_counter(CounterType.packets_and_bytes) topic_counter;
    direct_counter(CounterType.packets_and_bytes) shared_topic_counter;

    // `group_*`: multicast group of the subscribers served at that QoS, 0 for nobody. Where `copy_*`
    // is set the group also holds the broker's replica (RID_COPY). `translated`: some subscriber is
    // reached over IPv6, so a PUBLISH over IPv4 must be one that can become it.
    // `copy_flags` is the finished Flags octet of the copies: QoS 0, no DUP, no Retain, and the
    // TopicIdType of the home alias.
    action decide(bit<16> group_q0, bit<16> group_q1,
                  bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased, bit<1> translated,
                  generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
        // QoS 1 is 01; QoS 2 does not come here, QoS -1 is 11.
        bit<1> qos1 = hdr.publish.flags[5:5] & ~hdr.publish.flags[6:6];
        meta.group = qos1 == 1 ? group_q1 : group_q0;
        meta.copy = qos1 == 1 ? copy_q1 : copy_q0;
        meta.ack = ack_q1 & qos1;
        meta.translated = translated;
        meta.bridged.generation = generation;
        meta.bridged.copy_flags = copy_flags;
        meta.bridged.copy_topic_id = copy_topic_id;
        meta.bridged.aliased = aliased;
    }

    action offload(bit<16> group_q0, bit<16> group_q1,
                   bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased, bit<1> translated,
                   generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
        topic_counter.count();
        decide(group_q0, group_q1, copy_q0, copy_q1, ack_q1, aliased, translated,
               generation, copy_flags, copy_topic_id);
    }

    // One subscriber and no copy: no replica is made of the packet, it is the copy. At QoS 1 the
    // subscriber is served, and the publisher acknowledged, where `ack_q1` is set; else the broker
    // does both. The alias is the subscriber's own.
    action offload_to_one(bit<9> port, rid_t rid, bit<1> ack_q1, bit<1> translated,
                          generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
        topic_counter.count();
        bit<1> qos1 = hdr.publish.flags[5:5] & ~hdr.publish.flags[6:6];
        standard_metadata.egress_spec = port;
        meta.copy = qos1 & ~ack_q1;
        meta.ack = qos1 & ack_q1;
        meta.translated = translated;
        meta.bridged.rid = (qos1 & ~ack_q1) == 1 ? 16w0 : rid;
        meta.bridged.generation = generation;
        meta.bridged.copy_flags = copy_flags;
        meta.bridged.copy_topic_id = copy_topic_id;
    }

    // Nobody subscribes: the PUBLISH ends here, acknowledged at QoS 1. One with Retain still reaches
    // the broker, under this generation.
    action discard(generation_t generation) {
        topic_counter.count();
        meta.ack = hdr.publish.flags[5:5] & ~hdr.publish.flags[6:6];
        meta.bridged.generation = generation;
    }

    table topic {
        key = {
            meta.bridged.topic_index: exact @name("topic_index");
        }
        actions = {
            offload;
            offload_to_one;
            discard;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 65536;
        counters = topic_counter;
    }

    action offload_to_member(bit<16> group_q0, bit<16> group_q1,
                             bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased,
                             bit<1> translated,
                             generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
        decide(group_q0, group_q1, copy_q0, copy_q1, ack_q1, aliased, translated,
               generation, copy_flags, copy_topic_id);
    }

    // One `$share` group: each member of the selector is the multicast group of that member and the
    // ordinary subscribers. The hash keeps a publisher with its member.
    action_selector(HashAlgorithm.crc32, 32w4096, 32w16) share_group;

    table shared_topic {
        key = {
            meta.bridged.topic_index: exact @name("topic_index");
            meta.publisher:           selector;
            hdr.udp.src_port:         selector;
        }
        actions = {
            offload_to_member;
        }
        size = 1024;
        implementation = share_group;
        counters = shared_topic_counter;
    }

    // ---- The path of a packet ----------------------------------------------------------------

    apply {
        if (hdr.packet_out.isValid()) {
            if (hdr.packet_out.operation == OUT_LEASE) {
                lease.write(0, hdr.packet_out.deadline);
                hdr.packet_in.setValid();
                hdr.packet_in.reason = IN_LEASE;
                hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;
                hdr.packet_in.timestamp = standard_metadata.ingress_global_timestamp;
                hdr.packet_in.request = hdr.packet_out.request;
                standard_metadata.egress_spec = CPU_PORT;
            } else if (hdr.packet_out.operation == OUT_SEND) {
                standard_metadata.egress_spec = (bit<9>)hdr.packet_out.egress_port;
            } else {
                mark_to_drop(standard_metadata);
            }
            hdr.packet_out.setInvalid();
            exit;
        }

        if (meta.vid != 0) {
            vlan.apply();
        }
        if (hdr.udp.isValid()) {
            if (hdr.ipv4.isValid()) {
                service.apply();
            } else {
                service_v6.apply();
            }
        }

        if (meta.max_length != 0) {
            meta.path = PATH_NOT_PUBLISH;

            if (hdr.publish.isValid()) {
                bit<48> deadline;
                lease.read(deadline, 0);
                bit<16> mqttsn_length = hdr.mqttsn_short.isValid()
                    ? (bit<16>)hdr.mqttsn_short.length : hdr.mqttsn_long.length;
                bit<2> qos = hdr.publish.flags[6:5];

                if (standard_metadata.ingress_global_timestamp >= deadline) {
                    meta.path = PATH_NO_LEASE;
                } else if (mqttsn_length + UDP_HEADER != hdr.udp.length
                           || hdr.udp.length + meta.ip_header != meta.ip_length
                           || meta.ip_length < meta.ip_header  // the sum above wrapped
                           || standard_metadata.packet_length
                                < ETHERNET_HEADER + meta.vlan_length + (bit<32>)meta.ip_length
                           || (hdr.mqttsn_long.isValid() && mqttsn_length < PUBLISH_LONG_HEADER)) {
                    meta.path = PATH_LENGTH;
                } else if (qos == QOS_2 || hdr.publish.flags[7:7] == 1) {
                    meta.path = PATH_QOS2_OR_DUP;
                } else if (standard_metadata.checksum_error == 1
                           || (hdr.udp.checksum == 0 && meta.ip_header == IPV6_HEADER)) {
                    meta.path = PATH_CHECKSUM;
                } else {
                    if (qos == QOS_MINUS_ONE) {
                        open_publication.apply();
                        open_meter.execute_meter((bit<32>)standard_metadata.ingress_port,
                                                 meta.color);
                        if (meta.color == METER_RED) {
                            path.count(PATH_OPEN_METER);
                            mark_to_drop(standard_metadata);
                            exit;
                        }
                    } else if (hdr.ipv4.isValid()) {
                        publication.apply();
                    } else {
                        publication_v6.apply();
                    }
                    if (meta.color == METER_RED) {
                        path.count(PATH_METER);
                        mark_to_drop(standard_metadata);
                        exit;
                    }
                    if (meta.admitted == 0) {
                        meta.path = PATH_UNKNOWN_PUBLICATION;
                    } else {
                        // Most topics have no `$share` group.
                        bool offloadable = topic.apply().hit;
                        if (!offloadable) {
                            meta.publisher = hdr.ipv4.isValid()
                                ? hdr.ipv4.src : hdr.ipv6.src[31:0] ^ hdr.ipv6.src[95:64];
                            offloadable = shared_topic.apply().hit;
                        }
                        // Retain: the broker stores it, and acknowledges it.
                        bit<1> retain = hdr.publish.flags[4:4];
                        if (!offloadable) {
                            meta.path = PATH_TOPIC_IN_SOFTWARE;
                        } else if (meta.translated == 1 && meta.ip_header == IPV4_HEADER
                                   && (hdr.udp.checksum == 0
                                       || (bit<32>)meta.ip_length + (bit<32>)IPV6_GROWTH
                                            > (bit<32>)meta.max_length)) {
                            meta.path = PATH_TRANSLATION;
                        } else if ((meta.copy | retain) == 0) {
                            meta.path = PATH_OFFLOADED;
                        } else if (meta.group == 0 && meta.bridged.rid == 0) {
                            meta.path = PATH_COPY_ONLY;
                        } else if ((bit<32>)meta.ip_length + (bit<32>)TAG_LENGTH_16
                                   > (bit<32>)meta.max_length) {
                            meta.path = PATH_TOO_LONG;
                        } else {
                            meta.path = PATH_OFFLOADED;
                            meta.ack = 0;
                            if (meta.copy == 0) {
                                clone_preserving_field_list(CloneType.I2E, SESSION_COPY,
                                                            FIELDS_BRIDGED);
                            }
                            // The broker may answer: its way back must stay known.
                            meta.answered = 1;
                        }
                    }
                }
            } else if (meta.forged == 1) {
                // No port of one switch is a fabric port: whoever sends our tag forges it.
                path.count(PATH_FORGED_TAG);
                mark_to_drop(standard_metadata);
                exit;
            }

            if (meta.path == PATH_OFFLOADED) {
                path.count(PATH_OFFLOADED);
                if (meta.ack == 1) {
                    clone_preserving_field_list(
                        CloneType.I2E,
                        SESSION_ACK + (bit<32>)standard_metadata.ingress_port,
                        FIELDS_BRIDGED);
                }
                if (meta.bridged.rid == 0) {
                    if (meta.group == 0) {
                        mark_to_drop(standard_metadata);
                    } else {
                        standard_metadata.mcast_grp = meta.group;
                    }
                }
                if (meta.answered == 0) {
                    exit;
                }
            } else {
                software_meter.execute_meter((bit<32>)standard_metadata.ingress_port, meta.color);
                if (meta.color == METER_RED) {
                    path.count(PATH_SOFTWARE_METER);
                    mark_to_drop(standard_metadata);
                    exit;
                }
                path.count(meta.path);
                meta.bridged.rid = 0;
            }
        }

        // Not for what is offloaded and the broker does not hear of: its sender is known, for a
        // publication binds it, and no answer has to find the way back to it.
        smac.apply();
        if (meta.answered == 0) {
            // Bridged, or the software path. Nobody lives behind a group address. (BMv2 sends the last
            // digest of a packet only, and that of `endpoint` says all that the one of `smac` does.)
            if (hdr.udp.isValid() && meta.max_length == 0 && hdr.ethernet.dst[40:40] == 0) {
                bool answered = false;
                if (hdr.ipv4.isValid()) {
                    answered = answer.apply().hit;
                } else {
                    answered = answer_v6.apply().hit;
                }
                if (answered) {
                    if (meta.broker_port != standard_metadata.ingress_port
                        && meta.broker_port != ANY_PORT) {
                        path.count(PATH_FOREIGN_ANSWER);
                    } else if (hdr.ipv4.isValid()) {
                        endpoint.apply();
                    } else {
                        endpoint_v6.apply();
                    }
                }
            }
            dmac.apply();
            if (standard_metadata.egress_spec == standard_metadata.ingress_port
                && standard_metadata.mcast_grp == 0) {
                mark_to_drop(standard_metadata);
            }
        }
    }
}

#endif
