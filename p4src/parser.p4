// Parser and deparser.
#ifndef TOPICSWITCH_PARSER_P4
#define TOPICSWITCH_PARSER_P4

#include "headers.p4"

parser MqttsnParser(packet_in packet,
                    out headers_t hdr,
                    inout metadata_t meta,
                    inout standard_metadata_t standard_metadata) {

    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default:  parse_ethernet;
        }
    }

    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition select(hdr.packet_out.operation) {
            OUT_SEND: parse_ethernet_only;
            default:  accept;
        }
    }

    // What the controller sends is sent as it is.
    state parse_ethernet_only {
        packet.extract(hdr.ethernet);
        transition accept;
    }

    // An 802.1Q tag would be extracted between here and the IP header, and IPv6 beside IPv4.
    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            default:        accept;
        }
    }

    // No options, and not a fragment: those go to the broker like anything else.
    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.more_fragments,
                          hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (4, 5, 0, 0, IP_PROTO_UDP): parse_udp;
            default:                    accept;
        }
    }

    // Behind any UDP that is long enough; `service` decides afterwards whether it was MQTT-SN.
    // The shortest PUBLISH has 7 octets, so the shortest UDP length of interest is 15.
    state parse_udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.length) {
            15:                parse_mqttsn;
            0x0000 &&& 0xfff0: accept;
            default:           parse_mqttsn;
        }
    }

    state parse_mqttsn {
        transition select(packet.lookahead<bit<40>>()) {
            // Length (1 octet), MsgType …
            0x00_0c_00_00_00 &&& 0x00_ff_00_00_00: parse_short_or_long;
            // Length, 0xfe, Ctrl, the first two octets of the Wireless Node Id
            0x00_fe_00_54_53 &&& 0x00_ff_00_ff_ff: parse_encapsulation;
            // 0x01, Length (2 octets), MsgType
            0x01_00_00_0c_00 &&& 0xff_00_00_ff_00: parse_long;
            default: accept;
        }
    }

    // 0x01 0x0c … may be a long Length of 0x0cnn: the first octet tells.
    state parse_short_or_long {
        transition select(packet.lookahead<bit<32>>()) {
            0x01_00_00_0c &&& 0xff_00_00_ff: parse_long;
            0x01_00_00_00 &&& 0xff_00_00_00: accept;
            default: parse_short;
        }
    }

    state parse_short {
        packet.extract(hdr.mqttsn_short);
        packet.extract(hdr.publish);
        transition accept;
    }

    state parse_long {
        packet.extract(hdr.mqttsn_long);
        packet.extract(hdr.publish);
        transition accept;
    }

    state parse_encapsulation {
        packet.extract(hdr.encapsulation);
        transition accept;
    }
}

control MqttsnDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.udp);
        packet.emit(hdr.tag);
        packet.emit(hdr.puback);
        packet.emit(hdr.encapsulation);
        packet.emit(hdr.mqttsn_short);
        packet.emit(hdr.mqttsn_long);
        packet.emit(hdr.publish);
    }
}

#endif
