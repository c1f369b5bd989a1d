// One table of each match kind; the first byte of the packet chooses. The winner's number leaves in
// the second byte, and in which way (hit 1, miss 2) in the third.
#include <core.p4>
#include <v1model.p4>

header packet_h {
    bit<8>   table_number;
    bit<8>   result;
    bit<8>   way;
    bit<16>  x;
    bit<32>  y;
    bit<128> z;
}

header extra_h {
    bit<8> value;
}

struct headers_t {
    packet_h packet;
    extra_h  extra;
}

struct metadata_t {}

parser TestParser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                  inout standard_metadata_t standard_metadata) {
    state start {
        packet.extract(hdr.packet);
        transition select(hdr.packet.way) {
            7: extra;
            default: accept;
        }
    }
    state extra {
        packet.extract(hdr.extra);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout metadata_t meta) { apply {} }
control Update(inout headers_t hdr, inout metadata_t meta) { apply {} }

control TestIngress(inout headers_t hdr, inout metadata_t meta,
                    inout standard_metadata_t standard_metadata) {
    action answer(bit<8> n) { hdr.packet.result = n; }
    action nothing() {}

    table exact_table {
        key = { hdr.packet.x: exact; hdr.packet.z: exact; }
        actions = { answer; nothing; }
        default_action = nothing();
        size = 1024;
    }
    table lpm_table {
        key = { hdr.packet.x: exact; hdr.packet.y: lpm; }
        actions = { answer; nothing; }
        default_action = answer(99);
        size = 1024;
    }
    table lpm_wide {
        key = { hdr.packet.z: lpm; }
        actions = { answer; nothing; }
        default_action = nothing();
    }
    table ternary_table {
        key = { hdr.packet.x: ternary; hdr.packet.z: ternary; }
        actions = { answer; nothing; }
        default_action = nothing();
        size = 1024;
    }
    table range_table {
        key = { hdr.packet.x: range; hdr.packet.y: ternary; }
        actions = { answer; nothing; }
        default_action = nothing();
    }
    table optional_table {
        key = { hdr.packet.x: optional; hdr.packet.y: optional; }
        actions = { answer; nothing; }
        default_action = nothing();
    }
    table const_table {
        key = { hdr.packet.x: ternary; hdr.packet.y: exact; }
        actions = { answer; nothing; }
        const default_action = nothing();
        const entries = {
            (0x1200 &&& 0xFF00, 1): answer(1);
            (0x1000 &&& 0xF000, 1): answer(2);
            (_, 1): answer(3);
            (_, 2): answer(4);
        }
    }
    table const_range {
        key = { hdr.packet.x: range; }
        actions = { answer; nothing; }
        const default_action = nothing();
        const entries = {
            10..20: answer(1);
            15..30: answer(2);
        }
    }
    table const_lpm {
        key = { hdr.packet.y: lpm; }
        actions = { answer; nothing; }
        const default_action = nothing();
        const entries = {
            0x0a000000 &&& 0xff000000: answer(8);
            0x0a010000 &&& 0xffff0000: answer(16);
        }
    }
    table invalid_key {
        key = { hdr.extra.value: exact; hdr.extra.isValid(): exact; }
        actions = { answer; nothing; }
        default_action = nothing();
    }
    table switched {
        key = { hdr.packet.x: exact; }
        actions = { answer; nothing; NoAction; }
        default_action = NoAction();
    }

    apply {
        bit<8> way = 0;
        if (hdr.packet.table_number == 0) {
            if (exact_table.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 1) {
            if (lpm_table.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 2) {
            if (ternary_table.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 3) {
            if (range_table.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 4) {
            if (optional_table.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 5) {
            if (const_table.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 6) {
            if (const_range.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 7) {
            if (const_lpm.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 8) {
            if (hdr.packet.x == 1) { hdr.extra.setInvalid(); }
            if (invalid_key.apply().hit) { way = 1; } else { way = 2; }
        } else if (hdr.packet.table_number == 9) {
            switch (switched.apply().action_run) {
                answer: { way = 3; }
                nothing: { way = 4; }
                default: { way = 5; }
            }
        } else if (hdr.packet.table_number == 10) {
            if (lpm_wide.apply().hit) { way = 1; } else { way = 2; }
        }
        hdr.packet.way = way;
        standard_metadata.egress_spec = 1;
    }
}

control TestEgress(inout headers_t hdr, inout metadata_t meta,
                   inout standard_metadata_t standard_metadata) { apply {} }

control TestDeparser(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.packet); packet.emit(hdr.extra); }
}

V1Switch(TestParser(), Verify(), TestIngress(), TestEgress(), Update(), TestDeparser()) main;
