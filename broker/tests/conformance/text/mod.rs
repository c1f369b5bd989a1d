//! What the text of MQTT-SN 1.2 asks of a server and no outside suite looks at, a section a file.

mod answers;
mod clean_session;
mod forwarder;
mod keep_alive;
mod lengths;
mod publish;
mod qos_2;
mod registration;
mod repetition;
mod retained;
mod sleep;
mod topics;
mod will;
