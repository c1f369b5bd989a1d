// Checksums. Every change is incremental (RFC 1624), so what was wrong on arrival stays wrong.
#ifndef TOPICSWITCH_CHECKSUMS_P4
#define TOPICSWITCH_CHECKSUMS_P4

#include "headers.p4"

// An acknowledgement vouches for the payload, so a PUBLISH of QoS 1 is checked before the data plane
// may answer for it. Everything else is checked by whoever receives it.
control VerifyChecksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum_with_payload(
            hdr.publish.isValid() && hdr.mqttsn_short.isValid()
                && hdr.publish.flags[6:5] == QOS_1 && hdr.udp.checksum != 0,
            { hdr.ipv4.src, hdr.ipv4.dst, 8w0, hdr.ipv4.protocol, hdr.udp.length,
              hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
              hdr.mqttsn_short.length, hdr.mqttsn_short.msg_type,
              hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id },
            hdr.udp.checksum, HashAlgorithm.csum16);
        verify_checksum_with_payload(
            hdr.publish.isValid() && hdr.mqttsn_long.isValid()
                && hdr.publish.flags[6:5] == QOS_1 && hdr.udp.checksum != 0,
            { hdr.ipv4.src, hdr.ipv4.dst, 8w0, hdr.ipv4.protocol, hdr.udp.length,
              hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
              hdr.mqttsn_long.marker, hdr.mqttsn_long.length, hdr.mqttsn_long.msg_type,
              hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id },
            hdr.udp.checksum, HashAlgorithm.csum16);
    }
}

control UpdateChecksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        // A subscriber's copy. TTL is the high octet of its word; the message's Flags, TopicId and
        // MsgId start at an even offset and end at an odd one, so an octet that does not change
        // (all ones in the complement, zero in the new value) fills the last word.
        update_checksum(
            meta.rewrite == REWRITE_DELIVER,
            { meta.replaced.ipv4_checksum,
              meta.replaced.ttl, 8w0xff, meta.replaced.src, meta.replaced.dst,
              hdr.ipv4.ttl, 8w0, hdr.ipv4.src, hdr.ipv4.dst },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
        update_checksum(
            meta.rewrite == REWRITE_DELIVER && hdr.udp.checksum != 0,
            { meta.replaced.udp_checksum,
              meta.replaced.src, meta.replaced.dst,
              meta.replaced.src_port, meta.replaced.dst_port,
              meta.replaced.flags, meta.replaced.topic_id, meta.replaced.msg_id, 8w0xff,
              hdr.ipv4.src, hdr.ipv4.dst,
              hdr.udp.src_port, hdr.udp.dst_port,
              hdr.publish.flags, hdr.publish.topic_id, hdr.publish.msg_id, 8w0 },
            hdr.udp.checksum, HashAlgorithm.csum16);

        // The broker's copy. The UDP length counts twice: in its header and in the pseudo header.
        update_checksum(
            meta.rewrite == REWRITE_TAG,
            { meta.replaced.ipv4_checksum, meta.replaced.ipv4_total_length,
              hdr.ipv4.total_length },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
        update_checksum(
            meta.rewrite == REWRITE_TAG && hdr.udp.checksum != 0,
            { meta.replaced.udp_checksum,
              meta.replaced.udp_length, meta.replaced.udp_length,
              hdr.udp.length, hdr.udp.length,
              hdr.tag.length, hdr.tag.msg_type, hdr.tag.ctrl, hdr.tag.magic, hdr.tag.version,
              hdr.tag.topic_index, hdr.tag.generation },
            hdr.udp.checksum, HashAlgorithm.csum16);

        // The PUBACK. Addresses only changed places, which a sum does not notice.
        update_checksum(
            meta.rewrite == REWRITE_ACK,
            { meta.replaced.ipv4_checksum,
              meta.replaced.ttl, 8w0xff, meta.replaced.ipv4_total_length,
              hdr.ipv4.ttl, 8w0, hdr.ipv4.total_length },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
        update_checksum(
            meta.rewrite == REWRITE_ACK,
            { hdr.ipv4.src, hdr.ipv4.dst, 8w0, hdr.ipv4.protocol, hdr.udp.length,
              hdr.udp.src_port, hdr.udp.dst_port, hdr.udp.length,
              hdr.puback.length, hdr.puback.msg_type, hdr.puback.topic_id,
              hdr.puback.msg_id, hdr.puback.return_code, 8w0 },
            hdr.udp.checksum, HashAlgorithm.csum16);

        // RFC 768: a checksum of zero would say that there is none.
        update_checksum(
            (meta.rewrite == REWRITE_ACK || (meta.rewrite != REWRITE_NONE && meta.checksummed == 1))
                && hdr.udp.checksum == 0,
            { 16w0 },
            hdr.udp.checksum, HashAlgorithm.csum16);
    }
}

#endif
