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

#include "bridging.p4"
#include "services.p4"
#include "admission.p4"
#include "topics.p4"

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
