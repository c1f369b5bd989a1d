// The learning switch: VLANs, where stations are, where frames go.
// A part of MqttsnIngress, included in ingress.p4: tables and actions without a control of their own.

// Frames of a VLAN that the controller has named are flooded to its ports only …
action member(bit<16> flood_group) {
    meta.flood_group = flood_group;
}

// … and come from its ports only.
action refuse() {
    path.count(PATH_VLAN);
    mark_to_drop(standard_metadata);
    exit;
}

// Asked for tagged frames. A VLAN without rows is flooded as untagged frames are.
table vlan {
    key = {
        meta.vid:                       exact @name("vid");
        standard_metadata.ingress_port: exact @name("ingress_port");
    }
    actions = {
        member;
        refuse;
        @defaultonly NoAction;
    }
    const default_action = NoAction();
    size = 4096;
}

action learn_mac() {
    digest<mac_learned_t>(1, {
        hdr.ethernet.src,
        meta.vid,
        standard_metadata.ingress_port,
        standard_metadata.ingress_global_timestamp[47:20]
    });
}

action mac_known() {}

// Addresses are learned for each VLAN; 0 is untagged.
table smac {
    key = {
        hdr.ethernet.src:               exact @name("eth_src");
        meta.vid:                       exact @name("vid");
        standard_metadata.ingress_port: exact @name("ingress_port");
    }
    actions = {
        mac_known;
        @defaultonly learn_mac;
    }
    const default_action = learn_mac();
    size = 4096;
    support_timeout = true;
}

// A frame never goes back to where it came from: egress drops that replica of a flood.
action flood() {
    standard_metadata.mcast_grp = meta.flood_group == 0 ? GROUP_FLOOD : meta.flood_group;
}

action forward(bit<9> port) {
    standard_metadata.egress_spec = port;
}

table dmac {
    key = {
        hdr.ethernet.dst: exact @name("eth_dst");
        meta.vid:         exact @name("vid");
    }
    actions = {
        forward;
        @defaultonly flood;
    }
    const default_action = flood();
    size = 4096;
}
