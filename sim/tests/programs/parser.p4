// Everything a parser does: lookahead, advance, select with masks, ranges, several keys and a value
// set, verify, a header stack, a varbit and errors. Egress reports what happened in a header.
#include <core.p4>
#include <v1model.p4>

error { Unlucky }

header report_h {
    bit<8>  error_code;
    bit<8>  state;
    bit<16> length;
    bit<8>  depth;
    bit<8>  ahead;
}

header type_h {
    bit<8> kind;
}

header pair_h {
    bit<4>  a;
    bit<12> b;
}

header label_h {
    bit<7> value;
    bit<1> bottom;
}

header options_h {
    bit<8>       length;
    varbit<64>   data;
    bit<8>       trailer;
}

header wide_h {
    bit<128> address;
    int<8>   signed_value;
}

struct headers_t {
    report_h   report;
    type_h     type;
    pair_h     pair;
    label_h[3] labels;
    options_h  options;
    wide_h     wide;
}

struct metadata_t {
    bit<8> state;
    bit<8> ahead;
}

parser TestParser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                  inout standard_metadata_t standard_metadata) {
    value_set<bit<8>>(4) special;

    state start {
        packet.extract(hdr.type);
        transition select(hdr.type.kind) {
            1: pair;
            2: label;
            3: options;
            4: ahead;
            5: skip;
            6: unlucky;
            7: wide;
            8 .. 11: in_range;
            0x40 &&& 0xF0: masked;
            special: in_set;
            default: accept;
        }
    }

    state pair {
        packet.extract(hdr.pair);
        transition select(hdr.pair.a, hdr.pair.b) {
            (1, 0x234): both;
            (1, _): first;
            (_, 0x234 &&& 0xFFF): second;
            default: accept;
        }
    }
    state both { meta.state = 3; transition accept; }
    state first { meta.state = 1; transition accept; }
    state second { meta.state = 2; transition accept; }

    state label {
        packet.extract(hdr.labels.next);
        transition select(hdr.labels.last.bottom) {
            0: label;
            1: accept;
        }
    }

    state options {
        bit<8> length = packet.lookahead<bit<8>>();
        packet.extract(hdr.options, (bit<32>)length * 8);
        transition accept;
    }

    state ahead {
        meta.ahead = packet.lookahead<pair_h>().b[7:0];
        transition select(packet.lookahead<bit<16>>()[15:12]) {
            9: nine;
            default: accept;
        }
    }
    state nine { meta.state = 9; transition accept; }

    state skip {
        packet.advance(16);
        packet.extract(hdr.pair);
        transition accept;
    }

    state unlucky {
        packet.extract(hdr.pair);
        verify(hdr.pair.b != 13, error.Unlucky);
        meta.state = 6;
        transition accept;
    }

    state wide {
        packet.extract(hdr.wide);
        transition select(hdr.wide.address) {
            0x20010db8000000000000000000000001: one;
            0x20010db8000000000000000000000000 &&& 0xffffffff000000000000000000000000: prefix;
            default: accept;
        }
    }
    state one { meta.state = 1; transition accept; }
    state prefix { meta.state = 2; transition accept; }

    state in_range { meta.state = 8; transition accept; }
    state masked { meta.state = 4; transition accept; }
    state in_set { meta.state = 5; transition accept; }
}

control Verify(inout headers_t hdr, inout metadata_t meta) { apply {} }
control Update(inout headers_t hdr, inout metadata_t meta) { apply {} }

control TestIngress(inout headers_t hdr, inout metadata_t meta,
                    inout standard_metadata_t standard_metadata) {
    apply {
        hdr.report.setValid();
        if (standard_metadata.parser_error == error.NoError) {
            hdr.report.error_code = 0;
        } else if (standard_metadata.parser_error == error.PacketTooShort) {
            hdr.report.error_code = 1;
        } else if (standard_metadata.parser_error == error.StackOutOfBounds) {
            hdr.report.error_code = 2;
        } else if (standard_metadata.parser_error == error.HeaderTooShort) {
            hdr.report.error_code = 3;
        } else if (standard_metadata.parser_error == error.Unlucky) {
            hdr.report.error_code = 4;
        } else {
            hdr.report.error_code = 255;
        }
        hdr.report.state = meta.state;
        hdr.report.ahead = meta.ahead;
        hdr.report.length = (bit<16>)standard_metadata.packet_length;
        if (hdr.labels[0].isValid()) { hdr.report.depth = 1; }
        if (hdr.labels[1].isValid()) { hdr.report.depth = 2; }
        if (hdr.labels[2].isValid()) { hdr.report.depth = 3; }
        if (hdr.type.kind == 2 && hdr.labels[1].isValid()) {
            hdr.labels.pop_front(1);
        }
        if (hdr.wide.isValid()) {
            hdr.wide.signed_value = hdr.wide.signed_value |-| 100;
        }
        standard_metadata.egress_spec = 1;
    }
}

control TestEgress(inout headers_t hdr, inout metadata_t meta,
                   inout standard_metadata_t standard_metadata) { apply {} }

control TestDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.report);
        packet.emit(hdr.type);
        packet.emit(hdr.pair);
        packet.emit(hdr.labels);
        packet.emit(hdr.options);
        packet.emit(hdr.wide);
    }
}

V1Switch(TestParser(), Verify(), TestIngress(), TestEgress(), Update(), TestDeparser()) main;
