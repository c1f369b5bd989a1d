// Whom clients call, and where clients live, as the broker's answers tell.
// A part of MqttsnIngress, included in ingress.p4: tables and actions without a control of their own.

// `max_length`: the longest IP packet (octets) that the port towards the broker carries.
action serve(bit<16> max_length) {
    meta.max_length = max_length;
    meta.ip_length = hdr.ipv4.total_length;
    meta.ip_header = IPV4_HEADER;
}

table service {
    key = {
        hdr.ipv4.dst:     exact @name("ip_dst");
        hdr.udp.dst_port: exact @name("udp_dst");
    }
    actions = {
        serve;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 64;
}

action serve_v6(bit<16> max_length) {
    meta.max_length = max_length;
    meta.ip_length = hdr.ipv6.payload_length + IPV6_HEADER;
    meta.ip_header = IPV6_HEADER;
}

table service_v6 {
    key = {
        hdr.ipv6.dst:     exact @name("ip_dst");
        hdr.udp.dst_port: exact @name("udp_dst");
    }
    actions = {
        serve_v6;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 64;
}

// What the broker sends to its clients comes from `port`; from ANY_PORT while nobody knows where
// the broker lives.
action answers(bit<9> port) {
    meta.broker_port = port;
}

table answer {
    key = {
        hdr.ipv4.src:     exact @name("ip_src");
        hdr.udp.src_port: exact @name("udp_src");
    }
    actions = {
        answers;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 64;
}

table answer_v6 {
    key = {
        hdr.ipv6.src:     exact @name("ip_src");
        hdr.udp.src_port: exact @name("udp_src");
    }
    actions = {
        answers;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 64;
}

action learn_endpoint() {
    digest<endpoint_learned_t>(2, {
        standard_metadata.ingress_port,
        meta.vid,
        hdr.ethernet.src,
        hdr.ethernet.dst,
        hdr.ipv4.src,
        hdr.ipv4.dst,
        standard_metadata.ingress_global_timestamp[47:20]
    });
}

action endpoint_known() {}

// In which VLAN and behind which MAC address a client's address lives, routers included, and from
// which MAC address the broker speaks to it. Asked of what the broker sends: its host found that
// out by ARP or ND. What a client sends may say anything.
table endpoint {
    key = {
        meta.vid:         exact @name("vid");
        hdr.ethernet.src: exact @name("eth_src");
        hdr.ethernet.dst: exact @name("eth_dst");
        hdr.ipv4.dst:     exact @name("ip_dst");
    }
    actions = {
        endpoint_known;
        @defaultonly learn_endpoint;
    }
    const default_action = learn_endpoint();
    size = 65536;
}

action learn_endpoint_v6() {
    digest<endpoint_v6_learned_t>(3, {
        standard_metadata.ingress_port,
        meta.vid,
        hdr.ethernet.src,
        hdr.ethernet.dst,
        hdr.ipv6.src,
        hdr.ipv6.dst,
        standard_metadata.ingress_global_timestamp[47:20]
    });
}

action endpoint_v6_known() {}

table endpoint_v6 {
    key = {
        meta.vid:         exact @name("vid");
        hdr.ethernet.src: exact @name("eth_src");
        hdr.ethernet.dst: exact @name("eth_dst");
        hdr.ipv6.dst:     exact @name("ip_dst");
    }
    actions = {
        endpoint_v6_known;
        @defaultonly learn_endpoint_v6;
    }
    const default_action = learn_endpoint_v6();
    size = 65536;
}
