//! The tests of the target, one file a concern, in one binary.
#![allow(missing_docs)]

mod arithmetic;
mod checksums;
mod damage;
mod differential;
mod externs;
mod hostile;
mod idle_timeout;
mod p4runtime_action_profile;
mod p4runtime_arbitration;
mod p4runtime_atomicity;
mod p4runtime_digest;
mod p4runtime_faults;
mod p4runtime_fixture;
mod p4runtime_grpc;
mod p4runtime_hostile;
mod p4runtime_multicast;
mod p4runtime_packet_io;
mod p4runtime_pipeline;
mod p4runtime_read;
mod p4runtime_roles;
mod p4runtime_table;
mod p4runtime_tls;
mod p4runtime_write;
mod parser;
mod ports_af_packet;
mod ports_pcap;
mod ports_runtime;
mod ports_udp;
#[path = "../programs/mod.rs"]
mod programs;
mod reference;
mod replication;
mod scenario;
mod selectors;
mod stf;
mod tables;
