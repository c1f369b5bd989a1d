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

    // ---- Bridging ----------------------------------------------------------------------------

    action learn_mac() {
        digest<mac_learned_t>(1, {
            hdr.ethernet.src,
            standard_metadata.ingress_port,
            standard_metadata.ingress_global_timestamp[47:20]
        });
    }

    action mac_known() {}

    table smac {
        key = {
            hdr.ethernet.src:               exact @name("eth_src");
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
        standard_metadata.mcast_grp = GROUP_FLOOD;
    }

    action forward(bit<9> port) {
        standard_metadata.egress_spec = port;
    }

    table dmac {
        key = {
            hdr.ethernet.dst: exact @name("eth_dst");
        }
        actions = {
            forward;
            @defaultonly flood;
        }
        const default_action = flood();
        size = 4096;
    }

    // ---- Services and endpoints --------------------------------------------------------------

    // `max_length`: the longest IPv4 packet (octets) that the port towards the broker carries.
    action serve(bit<16> max_length) {
        meta.max_length = max_length;
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

    action learn_endpoint() {
        digest<endpoint_learned_t>(2, {
            standard_metadata.ingress_port,
            hdr.ethernet.src,
            hdr.ethernet.dst,
            hdr.ipv4.src,
            hdr.ipv4.dst,
            standard_metadata.ingress_global_timestamp[47:20]
        });
    }

    action endpoint_known() {}

    // Behind which port and MAC address a client's address lives, routers included; and by which
    // MAC address it calls the broker.
    table endpoint {
        key = {
            standard_metadata.ingress_port: exact @name("ingress_port");
            hdr.ethernet.src:               exact @name("eth_src");
            hdr.ethernet.dst:               exact @name("eth_dst");
            hdr.ipv4.src:                   exact @name("ip_src");
        }
        actions = {
            endpoint_known;
            @defaultonly learn_endpoint;
        }
        const default_action = learn_endpoint();
        size = 65536;
    }

    // ---- Admission ---------------------------------------------------------------------------

    direct_counter(CounterType.packets_and_bytes) publication_counter;
    direct_meter<bit<2>>(MeterType.packets) publication_meter;

    action admit(topic_index_t topic_index) {
        publication_counter.count();
        publication_meter.read(meta.color);
        meta.admitted = 1;
        meta.topic_index = topic_index;
    }

    // The presence of an entry is the permission to publish; port and address bind it to the client.
    table publication {
        key = {
            standard_metadata.ingress_port: exact @name("ingress_port");
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

    direct_counter(CounterType.packets_and_bytes) open_publication_counter;

    action admit_open(topic_index_t topic_index) {
        open_publication_counter.count();
        meta.admitted = 1;
        meta.topic_index = topic_index;
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

    // ---- Topics ------------------------------------------------------------------------------

    direct_counter(CounterType.packets_and_bytes) topic_counter;
    direct_counter(CounterType.packets_and_bytes) shared_topic_counter;

    // `group_*`: multicast group of the subscribers served at that QoS, 0 for nobody. Where `copy_*`
    // is set the group also holds the broker's replica (RID_COPY).
    // `copy_flags` is the finished Flags octet of the copies: QoS 0, no DUP, no Retain, and the
    // TopicIdType of the home alias.
    action decide(bit<16> group_q0, bit<16> group_q1,
                  bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased,
                  generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
        meta.offloadable = 1;
        meta.group = meta.qos1 == 1 ? group_q1 : group_q0;
        meta.copy = meta.qos1 == 1 ? copy_q1 : copy_q0;
        meta.ack = ack_q1 & meta.qos1;
        meta.bridged.topic_index = meta.topic_index;
        meta.bridged.generation = generation;
        meta.bridged.copy_flags = copy_flags;
        meta.bridged.copy_topic_id = copy_topic_id;
        meta.bridged.aliased = aliased;
    }

    action offload(bit<16> group_q0, bit<16> group_q1,
                   bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased,
                   generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
        topic_counter.count();
        decide(group_q0, group_q1, copy_q0, copy_q1, ack_q1, aliased,
               generation, copy_flags, copy_topic_id);
    }

    // Nobody subscribes: the PUBLISH ends here, acknowledged at QoS 1. One with Retain still reaches
    // the broker, under this generation.
    action discard(generation_t generation) {
        topic_counter.count();
        meta.offloadable = 1;
        meta.ack = meta.qos1;
        meta.bridged.topic_index = meta.topic_index;
        meta.bridged.generation = generation;
    }

    table topic {
        key = {
            meta.topic_index: exact @name("topic_index");
        }
        actions = {
            offload;
            discard;
            @defaultonly NoAction;
        }
        const default_action = NoAction();
        size = 65536;
        counters = topic_counter;
    }

    action offload_to_member(bit<16> group_q0, bit<16> group_q1,
                             bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased,
                             generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
        decide(group_q0, group_q1, copy_q0, copy_q1, ack_q1, aliased,
               generation, copy_flags, copy_topic_id);
    }

    // One `$share` group: each member of the selector is the multicast group of that member and the
    // ordinary subscribers. The hash keeps a publisher with its member.
    action_selector(HashAlgorithm.crc32, 32w4096, 32w16) share_group;

    table shared_topic {
        key = {
            meta.topic_index:  exact @name("topic_index");
            hdr.ipv4.src:      selector;
            hdr.udp.src_port:  selector;
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

        smac.apply();

        if (hdr.udp.isValid() && service.apply().hit) {
            meta.path = PATH_NOT_PUBLISH;

            if (hdr.encapsulation.isValid()) {
                // No port of one switch is a fabric port: whoever sends our tag forges it.
                path.count(PATH_FORGED_TAG);
                mark_to_drop(standard_metadata);
                exit;
            }

            if (hdr.publish.isValid() && standard_metadata.parser_error == error.NoError) {
                bit<48> deadline;
                lease.read(deadline, 0);
                bit<16> mqttsn_length = hdr.mqttsn_short.isValid()
                    ? (bit<16>)hdr.mqttsn_short.length : hdr.mqttsn_long.length;
                bit<2> qos = hdr.publish.flags[6:5];
                if (qos == QOS_1) {
                    meta.qos1 = 1;
                }

                if (standard_metadata.ingress_global_timestamp >= deadline) {
                    meta.path = PATH_NO_LEASE;
                } else if (mqttsn_length + UDP_HEADER != hdr.udp.length
                           || hdr.udp.length + IPV4_HEADER != hdr.ipv4.total_length
                           || hdr.ipv4.total_length < IPV4_HEADER  // the sum above wrapped
                           || standard_metadata.packet_length
                                < ETHERNET_HEADER + (bit<32>)hdr.ipv4.total_length
                           || (hdr.mqttsn_long.isValid() && mqttsn_length < PUBLISH_LONG_HEADER)) {
                    meta.path = PATH_LENGTH;
                } else if (qos == QOS_2 || hdr.publish.flags[7:7] == 1) {
                    meta.path = PATH_QOS2_OR_DUP;
                } else if (standard_metadata.checksum_error == 1) {
                    meta.path = PATH_CHECKSUM;
                } else {
                    if (qos == QOS_MINUS_ONE) {
                        open_publication.apply();
                    } else {
                        publication.apply();
                    }
                    if (meta.color == METER_RED) {
                        path.count(PATH_METER);
                        mark_to_drop(standard_metadata);
                        exit;
                    }
                    if (meta.admitted == 0) {
                        meta.path = PATH_UNKNOWN_PUBLICATION;
                    } else if (!topic.apply().hit && !shared_topic.apply().hit) {
                        meta.path = PATH_TOPIC_IN_SOFTWARE;
                    } else {
                        // Retain: the broker stores it, and acknowledges it.
                        bit<1> retain = hdr.publish.flags[4:4];
                        if ((meta.copy | retain) == 0) {
                            meta.path = PATH_OFFLOADED;
                        } else if (meta.group == 0) {
                            meta.path = PATH_COPY_ONLY;
                        } else if ((bit<32>)hdr.ipv4.total_length + (bit<32>)TAG_LENGTH_16
                                   > (bit<32>)meta.max_length) {
                            meta.path = PATH_TOO_LONG;
                        } else {
                            meta.path = PATH_OFFLOADED;
                            meta.ack = 0;
                            if (meta.copy == 0) {
                                clone_preserving_field_list(CloneType.I2E, SESSION_COPY,
                                                            FIELDS_BRIDGED);
                            }
                        }
                    }
                }
            }

            path.count(meta.path);
            if (meta.path == PATH_OFFLOADED) {
                if (meta.ack == 1) {
                    clone_preserving_field_list(
                        CloneType.I2E,
                        SESSION_ACK + (bit<32>)standard_metadata.ingress_port,
                        FIELDS_BRIDGED);
                }
                if (meta.group == 0) {
                    mark_to_drop(standard_metadata);
                } else {
                    standard_metadata.mcast_grp = meta.group;
                }
                exit;
            }
            endpoint.apply();
        }

        // Bridged, or the software path.
        dmac.apply();
        if (standard_metadata.egress_spec == standard_metadata.ingress_port
            && standard_metadata.mcast_grp == 0) {
            mark_to_drop(standard_metadata);
        }
    }
}

#endif
