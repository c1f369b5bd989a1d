// Headers chosen by `?`, headers and varbits compared, headers indexed at run time.
#include <core.p4>
#include <v1model.p4>

header op_h { bit<8> op; bit<8> i; bit<8> j; bit<8> result; }
header pair_h { bit<8> a; bit<8> b; }
header options_h { bit<8> len; varbit<64> data; }

struct headers_t {
    op_h      op;
    options_h left;
    options_h right;
    pair_h[4] pairs;
    pair_h    spare;
}
struct metadata_t {}

parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start {
        p.extract(h.op);
        transition select(h.op.op) {
            8w0x10 &&& 8w0xf0: options;
            default: pairs;
        }
    }
    state options {
        p.extract(h.left, (bit<32>) (p.lookahead<bit<8>>()) * 8);
        p.extract(h.right, (bit<32>) (p.lookahead<bit<8>>()) * 8);
        transition accept;
    }
    state pairs {
        p.extract(h.pairs.next);
        p.extract(h.pairs.next);
        p.extract(h.pairs.next);
        transition accept;
    }
}
control V(inout headers_t h, inout metadata_t m) { apply {} }
control U(inout headers_t h, inout metadata_t m) { apply {} }
control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        if (h.op.op == 0x10) {
            h.op.result = h.left == h.right ? 8w1 : 8w2;
        } else if (h.op.op == 0x11) {
            h.op.result = h.left.data == h.right.data ? 8w1 : 8w2;
        } else if (h.op.op == 0x12) {
            h.right.data = h.left.data;
            h.right.len = h.left.len;
        } else if (h.op.op == 1) {
            // Two invalid headers are equal, as P4-16 has it.
            h.op.result = h.pairs[0] == h.pairs[1] ? 8w1 : 8w2;
        } else if (h.op.op == 2) {
            h.op.result = h.pairs[3] == h.spare ? 8w1 : 8w2;
        } else if (h.op.op == 3) {
            h.spare = h.op.i == 0 ? h.pairs[0] : h.pairs[3];
            h.op.result = h.spare.isValid() ? 8w1 : 8w2;
        } else if (h.op.op == 4) {
            h.pairs[h.op.i] = h.pairs[h.op.j];
        } else if (h.op.op == 5) {
            h.pairs[h.op.i].a = h.pairs[h.op.j].b;
        } else if (h.op.op == 6) {
            h.pairs[h.op.i].setInvalid();
        } else if (h.op.op == 7) {
            h.pairs[h.op.i].setValid();
            h.pairs[h.op.i].a = 0x77;
        } else if (h.op.op == 8) {
            h.op.result = h.pairs[h.op.i].isValid() ? 8w1 : 8w2;
        } else if (h.op.op == 9) {
            h.pairs.push_front(1);
        } else if (h.op.op == 10) {
            h.pairs.pop_front(2);
        }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) { apply {} }
control D(packet_out p, in headers_t h) {
    apply {
        p.emit(h.op);
        p.emit(h.left);
        p.emit(h.right);
        p.emit(h.pairs);
        p.emit(h.spare);
    }
}
V1Switch(P(), V(), I(), E(), U(), D()) main;
