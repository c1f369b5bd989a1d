//! Bits of a big-endian byte string.

/// `N` bytes from byte `first` on. The caller has checked that they are there.
#[inline(always)]
fn array<const N: usize>(bytes: &[u8], first: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[first..first + N]);
    out
}

/// The `width` bits (1 to 64) that begin at bit `at`. The caller has checked that they are there.
#[inline]
pub(super) fn read(bytes: &[u8], at: usize, width: u32) -> u64 {
    let first = at / 8;
    if at.is_multiple_of(8) {
        match width {
            8 => return u64::from(bytes[first]),
            16 => return u64::from(u16::from_be_bytes(array(bytes, first))),
            32 => return u64::from(u32::from_be_bytes(array(bytes, first))),
            48 => {
                let high = u16::from_be_bytes(array(bytes, first));
                let low = u32::from_be_bytes(array(bytes, first + 2));
                return u64::from(high) << 32 | u64::from(low);
            }
            64 => return u64::from_be_bytes(array(bytes, first)),
            _ => {}
        }
    }
    let end = at + width as usize;
    let spare = end.div_ceil(8) * 8 - end;
    if end.div_ceil(8) - first == 1 {
        return u64::from(bytes[first]) >> spare & (u64::MAX >> (64 - width));
    }
    let mut value: u128 = 0;
    for &byte in &bytes[first..end.div_ceil(8)] {
        value = value << 8 | u128::from(byte);
    }
    (value >> spare) as u64 & (u64::MAX >> (64 - width))
}

/// Sets the `width` bits (1 to 64) that begin at bit `at`, which are 0.
#[inline]
pub(super) fn write(bytes: &mut [u8], at: usize, width: u32, value: u64) {
    let first = at / 8;
    if at.is_multiple_of(8) {
        match width {
            8 => return bytes[first] = value as u8,
            16 => return bytes[first..first + 2].copy_from_slice(&(value as u16).to_be_bytes()),
            32 => return bytes[first..first + 4].copy_from_slice(&(value as u32).to_be_bytes()),
            48 => {
                bytes[first..first + 2].copy_from_slice(&((value >> 32) as u16).to_be_bytes());
                bytes[first + 2..first + 6].copy_from_slice(&(value as u32).to_be_bytes());
                return;
            }
            64 => return bytes[first..first + 8].copy_from_slice(&value.to_be_bytes()),
            _ => {}
        }
    }
    let value = value & (u64::MAX >> (64 - width));
    let end = at + width as usize;
    let spare = end.div_ceil(8) * 8 - end;
    if end.div_ceil(8) - first == 1 {
        bytes[first] |= (value << spare) as u8;
        return;
    }
    let mut value = u128::from(value) << spare;
    for byte in bytes[first..end.div_ceil(8)].iter_mut().rev() {
        *byte |= value as u8;
        value >>= 8;
    }
}

/// The same for a value of any width, words least significant first.
pub(super) fn read_words(bytes: &[u8], at: usize, width: u32, words: &mut [u64]) {
    let end = at + width as usize;
    for (i, word) in words.iter_mut().enumerate() {
        let low = i as u32 * 64;
        let bits = width.saturating_sub(low).min(64);
        *word = match bits {
            0 => 0,
            bits => read(bytes, end - (low + bits) as usize, bits),
        };
    }
}

/// The same for a value of any width, words least significant first.
pub(super) fn write_words(bytes: &mut [u8], at: usize, width: u32, words: &[u64]) {
    let end = at + width as usize;
    for (i, &word) in words.iter().enumerate() {
        let low = i as u32 * 64;
        let bits = width.saturating_sub(low).min(64);
        if bits > 0 {
            write(bytes, end - (low + bits) as usize, bits, word);
        }
    }
}

/// Sign-extends the low `bits` (1 to 64).
#[inline]
pub(super) fn sign_extend(value: u64, bits: u32) -> u64 {
    let shift = 64 - bits;
    (((value << shift) as i64) >> shift) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(at in 0usize..40, width in 1u32..200, seed in any::<u64>()) {
            let n = width.div_ceil(64) as usize;
            let mut words: Vec<u64> =
                (0..n as u64).map(|i| seed.wrapping_mul(2 * i + 3)).collect();
            if width % 64 != 0 {
                words[n - 1] &= u64::MAX >> (64 - width % 64);
            }
            let mut bytes = vec![0; 40];
            write_words(&mut bytes, at, width, &words);
            let mut back = vec![0; n];
            read_words(&bytes, at, width, &mut back);
            prop_assert_eq!(back, words);
            let ones: u32 = bytes.iter().map(|b| b.count_ones()).sum();
            let expected: u32 = bytes_ones(&bytes, at, width);
            prop_assert_eq!(ones, expected, "nothing outside was touched");
        }
    }

    fn bytes_ones(bytes: &[u8], at: usize, width: u32) -> u32 {
        (at..at + width as usize)
            .filter(|bit| bytes[bit / 8] & (0x80 >> (bit % 8)) != 0)
            .count() as u32
    }
}
