// The traffic manager's work and the externs: the first byte of the packet says what to do. Egress
// writes down what it sees.
#include <core.p4>
#include <v1model.p4>

header command_h {
    bit<8>  op;
    bit<8>  arg;
    bit<16> value;
}

header seen_h {
    bit<8>  instance_type;
    bit<8>  kept;
    bit<16> egress_rid;
    bit<16> egress_port;
    bit<16> packet_length;
    bit<48> timestamp;
    bit<16> ingress_port;
}

struct headers_t {
    seen_h    seen;
    command_h command;
}

struct metadata_t {
    @field_list(1)
    bit<8> kept;
    bit<8> lost;
    bit<2> color;
    bit<8> rounds;
}

struct learned_t {
    bit<8>  arg;
    bit<16> value;
    bit<9>  port;
}

struct other_t {
    bit<48> when;
}

const bit<8> OP_FORWARD = 0;
const bit<8> OP_DROP = 1;
const bit<8> OP_MULTICAST = 2;
const bit<8> OP_CLONE_I2E = 3;
const bit<8> OP_CLONE_E2E = 4;
const bit<8> OP_RESUBMIT = 5;
const bit<8> OP_RECIRCULATE = 6;
const bit<8> OP_DIGEST = 7;
const bit<8> OP_TRUNCATE = 8;
const bit<8> OP_REGISTER_WRITE = 9;
const bit<8> OP_REGISTER_READ = 10;
const bit<8> OP_COUNT = 11;
const bit<8> OP_METER = 12;
const bit<8> OP_HASH = 13;
const bit<8> OP_RANDOM = 14;
const bit<8> OP_EXIT = 15;
const bit<8> OP_DIRECT = 16;
const bit<8> OP_SELECT = 17;
const bit<8> OP_ASSERT = 18;
const bit<8> OP_DROP_IN_EGRESS = 19;
const bit<8> OP_AGED = 20;
const bit<8> OP_DROP_THEN_MULTICAST = 21;
const bit<8> OP_MULTICAST_THEN_DROP = 22;
const bit<8> OP_PROFILE = 23;
const bit<8> OP_WIDE_REGISTER = 24;
const bit<8> OP_LOOP = 25;
const bit<8> OP_TRUNCATE_IN_EGRESS = 26;

parser TestParser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                  inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.instance_type) {
            4: again;
            default: first;
        }
    }
    state first {
        packet.extract(hdr.command);
        transition accept;
    }
    // A recirculated packet comes back as it was deparsed.
    state again {
        packet.extract(hdr.seen);
        packet.extract(hdr.command);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout metadata_t meta) { apply {} }
control Update(inout headers_t hdr, inout metadata_t meta) { apply {} }

control TestIngress(inout headers_t hdr, inout metadata_t meta,
                    inout standard_metadata_t standard_metadata) {
    register<bit<32>>(4) cells;
    register<bit<96>>(2) wide_cells;
    counter(4, CounterType.packets_and_bytes) counts;
    meter(4, MeterType.packets) packet_meters;
    meter(4, MeterType.bytes) byte_meters;
    direct_counter(CounterType.packets_and_bytes) entry_counter;
    direct_meter<bit<2>>(MeterType.bytes) entry_meter;
    action_selector(HashAlgorithm.crc16, 32w8, 32w16) choices;
    action_profile(4) members;

    action set_value(bit<16> value) {
        hdr.command.value = value;
    }
    action metered(bit<16> value) {
        entry_counter.count();
        entry_meter.read(meta.color);
        hdr.command.value = value;
    }
    action missed() {
        entry_counter.count();
        hdr.command.value = 0xdead;
    }

    table direct_table {
        key = { hdr.command.arg: exact; }
        actions = { metered; missed; }
        default_action = missed();
        counters = entry_counter;
        meters = entry_meter;
    }
    table aged {
        key = { hdr.command.arg: exact; }
        actions = { set_value; NoAction; }
        default_action = NoAction();
        support_timeout = true;
    }
    table selected {
        key = { hdr.command.arg: exact; hdr.command.value: selector; }
        actions = { set_value; NoAction; }
        implementation = choices;
    }
    table profiled {
        key = { hdr.command.arg: exact; }
        actions = { set_value; NoAction; }
        implementation = members;
    }

    apply {
        standard_metadata.egress_spec = 1;
        if (hdr.command.op == OP_DROP) {
            mark_to_drop(standard_metadata);
        } else if (hdr.command.op == OP_MULTICAST) {
            standard_metadata.mcast_grp = hdr.command.value;
        } else if (hdr.command.op == OP_CLONE_I2E) {
            meta.kept = 77;
            meta.lost = 78;
            clone_preserving_field_list(CloneType.I2E, (bit<32>)hdr.command.value, 1);
            // The clone is of the packet as it arrived.
            hdr.command.value = 0xaaaa;
        } else if (hdr.command.op == OP_RESUBMIT && standard_metadata.instance_type == 0) {
            meta.kept = 55;
            meta.lost = 56;
            hdr.command.value = 0xbbbb;
            resubmit_preserving_field_list(1);
        } else if (hdr.command.op == OP_DIGEST) {
            digest<learned_t>(1, { hdr.command.arg, hdr.command.value,
                                   standard_metadata.ingress_port });
            if (hdr.command.arg == 2) {
                digest<other_t>(2, { standard_metadata.ingress_global_timestamp });
            }
        } else if (hdr.command.op == OP_TRUNCATE) {
            truncate((bit<32>)hdr.command.value);
        } else if (hdr.command.op == OP_REGISTER_WRITE) {
            cells.write((bit<32>)hdr.command.arg, (bit<32>)hdr.command.value + 0x10000);
        } else if (hdr.command.op == OP_REGISTER_READ) {
            bit<32> cell;
            cells.read(cell, (bit<32>)hdr.command.arg);
            hdr.command.value = cell[15:0] + cell[31:16];
        } else if (hdr.command.op == OP_WIDE_REGISTER) {
            bit<96> cell;
            wide_cells.read(cell, (bit<32>)hdr.command.arg);
            cell = (cell << 16) | (bit<96>)hdr.command.value;
            wide_cells.write((bit<32>)hdr.command.arg, cell);
        } else if (hdr.command.op == OP_COUNT) {
            counts.count((bit<32>)hdr.command.arg);
        } else if (hdr.command.op == OP_METER) {
            bit<2> color;
            if (hdr.command.value == 0) {
                packet_meters.execute_meter((bit<32>)hdr.command.arg, color);
            } else {
                byte_meters.execute_meter((bit<32>)hdr.command.arg, color);
            }
            hdr.command.value = (bit<16>)color;
        } else if (hdr.command.op == OP_HASH) {
            if (hdr.command.arg == 0) {
                hash(hdr.command.value, HashAlgorithm.crc16, 16w0,
                     { hdr.command.op, hdr.command.value }, 32w65536);
            } else if (hdr.command.arg == 1) {
                bit<32> h;
                hash(h, HashAlgorithm.crc32, 32w10, { hdr.command.value, 8w1 }, 32w1000);
                hdr.command.value = (bit<16>)h;
            } else if (hdr.command.arg == 2) {
                hash(hdr.command.value, HashAlgorithm.identity, 16w0,
                     { hdr.command.value }, 32w65536);
            } else if (hdr.command.arg == 3) {
                hash(hdr.command.value, HashAlgorithm.xor16, 16w0,
                     { hdr.command.value, hdr.command.op }, 32w65536);
            } else {
                hash(hdr.command.value, HashAlgorithm.csum16, 16w0,
                     { 4w1, hdr.command.value, 4w2, hdr.command.op }, 32w65536);
            }
        } else if (hdr.command.op == OP_RANDOM) {
            random(hdr.command.value, 16w10, 16w13);
        } else if (hdr.command.op == OP_EXIT) {
            hdr.command.value = 1;
            if (hdr.command.arg == 1) {
                exit;
            }
            hdr.command.value = 2;
        } else if (hdr.command.op == OP_DIRECT) {
            direct_table.apply();
            hdr.command.op = (bit<8>)meta.color;
        } else if (hdr.command.op == OP_AGED) {
            aged.apply();
        } else if (hdr.command.op == OP_SELECT) {
            if (!selected.apply().hit) {
                hdr.command.value = 0xffff;
            }
        } else if (hdr.command.op == OP_PROFILE) {
            profiled.apply();
        } else if (hdr.command.op == OP_ASSERT) {
            assert(hdr.command.arg == 1);
        } else if (hdr.command.op == OP_DROP_THEN_MULTICAST) {
            mark_to_drop(standard_metadata);
            standard_metadata.mcast_grp = hdr.command.value;
        } else if (hdr.command.op == OP_MULTICAST_THEN_DROP) {
            standard_metadata.mcast_grp = hdr.command.value;
            mark_to_drop(standard_metadata);
        }
    }
}

control TestEgress(inout headers_t hdr, inout metadata_t meta,
                   inout standard_metadata_t standard_metadata) {
    apply {
        if (hdr.command.op == OP_CLONE_E2E && standard_metadata.instance_type == 0) {
            meta.kept = 33;
            meta.lost = 34;
            hdr.command.value = 0xcccc;
            clone_preserving_field_list(CloneType.E2E, 9, 1);
        }
        if (hdr.command.op == OP_RECIRCULATE && hdr.command.arg > 0) {
            hdr.command.arg = hdr.command.arg - 1;
            meta.kept = hdr.command.arg;
            recirculate_preserving_field_list(1);
        }
        if (hdr.command.op == OP_LOOP) {
            recirculate_preserving_field_list(1);
        }
        if (hdr.command.op == OP_DROP_IN_EGRESS) {
            mark_to_drop(standard_metadata);
        }
        if (hdr.command.op == OP_TRUNCATE_IN_EGRESS) {
            truncate((bit<32>)hdr.command.value);
        }
        hdr.seen.setValid();
        hdr.seen.instance_type = (bit<8>)standard_metadata.instance_type;
        hdr.seen.kept = meta.kept + meta.lost;
        hdr.seen.egress_rid = standard_metadata.egress_rid;
        hdr.seen.egress_port = (bit<16>)standard_metadata.egress_port;
        hdr.seen.packet_length = (bit<16>)standard_metadata.packet_length;
        hdr.seen.timestamp = standard_metadata.ingress_global_timestamp;
        hdr.seen.ingress_port = (bit<16>)standard_metadata.ingress_port;
    }
}

control TestDeparser(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.seen); packet.emit(hdr.command); }
}

V1Switch(TestParser(), Verify(), TestIngress(), TestEgress(), Update(), TestDeparser()) main;
