// What the STF runner itself must do: names, keys of every kind, arguments, counters, registers,
// clone sessions and multicast groups.
#include <core.p4>
#include <v1model.p4>

header probe_h {
    bit<8>  op;
    bit<16> a;
    bit<32> b;
}

struct headers_t {
    probe_h probe;
}
struct metadata_t {}

parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start {
        p.extract(h.probe);
        transition accept;
    }
}
control V(inout headers_t h, inout metadata_t m) { apply {} }
control U(inout headers_t h, inout metadata_t m) { apply {} }

control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    direct_counter(CounterType.packets_and_bytes) hits;
    counter(8, CounterType.packets) arrived;
    register<bit<32>>(4) cells;
    action_profile(8) members;

    action forward(bit<9> port) { s.egress_spec = port; }
    action counted(bit<9> port) { s.egress_spec = port; hits.count(); }
    action mark(bit<9> port, bit<16> value) { s.egress_spec = port; h.probe.a = value; }
    action copy(bit<32> session) { clone(CloneType.I2E, session); s.egress_spec = 1; }
    action flood(bit<16> group) { s.mcast_grp = group; }
    action drop() { mark_to_drop(s); }
    action load() { s.egress_spec = 1; cells.read(h.probe.b, 32w2); }

    table exact_t {
        key = { h.probe.a : exact; }
        actions = { counted; copy; flood; load; drop; }
        default_action = drop();
        counters = hits;
    }
    @name("prefixes.lpm_t") table lpm_t {
        key = { h.probe.b : lpm; }
        actions = { forward; mark; drop; }
        default_action = drop();
    }
    table ternary_t {
        key = { h.probe.a : ternary; h.probe.b : range @name("b"); }
        actions = { mark; drop; }
        default_action = drop();
    }
    table member_t {
        key = { h.probe.isValid() : exact; h.probe.a : exact; }
        actions = { mark; drop; }
        implementation = members;
    }
    apply {
        arrived.count((bit<32>) h.probe.op);
        if (h.probe.op == 1) {
            exact_t.apply();
        } else if (h.probe.op == 2) {
            lpm_t.apply();
        } else if (h.probe.op == 3) {
            ternary_t.apply();
        } else {
            member_t.apply();
        }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        h.probe.op = (bit<8>) s.egress_rid;
    }
}
control D(packet_out p, in headers_t h) { apply { p.emit(h.probe); } }

V1Switch(P(), V(), I(), E(), U(), D()) main;
