// Arithmetic of every width: wide sums and products, shifts by wide amounts, saturation, casts,
// signs, slices, concatenation, serializable enums.
#include <core.p4>
#include <v1model.p4>

enum bit<8> Op { ADD = 1, SUB = 2, MUL = 3, SHL = 6, SHR = 7, CMP = 8, SLICE = 9, CAT = 10, SAT = 11, SIGNED = 12, CAST = 13, SAR = 14, INV = 15 }

header op_h { Op op; bit<8> by; bit<128> a; bit<128> b; }
header small_h { bit<8> u; int<8> i; bit<16> w; int<16> s; }
struct headers_t { op_h op; small_h small; }
struct metadata_t {}

parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start { p.extract(h.op); p.extract(h.small); transition accept; }
}
control V(inout headers_t h, inout metadata_t m) { apply {} }
control U(inout headers_t h, inout metadata_t m) { apply {} }
control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        if (h.op.op == Op.ADD) { h.op.a = h.op.a + h.op.b; }
        else if (h.op.op == Op.SUB) { h.op.a = h.op.a - h.op.b; }
        else if (h.op.op == Op.MUL) { h.op.a = h.op.a * h.op.b; }
        else if (h.op.op == Op.SHL) { h.op.a = h.op.a << h.op.b[7:0]; }
        else if (h.op.op == Op.SHR) { h.op.a = h.op.a >> h.op.by; }
        else if (h.op.op == Op.CMP) { h.op.by = h.op.a < h.op.b ? 8w1 : 8w2; }
        else if (h.op.op == Op.SLICE) { h.op.a[71:56] = h.op.b[127:112]; }
        else if (h.op.op == Op.CAT) { h.op.a = h.op.b[63:0] ++ h.op.a[127:64]; }
        else if (h.op.op == Op.SAT) {
            h.small.u = h.small.u |+| 100;
            h.small.i = h.small.i |-| 100;
            h.small.w = h.small.w |-| 0x100;
            h.small.s = h.small.s |+| 0x7000;
        } else if (h.op.op == Op.SIGNED) {
            h.small.u = h.small.i < 0 ? 8w1 : 8w0;
            h.small.s = (int<16>) h.small.i * 3;
            h.small.i = -h.small.i;
        } else if (h.op.op == Op.CAST) {
            h.small.s = (int<16>) h.small.i;
            h.small.w = (bit<16>) h.small.u;
            h.small.u = (bit<8>) h.small.i;
        } else if (h.op.op == Op.SAR) {
            h.small.s = h.small.s >> h.op.by;
            h.small.w = h.small.w >> h.op.by;
        } else if (h.op.op == Op.INV) {
            h.op.a = ~h.op.a ^ h.op.b;
            h.small.i = ~h.small.i;
        }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) { apply {} }
control D(packet_out p, in headers_t h) { apply { p.emit(h.op); p.emit(h.small); } }
V1Switch(P(), V(), I(), E(), U(), D()) main;
