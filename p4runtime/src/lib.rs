//! P4Runtime for Rust: the messages and services of the P4Runtime specification 1.4 and later.
#![forbid(unsafe_code)]

mod proto;

/// `google.rpc`: the error model.
pub use proto::google::rpc;
/// `p4.config.v1`: P4Info as the compiler writes it.
pub use proto::p4::config::v1 as config;
/// `p4.v1`: entities, requests, and the P4Runtime client and server.
pub use proto::p4::v1;

/// The serialized `google.protobuf.FileDescriptorSet` of all of the above with their imports,
/// e.g. for gRPC server reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));
