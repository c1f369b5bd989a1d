// One table with one lpm key, for the benchmark of lookups.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<32> key;
    bit<80> rest;
}
struct headers_t {
    h_t h;
}
struct meta_t {}

parser P(packet_in p, out headers_t hdr, inout meta_t m, inout standard_metadata_t s) {
    state start {
        p.extract(hdr.h);
        transition accept;
    }
}
control V(inout headers_t hdr, inout meta_t m) {
    apply {}
}
control I(inout headers_t hdr, inout meta_t m, inout standard_metadata_t s) {
    action send(bit<9> port) {
        s.egress_spec = port;
    }
    table t {
        key = { hdr.h.key: lpm; }
        actions = { send; NoAction; }
        default_action = NoAction;
        size = 65536;
    }
    apply {
        t.apply();
    }
}
control E(inout headers_t hdr, inout meta_t m, inout standard_metadata_t s) {
    apply {}
}
control U(inout headers_t hdr, inout meta_t m) {
    apply {}
}
control D(packet_out p, in headers_t hdr) {
    apply {
        p.emit(hdr.h);
    }
}
V1Switch(P(), V(), I(), E(), U(), D()) main;
