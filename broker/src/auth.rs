//! Who a client is: the keys by which clients prove their ClientId.

mod keys;

pub use keys::{KeyLineError, Keys, KeysError, MAX_KEY_OCTETS, MIN_KEY_OCTETS};
