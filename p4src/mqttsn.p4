// MQTT-SN publish/subscribe in the data plane (v1model).
//
// An Ethernet learning switch that copies an admitted PUBLISH straight to the subscribers of its
// topic. Everything else is bridged, the broker's own traffic included, so a network without entries
// simply works. What the program cannot keep exactly as the broker alone would have it (QoS 2, DUP,
// an unknown publication, no lease, …) takes the software path: untouched to the broker.
//
// Section numbers refer to "MQTT For Sensor Networks (MQTT-SN) Protocol Specification Version 1.2".

#include <core.p4>
#include <v1model.p4>

#include "constants.p4"
#include "headers.p4"
#include "parser.p4"
#include "checksums.p4"
#include "ingress.p4"
#include "egress.p4"

V1Switch(
    MqttsnParser(),
    VerifyChecksums(),
    MqttsnIngress(),
    MqttsnEgress(),
    UpdateChecksums(),
    MqttsnDeparser()
) main;
