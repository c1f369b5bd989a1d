//! What EMQX's suite of its MQTT-SN gateway expects on the wire.

mod connecting;
