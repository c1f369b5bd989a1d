// Every entity that P4Runtime can name in a v1model program, each used once: the fixture of the
// P4Runtime server's tests. As a switch it does this:
//   Ethernet destination in `dmac`  -> `forward` to a port, or `broadcast` to a multicast group;
//   otherwise                       -> to the controller, with `packet_in` in front;
//   Ethernet source not in `smac`   -> a digest;
//   packet from the controller      -> to the port that `packet_out` names.
#include <core.p4>
#include <v1model.p4>

#define CPU_PORT 510

header ethernet_t {
    bit<48> dst_addr;
    bit<48> src_addr;
    bit<16> ether_type;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<8> diffserv;
    bit<16> total_len;
    bit<16> identification;
    bit<3> flags;
    bit<13> frag_offset;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> hdr_checksum;
    bit<32> src_addr;
    bit<32> dst_addr;
}

@controller_header("packet_in")
header packet_in_t {
    bit<9> ingress_port;
    bit<7> reason;
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> egress_port;
    bit<7> pad;
}

struct headers_t {
    packet_out_t packet_out;
    packet_in_t packet_in;
    ethernet_t ethernet;
    ipv4_t ipv4;
}

struct metadata_t {
    bit<1> trusted;
    bit<2> color;
}

struct learn_t {
    bit<48> src_addr;
    bit<9> port;
}

parser MyParser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                inout standard_metadata_t standard_metadata) {
    value_set<bit<16>>(4) trusted_types;

    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }
    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition parse_ethernet;
    }
    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            0x0800: parse_ipv4;
            trusted_types: parse_trusted;
            default: accept;
        }
    }
    state parse_trusted {
        meta.trusted = 1;
        transition accept;
    }
    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        transition accept;
    }
}

control MyVerifyChecksum(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control MyIngress(inout headers_t hdr, inout metadata_t meta,
                  inout standard_metadata_t standard_metadata) {
    counter(16, CounterType.packets_and_bytes) port_counter;
    meter(4, MeterType.bytes) port_meter;
    register<bit<32>>(8) scratch;
    direct_counter(CounterType.packets_and_bytes) dmac_counter;
    direct_meter<bit<2>>(MeterType.packets) acl_meter;
    action_selector(HashAlgorithm.crc16, 32w64, 32w14) ecmp_selector;
    action_profile(32w16) qos_profile;

    action learn() {
        digest<learn_t>(1, {hdr.ethernet.src_addr, standard_metadata.ingress_port});
    }
    action forward(bit<9> port) {
        standard_metadata.egress_spec = port;
    }
    action broadcast(bit<16> group) {
        standard_metadata.mcast_grp = group;
    }
    action to_controller(bit<7> reason) {
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = standard_metadata.ingress_port;
        hdr.packet_in.reason = reason;
        standard_metadata.egress_spec = CPU_PORT;
    }
    action mirror() {
        clone(CloneType.I2E, 32w5);
    }
    action drop() {
        mark_to_drop(standard_metadata);
    }
    action set_diffserv(bit<8> diffserv) {
        hdr.ipv4.diffserv = diffserv;
    }

    table smac {
        key = { hdr.ethernet.src_addr: exact; }
        actions = { learn; NoAction; }
        default_action = learn();
        size = 64;
        support_timeout = true;
    }
    table dmac {
        key = { hdr.ethernet.dst_addr: exact; }
        actions = { forward; broadcast; @defaultonly to_controller; @tableonly drop; }
        default_action = to_controller(1);
        counters = dmac_counter;
        size = 8;
    }
    table route {
        key = { hdr.ipv4.dst_addr: lpm; }
        actions = { forward; NoAction; }
        const default_action = NoAction();
        size = 64;
    }
    table acl {
        key = {
            hdr.ipv4.src_addr: ternary;
            hdr.ipv4.protocol: optional;
            hdr.ipv4.ttl: range;
        }
        actions = { drop; mirror; NoAction; }
        meters = acl_meter;
        size = 64;
    }
    table ethertype {
        key = { hdr.ethernet.ether_type: exact; }
        actions = { drop; NoAction; }
        const entries = {
            0x88cc: drop();
            0x8809: NoAction();
        }
    }
    table ecmp {
        key = {
            hdr.ipv4.dst_addr: exact;
            hdr.ipv4.src_addr: selector;
        }
        actions = { forward; NoAction; }
        implementation = ecmp_selector;
        size = 64;
    }
    table qos {
        key = { hdr.ipv4.protocol: exact; }
        actions = { set_diffserv; NoAction; }
        implementation = qos_profile;
        size = 64;
    }

    apply {
        if (hdr.packet_out.isValid()) {
            standard_metadata.egress_spec = hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
            exit;
        }
        port_counter.count((bit<32>)standard_metadata.ingress_port);
        port_meter.execute_meter(32w0, meta.color);
        bit<32> seen;
        scratch.read(seen, 32w0);
        scratch.write(32w0, seen + 1);
        smac.apply();
        dmac.apply();
        ethertype.apply();
        if (hdr.ipv4.isValid()) {
            route.apply();
            ecmp.apply();
            qos.apply();
            acl.apply();
            acl_meter.read(meta.color);
        }
    }
}

control MyEgress(inout headers_t hdr, inout metadata_t meta,
                 inout standard_metadata_t standard_metadata) {
    apply {}
}

control MyComputeChecksum(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control MyDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
    }
}

V1Switch(MyParser(), MyVerifyChecksum(), MyIngress(), MyEgress(), MyComputeChecksum(),
         MyDeparser()) main;
