// `log_msg`, `assert`, `assume`, `truncate`, `exit`, checksums right and wrong, packet lengths, and the
// reading of invalid headers.
#include <core.p4>
#include <v1model.p4>

header op_h { bit<8> op; bit<8> a; bit<16> sum; bit<32> length; }
header more_h { bit<16> x; }
struct headers_t { op_h op; more_h more; }
struct metadata_t { bit<8> unset; }
parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start { p.extract(h.op); transition accept; }
}
control V(inout headers_t h, inout metadata_t m) {
    apply { verify_checksum(h.op.op >= 0x80, { h.op.op, h.op.a }, h.op.sum, HashAlgorithm.csum16); }
}
control U(inout headers_t h, inout metadata_t m) {
    apply { update_checksum(h.op.op == 0x40, { h.op.op, h.op.a, h.op.length }, h.op.sum, HashAlgorithm.csum16); }
}
control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    action leave() { h.op.a = 0xe1; exit; }
    apply {
        s.egress_spec = 1;
        log_msg("op {} of {} bytes", { h.op.op, s.packet_length });
        h.op.length = s.packet_length;
        if (h.op.op == 1) { assert(h.op.a == 7); }
        else if (h.op.op == 2) { assume(h.op.a == 7); }
        else if (h.op.op == 3) { truncate((bit<32>) h.op.a); }
        else if (h.op.op == 4) { leave(); }
        else if (h.op.op == 5) {
            // A header that becomes valid reads as zeros until it is written.
            h.more.setValid();
            h.more.x = h.more.x + 1;
        }
        if (s.checksum_error == 1) { h.op.a = 0xce; }
        if (h.op.op == 4) { h.op.a = 0xff; }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        if (h.op.op == 5) { h.op.length = s.packet_length; }
    }
}
control D(packet_out p, in headers_t h) { apply { p.emit(h.op); p.emit(h.more); } }
V1Switch(P(), V(), I(), E(), U(), D()) main;
