// Checksums of what arrives. Those of what leaves are updated in egress, where the rewrite is.
#ifndef TOPICSWITCH_CHECKSUMS_P4
#define TOPICSWITCH_CHECKSUMS_P4

#include "headers.p4"

// An acknowledgement vouches for the payload, so a PUBLISH of QoS 1 is checked before the data plane
// may answer for it. Everything else is checked by whoever receives it. A form of Length is there
// only in front of a PUBLISH.
control VerifyChecksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum_with_payload(
            hdr.mqttsn_short.isValid() && hdr.publish.isValid() && hdr.publish.flags[6:5] == QOS_1
                && hdr.ipv4.isValid() && hdr.udp.checksum != 0,
            { hdr.ipv4.src, hdr.ipv4.dst, 8w0, hdr.ipv4.protocol, hdr.udp.length,
              hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
              hdr.mqttsn_short.length, hdr.mqttsn_short.msg_type,
              hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id },
            hdr.udp.checksum, HashAlgorithm.csum16);
        verify_checksum_with_payload(
            hdr.mqttsn_long.isValid() && hdr.publish.isValid() && hdr.publish.flags[6:5] == QOS_1
                && hdr.ipv4.isValid() && hdr.udp.checksum != 0,
            { hdr.ipv4.src, hdr.ipv4.dst, 8w0, hdr.ipv4.protocol, hdr.udp.length,
              hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
              hdr.mqttsn_long.marker, hdr.mqttsn_long.length, hdr.mqttsn_long.msg_type,
              hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id },
            hdr.udp.checksum, HashAlgorithm.csum16);

        // RFC 8200 §8.1: over IPv6 there is no leave to go without (ingress sees to a zero).
        verify_checksum_with_payload(
            hdr.mqttsn_short.isValid() && hdr.publish.isValid() && hdr.publish.flags[6:5] == QOS_1
                && hdr.ipv6.isValid(),
            { hdr.ipv6.src, hdr.ipv6.dst, 8w0, hdr.ipv6.next_header, hdr.udp.length,
              hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
              hdr.mqttsn_short.length, hdr.mqttsn_short.msg_type,
              hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id },
            hdr.udp.checksum, HashAlgorithm.csum16);
        verify_checksum_with_payload(
            hdr.mqttsn_long.isValid() && hdr.publish.isValid() && hdr.publish.flags[6:5] == QOS_1
                && hdr.ipv6.isValid(),
            { hdr.ipv6.src, hdr.ipv6.dst, 8w0, hdr.ipv6.next_header, hdr.udp.length,
              hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
              hdr.mqttsn_long.marker, hdr.mqttsn_long.length, hdr.mqttsn_long.msg_type,
              hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id },
            hdr.udp.checksum, HashAlgorithm.csum16);
    }
}

// Nothing is left to do here.
control UpdateChecksums(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

#endif
