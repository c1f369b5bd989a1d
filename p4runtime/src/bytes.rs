//! Canonical bytestrings: how P4Runtime writes integers (P4Runtime specification, "Bytestrings").
//!
//! An unsigned value of any width is a big-endian string of octets, as short as it can be; zero is
//! the single octet 0x00. A receiver takes longer strings too (the leading zeros are dropped), but
//! refuses an empty string and a value that does not fit the bitwidth in P4Info.
//!
//! ```
//! use p4runtime::bytes::Bitstring;
//! let port = Bitstring::parse(&[0x00, 0x01, 0xff], 9)?;
//! assert_eq!(port.as_bytes(), [0x01, 0xff]);
//! assert_eq!(port.to_u16()?, 511);
//! # Ok::<(), p4runtime::bytes::BytesError>(())
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A bytestring that cannot be the value asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// A bytestring has at least one octet; zero is 0x00.
    #[error("a bytestring must not be empty; zero is the one octet 0x00")]
    Empty,
    /// The value needs more bits than there are.
    #[error("the value {value} does not fit in {bitwidth} bits")]
    ValueOutOfRange {
        /// The value, in canonical form.
        value: Bitstring,
        /// The number of bits there are.
        bitwidth: u32,
    },
}

/// The canonical form of an unsigned value: `bytes` without leading zero octets, but never empty.
pub fn canonical(bytes: &[u8]) -> &[u8] {
    match bytes.iter().position(|&octet| octet != 0) {
        Some(first) => &bytes[first..],
        None => &[0],
    }
}

/// The number of bits that the unsigned value in `bytes` needs; 0 for zero.
pub fn significant_bits(bytes: &[u8]) -> usize {
    match bytes.iter().position(|&octet| octet != 0) {
        Some(first) => (bytes.len() - first) * 8 - bytes[first].leading_zeros() as usize,
        None => 0,
    }
}

/// Checks a received bytestring against a `bit<bitwidth>` and returns its canonical form.
///
/// # Errors
/// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
pub fn check(bytes: &[u8], bitwidth: u32) -> Result<&[u8], BytesError> {
    if bytes.is_empty() {
        return Err(BytesError::Empty);
    }
    if significant_bits(bytes) > bitwidth as usize {
        return Err(BytesError::ValueOutOfRange {
            value: Bitstring::from(bytes),
            bitwidth,
        });
    }
    Ok(canonical(bytes))
}

/// The canonical bytestring of `value`.
pub fn encode(value: u128) -> Vec<u8> {
    canonical(&value.to_be_bytes()).to_vec()
}

/// The value of a received `bit<bitwidth>` bytestring, for widths of up to 128 bits.
///
/// # Errors
/// [`BytesError::Empty`]; [`BytesError::ValueOutOfRange`] beyond `bitwidth` or beyond 128 bits.
pub fn decode(bytes: &[u8], bitwidth: u32) -> Result<u128, BytesError> {
    let value = check(bytes, bitwidth.min(128))?;
    Ok(value
        .iter()
        .fold(0, |sum, &octet| (sum << 8) | u128::from(octet)))
}

/// Writes a received `bit<bitwidth>` value right-aligned, big-endian, into the whole of `out`.
///
/// # Errors
/// [`BytesError::Empty`]; [`BytesError::ValueOutOfRange`] beyond `bitwidth` or the room in `out`.
pub fn write_fixed(bytes: &[u8], bitwidth: u32, out: &mut [u8]) -> Result<(), BytesError> {
    let room = u32::try_from(out.len().saturating_mul(8)).unwrap_or(u32::MAX);
    let bitwidth = bitwidth.min(room);
    let value = check(bytes, bitwidth)?;
    // Zero is one octet even where `out` has none.
    let value = if significant_bits(value) == 0 {
        &[]
    } else {
        value
    };
    let (padding, rest) = out.split_at_mut(out.len() - value.len());
    padding.fill(0);
    rest.copy_from_slice(value);
    Ok(())
}

/// An unsigned number of any width in canonical form.
///
/// Two are equal, and ordered, as their numbers are. A value of a translated type whose SDN type
/// is a string (`bitwidth` 0 in P4Info) is kept here too: octet for octet as given to
/// [`Bitstring::raw`] or as `&str`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bitstring(Vec<u8>);

impl Bitstring {
    /// Takes a received bytestring of type `bit<bitwidth>`; width 0 means an SDN string.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn parse(bytes: &[u8], bitwidth: u32) -> Result<Self, BytesError> {
        if bitwidth == 0 {
            return Ok(Self::raw(bytes.to_vec()));
        }
        check(bytes, bitwidth).map(|canonical| Self(canonical.to_vec()))
    }

    /// Octets that are not a number, or are in two's complement, kept as they are.
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A signed number in the shortest two's complement form, for `int<W>`.
    pub fn from_i128(value: i128) -> Self {
        let bytes = value.to_be_bytes();
        let sign = if value < 0 { 0xff } else { 0x00 };
        let mut first = 0;
        // An octet can go as long as the next one carries the same sign.
        while first < 15 && bytes[first] == sign && (bytes[first + 1] ^ sign) & 0x80 == 0 {
            first += 1;
        }
        Self(bytes[first..].to_vec())
    }

    /// The number in two's complement, for `int<W>`.
    ///
    /// # Errors
    /// [`BytesError::Empty`]; [`BytesError::ValueOutOfRange`] beyond 128 bits.
    pub fn to_i128(&self) -> Result<i128, BytesError> {
        let first = *self.0.first().ok_or(BytesError::Empty)?;
        if self.0.len() > 16 {
            return Err(BytesError::ValueOutOfRange {
                value: self.clone(),
                bitwidth: 128,
            });
        }
        let start = if first & 0x80 == 0 { 0 } else { -1 };
        Ok(self
            .0
            .iter()
            .fold(start, |sum, &octet| (sum << 8) | i128::from(octet)))
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The octets, as protobuf messages own them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Checks that the number fits a `bit<bitwidth>`; width 0 (an SDN string) takes anything.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn fit(self, bitwidth: u32) -> Result<Self, BytesError> {
        if bitwidth > 0 {
            check(&self.0, bitwidth)?;
        }
        Ok(self)
    }

    /// Whether the number is zero.
    pub fn is_zero(&self) -> bool {
        significant_bits(&self.0) == 0
    }

    /// The number as `u16`. Like its siblings it fails when the number is too large.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_u16(&self) -> Result<u16, BytesError> {
        self.to_array().map(u16::from_be_bytes)
    }

    /// The number as `u32`.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_u32(&self) -> Result<u32, BytesError> {
        self.to_array().map(u32::from_be_bytes)
    }

    /// The number as `u64`.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_u64(&self) -> Result<u64, BytesError> {
        self.to_array().map(u64::from_be_bytes)
    }

    /// The number as `u128`.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_u128(&self) -> Result<u128, BytesError> {
        self.to_array().map(u128::from_be_bytes)
    }

    /// The number as a MAC address.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_mac(&self) -> Result<[u8; 6], BytesError> {
        self.to_array()
    }

    /// The number as an IPv4 address.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_ipv4(&self) -> Result<Ipv4Addr, BytesError> {
        self.to_array::<4>().map(Ipv4Addr::from)
    }

    /// The number as an IPv6 address.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_ipv6(&self) -> Result<Ipv6Addr, BytesError> {
        self.to_array::<16>().map(Ipv6Addr::from)
    }

    /// The number, big-endian in N octets.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_array<const N: usize>(&self) -> Result<[u8; N], BytesError> {
        let mut out = [0; N];
        write_fixed(&self.0, u32::MAX, &mut out)?;
        Ok(out)
    }

    /// The number, big-endian in the octets that `bitwidth` bits need.
    ///
    /// # Errors
    /// [`BytesError::Empty`], [`BytesError::ValueOutOfRange`].
    pub fn to_fixed(&self, bitwidth: u32) -> Result<Vec<u8>, BytesError> {
        // Checked first, so that a nonsensical width is never allocated for a value within it.
        let value = check(&self.0, bitwidth)?;
        let mut out = vec![0; bitwidth.div_ceil(8) as usize];
        write_fixed(value, bitwidth, &mut out)?;
        Ok(out)
    }
}

impl Ord for Bitstring {
    fn cmp(&self, other: &Self) -> Ordering {
        // In canonical form the longer number is the larger.
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for Bitstring {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Bitstring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Bitstring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl AsRef<[u8]> for Bitstring {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

macro_rules! from_unsigned {
    ($($unsigned:ty),*) => {$(
        impl From<$unsigned> for Bitstring {
            fn from(value: $unsigned) -> Self {
                Self(canonical(&value.to_be_bytes()).to_vec())
            }
        }
    )*};
}
from_unsigned!(u8, u16, u32, u64, u128);

impl From<bool> for Bitstring {
    fn from(value: bool) -> Self {
        u8::from(value).into()
    }
}

impl From<&[u8]> for Bitstring {
    /// A big-endian number in any number of octets; none is zero.
    fn from(big_endian: &[u8]) -> Self {
        Self(canonical(big_endian).to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Bitstring {
    fn from(big_endian: [u8; N]) -> Self {
        big_endian.as_slice().into()
    }
}

impl From<Vec<u8>> for Bitstring {
    fn from(big_endian: Vec<u8>) -> Self {
        big_endian.as_slice().into()
    }
}

impl From<Ipv4Addr> for Bitstring {
    fn from(address: Ipv4Addr) -> Self {
        address.octets().into()
    }
}

impl From<Ipv6Addr> for Bitstring {
    fn from(address: Ipv6Addr) -> Self {
        address.octets().into()
    }
}

impl From<IpAddr> for Bitstring {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<&str> for Bitstring {
    /// An SDN string, octet for octet.
    fn from(sdn_string: &str) -> Self {
        Self(sdn_string.as_bytes().to_vec())
    }
}

impl From<&Bitstring> for Bitstring {
    fn from(value: &Bitstring) -> Self {
        value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tables of valid and invalid encodings in the specification.
    #[test]
    fn the_examples_of_the_specification_hold() {
        for (bytes, bitwidth, canonical) in [
            (&[0x63][..], 8, &[0x63][..]),
            (&[0x00, 0x63], 16, &[0x63]),
            (&[0x30, 0x64], 16, &[0x30, 0x64]),
            (&[0x00, 0x30, 0x64], 16, &[0x30, 0x64]),
            (&[0x00, 0x00, 0x63], 12, &[0x63]),
            (&[0x00, 0x00], 16, &[0x00]),
        ] {
            assert_eq!(check(bytes, bitwidth), Ok(canonical));
        }
        for (bytes, bitwidth) in [
            (&[0x01, 0x63][..], 8),
            (&[], 8),
            (&[0x01, 0x00, 0x63], 16),
            (&[0x10, 0x63], 12),
            (&[0x01, 0x00, 0x63], 12),
            (&[0x00, 0x40, 0x63], 12),
        ] {
            assert!(
                check(bytes, bitwidth).is_err(),
                "{bytes:02x?} in {bitwidth} bits"
            );
        }
        for (value, bytes) in [
            (99, &[0x63][..]),
            (-99, &[0x9d]),
            (-739, &[0xfd, 0x1d]),
            (0, &[0x00]),
            (-1, &[0xff]),
        ] {
            assert_eq!(Bitstring::from_i128(value).as_bytes(), bytes);
        }
    }

    #[test]
    fn an_error_names_the_value_and_the_width() {
        let error = Bitstring::from(512u16).fit(9).unwrap_err();
        assert_eq!(error.to_string(), "the value 0x0200 does not fit in 9 bits");
    }

    #[test]
    fn addresses_come_back() -> Result<(), BytesError> {
        let mac = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x01];
        assert_eq!(Bitstring::from(mac).as_bytes(), [0x5e, 0x00, 0x53, 0x01]);
        assert_eq!(Bitstring::from(mac).to_mac()?, mac);
        let v4 = Ipv4Addr::new(0, 1, 2, 3);
        assert_eq!(Bitstring::from(IpAddr::V4(v4)).to_ipv4()?, v4);
        assert_eq!(
            Bitstring::from(Ipv6Addr::LOCALHOST).to_ipv6()?,
            Ipv6Addr::LOCALHOST
        );
        assert!(Bitstring::from(1u64 << 48).to_mac().is_err());
        Ok(())
    }

    #[test]
    fn zero_bits_have_room_for_zero_only() {
        assert_eq!(write_fixed(&[0], 0, &mut []), Ok(()));
        assert!(write_fixed(&[1], 8, &mut []).is_err());
        assert_eq!(significant_bits(&[]), 0);
    }

    proptest! {
        #[test]
        fn numbers_come_back_and_are_as_short_as_can_be(value: u128) {
            let bytes = encode(value);
            prop_assert_eq!(decode(&bytes, 128), Ok(value));
            prop_assert_eq!(bytes.len(), (128 - value.leading_zeros() as usize).div_ceil(8).max(1));
        }

        #[test]
        fn leading_zeros_change_nothing(value: u128, zeros in 0usize..20) {
            let mut bytes = vec![0; zeros];
            bytes.extend(encode(value));
            prop_assert_eq!(decode(&bytes, 128), Ok(value));
            prop_assert_eq!(canonical(&bytes), encode(value));
        }

        #[test]
        fn a_value_fits_exactly_when_it_is_below_two_to_the_width(value: u128, bitwidth in 1u32..128) {
            prop_assert_eq!(decode(&encode(value), bitwidth).is_ok(), value >> bitwidth == 0);
        }

        #[test]
        fn fixed_width_and_canonical_are_two_forms_of_one_number(
            bytes in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let value = Bitstring::from(bytes.clone());
            prop_assert_eq!(value.to_fixed(bytes.len() as u32 * 8), Ok(bytes));
        }

        #[test]
        fn signed_numbers_come_back(value: i128) {
            prop_assert_eq!(Bitstring::from_i128(value).to_i128(), Ok(value));
        }

        #[test]
        fn order_is_that_of_the_numbers(a: u128, b: u128) {
            prop_assert_eq!(Bitstring::from(a).cmp(&Bitstring::from(b)), a.cmp(&b));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), bitwidth: u32) {
            let _ = decode(&bytes, bitwidth);
            let value = Bitstring::raw(bytes);
            let _ = (value.to_i128(), value.to_u16(), value.to_fixed(bitwidth % 4096));
        }
    }
}
