//! Codec of MQTT-SN 1.2: bytes of one datagram to a borrowed [`Packet`] and back.
//!
//! It is a codec and nothing else: no allocation, no I/O, no clock, no session and no policy.
//! What a value means to a broker (who may publish, which ClientId is acceptable, what to answer
//! to an unknown ProtocolId) is decided above; here every datagram is either exactly one
//! well-formed message or a [`DecodeError`] that says what is wrong with it.
//!
//! ```
//! let datagram = [0x09, 0x0C, 0x20, 0x00, 0x07, 0x00, 0x2A, b'h', b'i'];
//! let packet = mqttsn::Packet::decode(&datagram)?;
//! let mqttsn::Packet::Publish(publish) = packet else { panic!("a PUBLISH") };
//! assert_eq!((publish.alias, publish.data), (mqttsn::Alias::normal(7), &b"hi"[..]));
//! assert_eq!(packet.encode(&mut [0; 9]), Ok(9));
//! # Ok::<(), mqttsn::DecodeError>(())
//! ```
//!
//! A datagram that may have come through a forwarder is read with [`Frame::decode`], which gives
//! the layers of forwarder encapsulation and the message inside.
//!
//! What this crate decided where the specification leaves room:
//! - The Length must equal the datagram's length; fixed-size messages may not be longer.
//! - A Length in its 3-octet form is accepted for short messages and never written for them.
//! - Flag bits that a message does not use are ignored and written as zero; fields that are used
//!   are kept even where they have no meaning at that QoS (a MsgId at QoS 0).
//! - Strings are checked to be UTF-8 and nothing more; [`topic`] holds the rules for topics.
//! - Reserved return codes and ProtocolIds are kept, for the broker to answer; reserved message
//!   types and the reserved TopicIdType 0b11 are errors, as nothing behind them can be read.
#![no_std]
#![forbid(unsafe_code)]

pub mod decode;
pub mod encapsulation;
pub mod encode;
pub mod packet;
pub mod tag;
pub mod topic;
pub mod types;

pub use decode::{DecodeError, Field};
pub use encapsulation::{Encapsulation, Frame};
pub use encode::EncodeError;
pub use packet::Packet;
pub use tag::Tag;
pub use types::{
    Alias, Flags, MsgId, MsgType, Qos, ReservedCode, ReturnCode, Seconds, TopicIdType, TopicRef,
};
