// Who may publish what, and how much.
// A part of MqttsnIngress, included in ingress.p4: tables and actions without a control of their own.

direct_counter(CounterType.packets_and_bytes) publication_counter;
direct_meter<bit<2>>(MeterType.packets) publication_meter;

action admit(topic_index_t topic_index) {
    publication_counter.count();
    publication_meter.read(meta.color);
    meta.admitted = 1;
    meta.bridged.topic_index = topic_index;
}

// The presence of an entry is the permission to publish; port, VLAN and address bind it to the
// client.
table publication {
    key = {
        standard_metadata.ingress_port: exact @name("ingress_port");
        meta.vid:                       exact @name("vid");
        hdr.ipv4.src:                   exact @name("ip_src");
        hdr.udp.src_port:               exact @name("udp_src");
        hdr.publish.flags[1:0]:         exact @name("topic_id_type");
        hdr.publish.topic_id:           exact @name("topic_id");
    }
    actions = {
        admit;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 65536;
    counters = publication_counter;
    meters = publication_meter;
    support_timeout = true;
}

direct_counter(CounterType.packets_and_bytes) publication_v6_counter;
direct_meter<bit<2>>(MeterType.packets) publication_v6_meter;

action admit_v6(topic_index_t topic_index) {
    publication_v6_counter.count();
    publication_v6_meter.read(meta.color);
    meta.admitted = 1;
    meta.bridged.topic_index = topic_index;
}

table publication_v6 {
    key = {
        standard_metadata.ingress_port: exact @name("ingress_port");
        meta.vid:                       exact @name("vid");
        hdr.ipv6.src:                   exact @name("ip_src");
        hdr.udp.src_port:               exact @name("udp_src");
        hdr.publish.flags[1:0]:         exact @name("topic_id_type");
        hdr.publish.topic_id:           exact @name("topic_id");
    }
    actions = {
        admit_v6;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 16384;
    counters = publication_v6_counter;
    meters = publication_v6_meter;
    support_timeout = true;
}

direct_counter(CounterType.packets_and_bytes) open_publication_counter;

action admit_open(topic_index_t topic_index) {
    open_publication_counter.count();
    meta.admitted = 1;
    meta.bridged.topic_index = topic_index;
}

// QoS −1 needs no session, only an alias that everybody knows (MQTT-SN 1.2 §6.8).
table open_publication {
    key = {
        hdr.publish.flags[1:0]: exact @name("topic_id_type");
        hdr.publish.topic_id:   exact @name("topic_id");
    }
    actions = {
        admit_open;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 4096;
    counters = open_publication_counter;
}

// What a port may publish so: nobody's identity stands behind it. Unlimited until it is configured.
meter(PORTS, MeterType.packets) open_meter;

// What a port may send to services without being offloaded; unlimited until it is configured.
meter(PORTS, MeterType.packets) software_meter;
