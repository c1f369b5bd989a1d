// What comes back and what is copied, and which metadata each keeps: resubmit, recirculate, clones
// from ingress and egress, their instance types and the order of it all at the end of a pipeline.
#include <core.p4>
#include <v1model.p4>

header op_h { bit<8> op; bit<8> ingress_type; bit<8> egress_type; bit<8> kept; bit<8> lost; bit<8> passes; }
struct headers_t { op_h op; }
struct metadata_t {
    @field_list(1, 3)
    bit<8> kept;
    @field_list(2)
    bit<8> lost;
    @field_list(1, 2, 3)
    bit<8> passes;
}

parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start { p.extract(h.op); transition accept; }
}
control V(inout headers_t h, inout metadata_t m) { apply {} }
control U(inout headers_t h, inout metadata_t m) { apply {} }
control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        h.op.ingress_type = (bit<8>) s.instance_type;
        m.passes = m.passes + 1;
        if (s.instance_type == 0) {
            m.kept = 0x11;
            m.lost = 0x22;
            if (h.op.op == 1) {
                // The headers are parsed again: this is forgotten.
                h.op.kept = 0x99;
                resubmit_preserving_field_list(1);
            } else if (h.op.op == 2) {
                resubmit_preserving_field_list(2);
            } else if (h.op.op == 4) {
                clone_preserving_field_list(CloneType.I2E, 5, 1);
                m.kept = 0x33;
            } else if (h.op.op == 5) {
                clone(CloneType.I2E, 5);
            } else if (h.op.op == 6) {
                clone_preserving_field_list(CloneType.I2E, 5, 1);
                mark_to_drop(s);
            } else if (h.op.op == 7) {
                // Resubmitting comes before dropping.
                resubmit_preserving_field_list(1);
                mark_to_drop(s);
            } else if (h.op.op == 8) {
                // A multicast group set later than the drop wins.
                mark_to_drop(s);
                s.mcast_grp = 9;
            } else if (h.op.op == 9) {
                // The last clone counts.
                clone(CloneType.I2E, 5);
                clone(CloneType.I2E, 6);
            } else if (h.op.op == 12) {
                clone(CloneType.I2E, 99);
            }
        }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        h.op.egress_type = (bit<8>) s.instance_type;
        h.op.kept = m.kept;
        h.op.lost = m.lost;
        h.op.passes = m.passes;
        if (h.op.op == 3 && s.instance_type == 0 && m.passes == 1) {
            recirculate_preserving_field_list(3);
        } else if (h.op.op == 10 && s.instance_type == 0) {
            clone_preserving_field_list(CloneType.E2E, 6, 2);
            // Seen by the clone: it is copied at the end of egress.
            h.op.op = 0x1a;
        } else if (h.op.op == 11 && s.instance_type == 0) {
            clone_preserving_field_list(CloneType.E2E, 6, 1);
            mark_to_drop(s);
        }
    }
}
control D(packet_out p, in headers_t h) { apply { p.emit(h.op); } }
V1Switch(P(), V(), I(), E(), U(), D()) main;
