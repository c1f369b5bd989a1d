// Header unions and stacks of them: extraction, validity, comparison, assignment.
#include <core.p4>
#include <v1model.p4>

header tag_h { bit<8> kind; bit<8> op; }
header byte_h { bit<8> x; }
header short_h { bit<16> x; }
header_union number_u { byte_h one; short_h two; }

struct headers_t {
    tag_h       tag;
    number_u    plain;
    number_u[3] many;
    number_u    other;
}
struct metadata_t {}

parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start {
        p.extract(h.tag);
        transition select(h.tag.kind) {
            0: plain_one;
            1: plain_two;
            2: many_one;
            3: many_two;
            default: accept;
        }
    }
    state plain_one { p.extract(h.plain.one); transition accept; }
    state plain_two { p.extract(h.plain.two); transition accept; }
    state many_one {
        p.extract(h.many.next.one);
        p.extract(h.many.next.two);
        transition accept;
    }
    state many_two {
        p.extract(h.many.next.two);
        p.extract(h.many.next.one);
        p.extract(h.many.next.one);
        transition accept;
    }
}
control V(inout headers_t h, inout metadata_t m) { apply {} }
control U(inout headers_t h, inout metadata_t m) { apply {} }
control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        if (h.tag.op == 1) {
            // Whoever becomes valid makes the others invalid.
            h.plain.two.setValid();
            h.plain.two.x = 0xbeef;
        } else if (h.tag.op == 2) {
            h.other = h.plain;
            h.plain.one.setInvalid();
            h.plain.two.setInvalid();
        } else if (h.tag.op == 3) {
            if (h.many[0].one.isValid()) {
                h.many[0].one.x = h.many[0].one.x + 1;
            }
            if (h.many[1].two.isValid()) {
                h.many[1].two.x = h.many[1].two.x + 1;
            }
            if (h.many[2].one.isValid()) {
                h.many[2].one.setInvalid();
            }
        } else if (h.tag.op == 4) {
            if (h.plain.isValid()) { h.tag.op = 0xa1; }
            if (h.other.isValid()) { h.tag.op = 0xa2; }
        }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) { apply {} }
control D(packet_out p, in headers_t h) {
    apply {
        p.emit(h.tag);
        p.emit(h.plain);
        p.emit(h.many);
        p.emit(h.other);
    }
}
V1Switch(P(), V(), I(), E(), U(), D()) main;
