// Who is served with what is published.
// A part of MqttsnIngress, included in ingress.p4: tables and actions without a control of their own.

direct_counter(CounterType.packets_and_bytes) topic_counter;
direct_counter(CounterType.packets_and_bytes) shared_topic_counter;

// `group_*`: multicast group of the subscribers served at that QoS, 0 for nobody. Where `copy_*`
// is set the group also holds the broker's replica (RID_COPY). `translated`: some subscriber is
// reached over IPv6, so a PUBLISH over IPv4 must be one that can become it.
// `copy_flags` is the finished Flags octet of the copies: QoS 0, no DUP, no Retain, and the
// TopicIdType of the home alias.
action decide(bit<16> group_q0, bit<16> group_q1,
              bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased, bit<1> translated,
              generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
    // QoS 1 is 01; QoS 2 does not come here, QoS -1 is 11.
    bit<1> qos1 = hdr.publish.flags[5:5] & ~hdr.publish.flags[6:6];
    meta.group = qos1 == 1 ? group_q1 : group_q0;
    meta.copy = qos1 == 1 ? copy_q1 : copy_q0;
    meta.ack = ack_q1 & qos1;
    meta.translated = translated;
    meta.bridged.generation = generation;
    meta.bridged.copy_flags = copy_flags;
    meta.bridged.copy_topic_id = copy_topic_id;
    meta.bridged.aliased = aliased;
}

action offload(bit<16> group_q0, bit<16> group_q1,
               bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased, bit<1> translated,
               generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
    topic_counter.count();
    decide(group_q0, group_q1, copy_q0, copy_q1, ack_q1, aliased, translated,
           generation, copy_flags, copy_topic_id);
}

// One subscriber and no copy: no replica is made of the packet, it is the copy. At QoS 1 the
// subscriber is served, and the publisher acknowledged, where `ack_q1` is set; else the broker
// does both. The alias is the subscriber's own.
action offload_to_one(bit<9> port, rid_t rid, bit<1> ack_q1, bit<1> translated,
                      generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
    topic_counter.count();
    bit<1> qos1 = hdr.publish.flags[5:5] & ~hdr.publish.flags[6:6];
    standard_metadata.egress_spec = port;
    meta.copy = qos1 & ~ack_q1;
    meta.ack = qos1 & ack_q1;
    meta.translated = translated;
    meta.bridged.rid = (qos1 & ~ack_q1) == 1 ? 16w0 : rid;
    meta.bridged.generation = generation;
    meta.bridged.copy_flags = copy_flags;
    meta.bridged.copy_topic_id = copy_topic_id;
}

// Nobody subscribes: the PUBLISH ends here, acknowledged at QoS 1. One with Retain still reaches
// the broker, under this generation.
action discard(generation_t generation) {
    topic_counter.count();
    meta.ack = hdr.publish.flags[5:5] & ~hdr.publish.flags[6:6];
    meta.bridged.generation = generation;
}

table topic {
    key = {
        meta.bridged.topic_index: exact @name("topic_index");
    }
    actions = {
        offload;
        offload_to_one;
        discard;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 65536;
    counters = topic_counter;
}

action offload_to_member(bit<16> group_q0, bit<16> group_q1,
                         bit<1> copy_q0, bit<1> copy_q1, bit<1> ack_q1, bit<1> aliased,
                         bit<1> translated,
                         generation_t generation, bit<8> copy_flags, bit<16> copy_topic_id) {
    decide(group_q0, group_q1, copy_q0, copy_q1, ack_q1, aliased, translated,
           generation, copy_flags, copy_topic_id);
}

// One `$share` group: each member of the selector is the multicast group of that member and the
// ordinary subscribers. The hash keeps a publisher with its member.
action_selector(HashAlgorithm.crc32, 32w4096, 32w16) share_group;

table shared_topic {
    key = {
        meta.bridged.topic_index: exact @name("topic_index");
        meta.publisher:           selector;
        hdr.udp.src_port:         selector;
    }
    actions = {
        offload_to_member;
    }
    size = 1024;
    implementation = share_group;
    counters = shared_topic_counter;
}
