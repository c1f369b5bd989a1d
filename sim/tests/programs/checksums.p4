// Verifies and updates checksums: over a header, over a field list that is not aligned to bytes,
// over a payload, conditionally, and incrementally (RFC 1624) with complements in metadata.
#include <core.p4>
#include <v1model.p4>

header plain_h {
    bit<8>  mode;
    bit<8>  error_seen;
    bit<16> a;
    bit<32> b;
    bit<16> checksum;
}

header odd_h {
    bit<4>  x;
    bit<13> y;
    bit<7>  z;
    bit<16> checksum;
}

header whole_h {
    bit<16> n;
    bit<16> checksum;
}

struct headers_t {
    plain_h plain;
    odd_h   odd;
    whole_h whole;
}

struct metadata_t {
    bit<16> not_checksum;
    bit<16> not_a;
}

parser TestParser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                  inout standard_metadata_t standard_metadata) {
    state start {
        packet.extract(hdr.plain);
        transition select(hdr.plain.mode) {
            1: odd;
            2: whole;
            default: accept;
        }
    }
    state odd { packet.extract(hdr.odd); transition accept; }
    state whole { packet.extract(hdr.whole); transition accept; }
}

control Verify(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.plain.mode == 0, { hdr.plain.mode, hdr.plain.error_seen, hdr.plain.a,
                        hdr.plain.b }, hdr.plain.checksum, HashAlgorithm.csum16);
        verify_checksum_with_payload(hdr.whole.isValid(), { hdr.whole.n }, hdr.whole.checksum,
                                     HashAlgorithm.csum16);
    }
}

control TestIngress(inout headers_t hdr, inout metadata_t meta,
                    inout standard_metadata_t standard_metadata) {
    apply {
        hdr.plain.error_seen = (bit<8>)standard_metadata.checksum_error;
        if (hdr.plain.mode == 3) {
            meta.not_checksum = ~hdr.plain.checksum;
            meta.not_a = ~hdr.plain.a;
            hdr.plain.a = hdr.plain.a + 0x1111;
        }
        standard_metadata.egress_spec = 1;
    }
}

control TestEgress(inout headers_t hdr, inout metadata_t meta,
                   inout standard_metadata_t standard_metadata) { apply {} }

control Update(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.plain.mode == 4, { hdr.plain.mode, hdr.plain.error_seen, hdr.plain.a,
                        hdr.plain.b }, hdr.plain.checksum, HashAlgorithm.csum16);
        update_checksum(hdr.odd.isValid(), { hdr.odd.x, hdr.odd.y, hdr.odd.z }, hdr.odd.checksum,
                        HashAlgorithm.csum16);
        update_checksum_with_payload(hdr.whole.isValid(), { hdr.whole.n }, hdr.whole.checksum,
                                     HashAlgorithm.csum16);
        update_checksum(hdr.plain.mode == 3, { meta.not_checksum, meta.not_a, hdr.plain.a },
                        hdr.plain.checksum, HashAlgorithm.csum16);
    }
}

control TestDeparser(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.plain); packet.emit(hdr.odd); packet.emit(hdr.whole); }
}

V1Switch(TestParser(), Verify(), TestIngress(), TestEgress(), Update(), TestDeparser()) main;
