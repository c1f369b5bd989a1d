// Entries that the program brings: of every match kind, their order and explicit priorities; `switch`
// on the action, hit and miss.
#include <core.p4>
#include <v1model.p4>

header key_h { bit<8> which; bit<16> k; bit<8> v; bit<8> hit; }
struct headers_t { key_h key; }
struct metadata_t {}
parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start { p.extract(h.key); transition accept; }
}
control V(inout headers_t h, inout metadata_t m) { apply {} }
control U(inout headers_t h, inout metadata_t m) { apply {} }
control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    action set(bit<8> v) { h.key.v = v; }
    action other(bit<8> v) { h.key.v = v ^ 0xff; }
    action none() {}
    table exact_t {
        key = { h.key.k : exact; h.key.v : exact; }
        actions = { set; other; none; }
        const default_action = none();
        const entries = { (0x0001, 0x01) : set(0x11); (0x0001, 0x02) : other(0x12); }
    }
    table lpm_t {
        key = { h.key.k : lpm; }
        actions = { set; none; }
        const default_action = none();
        const entries = {
            0x1200 &&& 0xff00 : set(8);
            0x1234 : set(16);
            0x0000 &&& 0x0000 : set(1);
        }
    }
    table ternary_t {
        key = { h.key.k : ternary; }
        actions = { set; none; }
        const default_action = none();
        const entries = {
            0x1234 &&& 0xffff : set(1);
            0x1200 &&& 0xff00 : set(2);
            0x1230 &&& 0xfff0 : set(3);
            0x0000 &&& 0x8000 : set(4);
        }
    }
    table range_t {
        key = { h.key.k : range; h.key.v : optional; }
        actions = { set; none; }
        const default_action = none();
        const entries = {
            (0x0010 .. 0x0020, 7) : set(1);
            (0x0010 .. 0x0030, _) : set(2);
            (_, 9) : set(3);
        }
    }
    table reversed_t {
        key = { h.key.k : ternary; }
        actions = { set; none; }
        const default_action = none();
        const entries = {
            0x1234 &&& 0xffff : set(1) @priority(30);
            0x1200 &&& 0xff00 : set(2) @priority(10);
            0x1230 &&& 0xfff0 : set(3) @priority(20);
        }
    }
    apply {
        s.egress_spec = 1;
        if (h.key.which == 1) {
            switch (exact_t.apply().action_run) {
                set: { h.key.hit = 1; }
                other: { h.key.hit = 2; }
                default: { h.key.hit = 3; }
            }
        } else if (h.key.which == 2) {
            if (lpm_t.apply().hit) { h.key.hit = 1; } else { h.key.hit = 2; }
        } else if (h.key.which == 3) {
            if (ternary_t.apply().miss) { h.key.hit = 2; } else { h.key.hit = 1; }
        } else if (h.key.which == 4) {
            range_t.apply();
        } else if (h.key.which == 5) {
            reversed_t.apply();
        }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) { apply {} }
control D(packet_out p, in headers_t h) { apply { p.emit(h.key); } }
V1Switch(P(), V(), I(), E(), U(), D()) main;
