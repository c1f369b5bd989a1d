// Arithmetic on unsigned, signed, saturating, narrow and wide values. The operands arrive in the
// packet and the results leave in it.
#include <core.p4>
#include <v1model.p4>

header operands_h {
    bit<8>   op;
    bit<64>  a;
    bit<64>  b;
    bit<128> wa;
    bit<128> wb;
}

header results_h {
    bit<64>  r;
    bit<128> w;
}

struct headers_t {
    operands_h operands;
    results_h  results;
}

struct metadata_t {}

parser TestParser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                  inout standard_metadata_t standard_metadata) {
    state start {
        packet.extract(hdr.operands);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout metadata_t meta) { apply {} }
control Update(inout headers_t hdr, inout metadata_t meta) { apply {} }

control TestIngress(inout headers_t hdr, inout metadata_t meta,
                    inout standard_metadata_t standard_metadata) {
    apply {
        bit<64> a = hdr.operands.a;
        bit<64> b = hdr.operands.b;
        bit<128> wa = hdr.operands.wa;
        bit<128> wb = hdr.operands.wb;
        bit<64> r = 0;
        bit<128> w = 0;
        if (hdr.operands.op == 0) {
            r = a + b;
            w = wa + wb;
        } else if (hdr.operands.op == 1) {
            r = a - b;
            w = wa - wb;
        } else if (hdr.operands.op == 2) {
            r = a * b;
            w = wa * wb;
        } else if (hdr.operands.op == 3) {
            r = (a & b) | (~a ^ b);
            w = (wa & wb) | (~wa ^ wb);
        } else if (hdr.operands.op == 4) {
            r = a << b[7:0];
            w = wa << b[7:0];
        } else if (hdr.operands.op == 5) {
            r = a >> b[7:0];
            w = wa >> b[7:0];
        } else if (hdr.operands.op == 6) {
            r = a |+| b;
            w = wa |+| wb;
        } else if (hdr.operands.op == 7) {
            r = a |-| b;
            w = wa |-| wb;
        } else if (hdr.operands.op == 8) {
            r = (bit<64>)((int<64>)a |+| (int<64>)b);
            w = (bit<128>)((int<128>)wa |+| (int<128>)wb);
        } else if (hdr.operands.op == 9) {
            r = (bit<64>)((int<64>)a >> b[7:0]);
            w = (bit<128>)((int<128>)wa >> b[7:0]);
        } else if (hdr.operands.op == 10) {
            r = ((int<64>)a < (int<64>)b) ? 64w1 : 64w0;
            w = ((int<128>)wa < (int<128>)wb) ? 128w1 : 128w0;
        } else if (hdr.operands.op == 11) {
            r = (a <= b) ? 64w1 : 64w0;
            w = (wa <= wb) ? 128w1 : 128w0;
        } else if (hdr.operands.op == 12) {
            r = a[31:0] ++ b[63:32];
            w = wa[70:7] ++ wb[127:64];
        } else if (hdr.operands.op == 13) {
            r = (bit<64>)(bit<16>)((int<16>)(int<8>)a[7:0] - (int<16>)(int<8>)b[7:0]);
            w = (bit<128>)a + (bit<128>)wa[63:0];
        } else if (hdr.operands.op == 14) {
            bit<7> s = a[6:0];
            bit<7> t = b[6:0];
            r = (bit<64>)(s + t);
            w = (bit<128>)(s |+| t);
        } else if (hdr.operands.op == 15) {
            r = -a;
            w = -wa;
        }
        hdr.results.setValid();
        hdr.results.r = r;
        hdr.results.w = w;
        hdr.operands.setInvalid();
        standard_metadata.egress_spec = 1;
    }
}

control TestEgress(inout headers_t hdr, inout metadata_t meta,
                   inout standard_metadata_t standard_metadata) { apply {} }

control TestDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.operands);
        packet.emit(hdr.results);
    }
}

V1Switch(TestParser(), Verify(), TestIngress(), TestEgress(), Update(), TestDeparser()) main;
