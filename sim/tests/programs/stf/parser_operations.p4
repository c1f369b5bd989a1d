// The parser: select with masks, ranges of values and value sets, lookahead, advance, verify, varbits,
// and the errors that each of them ends with.
#include <core.p4>
#include <v1model.p4>

error { TagIsWrong, NeverUsed }

header kind_h { bit<8> kind; }
header out_h { bit<8> err; bit<8> path; bit<16> seen; }
header word_h { bit<16> w; }
header varied_h { bit<4> n; bit<4> rest; varbit<32> data; bit<8> tail; }
header nibbles_h { int<4> a; bit<12> b; }
struct headers_t { out_h out_; kind_h kind; word_h[2] words; varied_h varied; nibbles_h nibbles; }
struct metadata_t { bit<8> path; bit<16> seen; }

parser P(packet_in p, out headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    state start {
        p.extract(h.kind);
        transition select(h.kind.kind, s.ingress_port) {
            (1, _): looks_ahead;
            (2, _): advances;
            (3, _): verifies;
            (4, _): varies;
            (8w0x10 &&& 8w0xf0, 9w5): masked_on_five;
            (8w0x10 &&& 8w0xf0, _): masked;
            (8w0x20 .. 8w0x2a, _): in_range;
            (0x30, _): fills_stack;
            (0x31, _): two_parts;
            (0x32, _): nibbles;
            default: accept;
        }
    }
    state looks_ahead {
        m.path = 1;
        m.seen = p.lookahead<bit<16>>();
        transition select(p.lookahead<bit<4>>()) {
            0xa: extract_one;
            default: accept;
        }
    }
    state extract_one { m.path = 0x1a; p.extract(h.words.next); transition accept; }
    state advances {
        m.path = 2;
        p.advance(24);
        p.extract(h.words.next);
        transition accept;
    }
    state verifies {
        p.extract(h.words.next);
        m.path = 3;
        verify(h.words.last.w != 0xbad0, error.TagIsWrong);
        m.path = 0x33;
        transition accept;
    }
    state varies {
        m.path = 4;
        p.extract(h.varied, (bit<32>) (p.lookahead<bit<4>>()) * 4);
        m.path = 0x44;
        transition accept;
    }
    state masked_on_five { m.path = 0x55; transition accept; }
    state masked { m.path = 5; transition accept; }
    state in_range { m.path = 6; transition accept; }
    state fills_stack {
        p.extract(h.words.next);
        m.path = m.path + 1;
        transition select(h.words.last.w) {
            0xffff: accept;
            default: fills_stack;
        }
    }
    state two_parts {
        p.extract(h.words.next);
        transition select(h.words[0].w[15:8], h.words[0].w[7:0]) {
            (0x12, 0x34): both;
            (0x12, _): first;
            (_, 0x34): second;
            default: accept;
        }
    }
    state both { m.path = 0xb0; transition accept; }
    state first { m.path = 0xf1; transition accept; }
    state second { m.path = 0x52; transition accept; }
    state nibbles {
        p.extract(h.nibbles);
        transition select(h.nibbles.b) {
            0xabc: both;
            default: reject;
        }
    }
}
control V(inout headers_t h, inout metadata_t m) { apply {} }
control U(inout headers_t h, inout metadata_t m) { apply {} }
control I(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        h.out_.setValid();
        h.out_.path = m.path;
        h.out_.seen = m.seen;
        if (s.parser_error == error.NoError) { h.out_.err = 0; }
        else if (s.parser_error == error.PacketTooShort) { h.out_.err = 1; }
        else if (s.parser_error == error.StackOutOfBounds) { h.out_.err = 3; }
        else if (s.parser_error == error.HeaderTooShort) { h.out_.err = 4; }
        else if (s.parser_error == error.TagIsWrong) { h.out_.err = 7; }
        else { h.out_.err = 0xee; }
        if (h.nibbles.isValid()) {
            h.nibbles.a = h.nibbles.a |+| 1;
        }
    }
}
control E(inout headers_t h, inout metadata_t m, inout standard_metadata_t s) { apply {} }
control D(packet_out p, in headers_t h) { apply { p.emit(h.out_); p.emit(h.kind); p.emit(h.words); p.emit(h.varied); p.emit(h.nibbles); } }
V1Switch(P(), V(), I(), E(), U(), D()) main;
