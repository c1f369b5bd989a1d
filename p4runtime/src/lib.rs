//! P4Runtime for Rust: the messages and services of the P4Runtime specification 1.4 and later, a
//! typed view of P4Info, canonical bytestrings, and a thin client.
//!
//! It knows no P4 program: a program is a [`p4info::P4Info`], and entities are built and read by
//! the names in it. It decides nothing, retries nothing and keeps no state of a switch.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let text = include_str!("../tests/data/l2.p4info.txtpb");
//! let p4info = p4runtime::p4info::P4Info::from_text(text)?;
//! let entry = p4info.table("dmac")?.entry().exact("hdr.eth.dst_addr", [2, 0, 0, 0, 0, 1])?;
//! let entry = entry.action("forward")?.param("port", 3u16)?.build()?;
//! let update = p4runtime::v1::Update::insert(entry);
//! assert_eq!(update.r#type(), p4runtime::v1::update::Type::Insert);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod bytes;
pub mod client;
mod entity;
pub mod p4info;
mod proto;
pub mod write_error;

/// `google.rpc`: the error model.
pub use proto::google::rpc;
/// `p4.config.v1`: P4Info as the compiler writes it.
pub use proto::p4::config::v1 as config;
/// `p4.v1`: entities, requests, and the P4Runtime client and server.
pub use proto::p4::v1;

/// The serialized `google.protobuf.FileDescriptorSet` of all of the above with their imports,
/// e.g. for gRPC server reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));
