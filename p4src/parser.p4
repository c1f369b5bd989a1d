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

    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            ETHERTYPE_VLAN: parse_vlan;
            default:        accept;
        }
    }

    // One tag; what has two is bridged.
    state parse_vlan {
        packet.extract(hdr.vlan);
        meta.vid = hdr.vlan.vid;
        meta.vlan_length = VLAN_HEADER;
        transition select(hdr.vlan.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            default:        accept;
        }
    }

    // Behind options and in first fragments no PUBLISH is looked for, but a forged tag is. Version
    // and IHL are one octet: 0x45 has no options, 0x46 to 0x4f have.
    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.version_ihl, hdr.ipv4.flags_fragment, hdr.ipv4.protocol) {
            (0x45, 0 &&& 0x3fff, IP_PROTO_UDP):          parse_udp;
            (0x45, 0 &&& 0x1fff, IP_PROTO_UDP):          parse_opaque_udp;
            (0x46 &&& 0xfe, 0 &&& 0x1fff, IP_PROTO_UDP): parse_ipv4_options;
            (0x48 &&& 0xf8, 0 &&& 0x1fff, IP_PROTO_UDP): parse_ipv4_options;
            default:                                     accept;
        }
    }

    state parse_ipv4_options {
        packet.extract(hdr.ipv4_options,
                       (bit<32>)(hdr.ipv4.version_ihl[3:0] - 5) << 5);
        transition parse_opaque_udp;
    }

    // No extension headers but, for the sake of forged tags, that of a first fragment.
    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        transition select(hdr.ipv6.version, hdr.ipv6.next_header) {
            (6, IP_PROTO_UDP):  parse_udp;
            (6, IPV6_FRAGMENT): parse_ipv6_fragment;
            default:            accept;
        }
    }

    state parse_ipv6_fragment {
        packet.extract(hdr.ipv6_fragment);
        transition select(hdr.ipv6_fragment.next_header, hdr.ipv6_fragment.offset_flags) {
            (IP_PROTO_UDP, 0 &&& 0xfff8): parse_opaque_udp;
            default:                      accept;
        }
    }

    state parse_opaque_udp {
        packet.extract(hdr.udp);
        transition select(packet.lookahead<bit<40>>()) {
            0x00_fe_00_54_53 &&& 0x00_ff_00_ff_ff: forged_tag;
            default: accept;
        }
    }

    // Behind any UDP; `service` decides afterwards whether it was MQTT-SN. What is shorter than the
    // lookahead, or than a PUBLISH, ends the parser with an error, which nobody minds: the headers
    // before it stay, and no PUBLISH is there.
    state parse_udp {
        packet.extract(hdr.udp);
        transition select(packet.lookahead<bit<40>>()) {
            // A first octet of 1 announces two octets of Length. Those may look like the rest of a
            // short PUBLISH (0x01 0x0c …), so they come first.
            0x01_00_00_0c_00 &&& 0xff_00_00_ff_00: parse_long;
            0x01_00_00_00_00 &&& 0xff_00_00_00_00: accept;
            // Length (1 octet), MsgType …
            0x00_0c_00_00_00 &&& 0x00_ff_00_00_00: parse_short;
            // Length, 0xfe, Ctrl, the first two octets of the Wireless Node Id. (The broker takes no
            // encapsulation with a Length of three octets.)
            0x00_fe_00_54_53 &&& 0x00_ff_00_ff_ff: forged_tag;
            default: accept;
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

    state forged_tag {
        meta.forged = 1;
        transition accept;
    }
}

control MqttsnDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.vlan);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv4_options);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.ipv6_fragment);
        packet.emit(hdr.udp);
        packet.emit(hdr.tag);
        packet.emit(hdr.puback);
        packet.emit(hdr.mqttsn_short);
        packet.emit(hdr.mqttsn_long);
        packet.emit(hdr.publish);
    }
}

#endif
