//! Hash algorithms, with the parameters that simple_switch gives them.

use crate::program::Algorithm;

/// Hashes a byte string.
pub(crate) fn hash(algorithm: Algorithm, bytes: &[u8]) -> u64 {
    match algorithm {
        Algorithm::Csum16 => u64::from(csum16(bytes)),
        Algorithm::Crc16 => u64::from(crc16(bytes)),
        Algorithm::Crc32 => u64::from(crc32(bytes)),
        Algorithm::CrcCcitt => u64::from(crc_ccitt(bytes)),
        Algorithm::Identity => bytes
            .iter()
            .take(8)
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        Algorithm::Xor16 => xor(bytes, 2),
        Algorithm::Xor32 => xor(bytes, 4),
        Algorithm::Crc8 => u64::from(crc8(bytes)),
        Algorithm::Crc64 => crc64(bytes),
        Algorithm::Xxh64 => xxh64(bytes),
        // Every bit of the input adds 32 bits of the key, and all of them are 0; the turns of a
        // round robin are no function of the bytes.
        Algorithm::Toeplitz | Algorithm::RoundRobin => 0,
    }
}

/// CRC-8 (SMBus): polynomial 0x07, not reflected.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |mut crc, byte| {
        crc ^= byte;
        for _ in 0..8 {
            crc = if crc >> 7 == 1 {
                crc << 1 ^ 0x07
            } else {
                crc << 1
            };
        }
        crc
    })
}

/// CRC-64 (ISO 3309) that begins with 0 and ends as it is: polynomial 0x1B, reflected.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |mut crc, byte| {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xD800_0000_0000_0000
            } else {
                crc >> 1
            };
        }
        crc
    })
}

/// XXH64 with the seed 0, as the xxHash specification has it.
fn xxh64(bytes: &[u8]) -> u64 {
    const P1: u64 = 0x9E37_79B1_85EB_CA87;
    const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
    const P3: u64 = 0x1656_67B1_9E37_79F9;
    const P4: u64 = 0x85EB_CA77_C2B2_AE63;
    const P5: u64 = 0x27D4_EB2F_1656_67C5;
    let lane = |bytes: &[u8]| {
        let bytes = bytes.iter().rev();
        bytes.fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let round = |accumulator: u64, input: u64| {
        accumulator
            .wrapping_add(input.wrapping_mul(P2))
            .rotate_left(31)
            .wrapping_mul(P1)
    };
    let stripes = bytes.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut hash = if bytes.len() >= 32 {
        let mut v = [P1.wrapping_add(P2), P2, 0, 0u64.wrapping_sub(P1)];
        for stripe in stripes {
            for (v, input) in v.iter_mut().zip(stripe.chunks_exact(8)) {
                *v = round(*v, lane(input));
            }
        }
        let mut hash = v[0]
            .rotate_left(1)
            .wrapping_add(v[1].rotate_left(7))
            .wrapping_add(v[2].rotate_left(12))
            .wrapping_add(v[3].rotate_left(18));
        for v in v {
            hash = (hash ^ round(0, v)).wrapping_mul(P1).wrapping_add(P4);
        }
        hash
    } else {
        P5
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    while rest.len() >= 8 {
        hash ^= round(0, lane(&rest[..8]));
        hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        rest = &rest[8..];
    }
    if rest.len() >= 4 {
        hash ^= lane(&rest[..4]).wrapping_mul(P1);
        hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        rest = &rest[4..];
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(P5);
        hash = hash.rotate_left(11).wrapping_mul(P1);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(P2);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(P3);
    hash ^ hash >> 32
}

/// The Internet checksum (RFC 1071); an odd length counts as if a zero byte followed.
fn csum16(bytes: &[u8]) -> u16 {
    let mut sum = InternetSum::default();
    sum.bytes(bytes);
    sum.checksum()
}

/// The Internet checksum of a concatenation of bit strings.
///
/// The sum of 16-bit words with end-around carry is a sum modulo 2¹⁶ − 1, in which 2¹⁶ is 1. So a
/// field counts by its value and by where it ends within a word, and needs not be copied to where
/// it would stand.
#[derive(Default)]
pub(crate) struct InternetSum {
    sum: u64,
    /// Bits so far.
    length: u32,
}

impl InternetSum {
    /// Appends the low `width` (1 to 64) bits of a value that has no others.
    #[inline]
    pub(crate) fn bits(&mut self, width: u32, value: u64) {
        self.length += width;
        let shift = self.length.wrapping_neg() % 16;
        // Each half stays below 2⁴⁷: sixteen thousand of them fit.
        self.add(((value >> 32) << shift) + ((value & 0xffff_ffff) << shift));
    }

    #[inline]
    fn add(&mut self, value: u64) {
        let (sum, carry) = self.sum.overflowing_add(value);
        // 2⁶⁴ is 1 as well.
        self.sum = sum + u64::from(carry);
    }

    /// Appends bytes, behind zeros up to the next whole byte.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length = self.length.next_multiple_of(8);
        let odd = !self.length.is_multiple_of(16);
        let mut sum = InternetSum::default();
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let word = word
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            sum.add(word);
        }
        for pair in words.remainder().chunks(2) {
            sum.add(u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low)));
        }
        let mut value = u64::from(sum.fold());
        if odd {
            value <<= 8;
        }
        self.add(value);
        // Only whether it is odd matters from here on.
        self.length += (bytes.len() % 2) as u32 * 8;
    }

    fn fold(&self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    pub(crate) fn checksum(&self) -> u16 {
        !self.fold()
    }
}

/// CRC-16/ARC: polynomial 0x8005, reflected.
fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u16;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xA001
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| {
        crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

/// CRC-32 (IEEE 802.3): polynomial 0x04C11DB7, reflected.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xEDB8_8320
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| {
        crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

/// CRC-16/CCITT-FALSE: polynomial 0x1021, initially 0xFFFF, not reflected.
fn crc_ccitt(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |mut crc, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc >> 15 == 1 {
                crc << 1 ^ 0x1021
            } else {
                crc << 1
            };
        }
        crc
    })
}

/// Exclusive or of all groups of `n` bytes; zeros follow an incomplete one.
fn xor(bytes: &[u8], n: usize) -> u64 {
    bytes.chunks(n).fold(0, |value, chunk| {
        let group = chunk
            .iter()
            .fold(0, |group, byte| group << 8 | u64::from(*byte));
        value ^ group << (8 * (n - chunk.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of every CRC catalogue.
    const CHECK: &[u8] = b"123456789";

    #[test]
    fn crcs_have_their_published_check_values() {
        assert_eq!(hash(Algorithm::Crc16, CHECK), 0xBB3D);
        assert_eq!(hash(Algorithm::Crc32, CHECK), 0xCBF4_3926);
        assert_eq!(hash(Algorithm::CrcCcitt, CHECK), 0x29B1);
        assert_eq!(hash(Algorithm::Crc8, CHECK), 0xF4);
        // CRC-64/GO-ISO begins and ends with all ones; this variant has no published check value,
        // but must be linear: the difference of the two is that of a message of zeros.
        let zeros = [0; 9];
        assert_eq!(hash(Algorithm::Crc64, &zeros), 0);
        assert_eq!(hash(Algorithm::Crc64, &[1]), 0x01B0_0000_0000_0000);
    }

    #[test]
    fn xxh64_has_its_published_values() {
        assert_eq!(hash(Algorithm::Xxh64, b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(hash(Algorithm::Xxh64, b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(hash(Algorithm::Xxh64, b"abc"), 0x44BC_2CF5_AD77_0999);
        let long = b"Nobody inspects the spammish repetition";
        assert_eq!(hash(Algorithm::Xxh64, long), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn the_internet_checksum_agrees_with_rfc_1071() {
        // §3: the sum of these is 0xddf2.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(hash(Algorithm::Csum16, &example), u64::from(!0xddf2u16));
        assert_eq!(hash(Algorithm::Csum16, &[]), 0xffff);
        let odd = hash(Algorithm::Csum16, &[0x12, 0x34, 0x56]);
        assert_eq!(odd, hash(Algorithm::Csum16, &[0x12, 0x34, 0x56, 0x00]));
    }

    #[test]
    fn identity_takes_the_first_eight_bytes() {
        assert_eq!(hash(Algorithm::Identity, &[1, 2]), 0x0102);
        assert_eq!(
            hash(Algorithm::Identity, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            0x0102_0304_0506_0708
        );
    }

    #[test]
    fn xor_pads_the_last_group_with_zeros_behind() {
        assert_eq!(hash(Algorithm::Xor16, &[0x12, 0x34, 0xff]), 0x1234 ^ 0xff00);
        assert_eq!(
            hash(Algorithm::Xor32, &[1, 2, 3, 4, 5]),
            0x0102_0304 ^ 0x0500_0000
        );
    }
}
