//! Checksums, verified and updated.
use crate::programs::run;
use proptest::prelude::*;

/// The Internet checksum of whole words.
fn csum(words: &[u16]) -> u16 {
    let mut sum: u32 = words.iter().map(|word| u32::from(*word)).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn plain(mode: u8, a: u16, b: u32, checksum: u16) -> Vec<u8> {
    let mut frame = vec![mode, 0];
    frame.extend(a.to_be_bytes());
    frame.extend(b.to_be_bytes());
    frame.extend(checksum.to_be_bytes());
    frame
}

fn checksum_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[8], frame[9]])
}

#[test]
fn a_wrong_checksum_is_seen_and_a_right_one_is_not() {
    let mut bench = run("checksums");
    let right = csum(&[0, 0x1234, 0x89ab, 0xcdef]);
    assert_eq!(bench.send(&plain(0, 0x1234, 0x89ab_cdef, right))[1], 0);
    assert_eq!(bench.send(&plain(0, 0x1234, 0x89ab_cdef, right ^ 1))[1], 1);
    assert_eq!(
        bench.send(&plain(5, 0x1234, 0x89ab_cdef, 0))[1],
        0,
        "its condition is false"
    );
}

#[test]
fn a_checksum_over_the_payload_covers_all_of_it() {
    let mut bench = run("checksums");
    for payload in [&[][..], &[0x11, 0x22], &[0x11, 0x22, 0x33]] {
        let odd_last = u16::from(*payload.get(2).unwrap_or(&0)) << 8;
        let first = if payload.is_empty() { 0 } else { 0x1122 };
        let right = csum(&[0x4242, first, odd_last]);
        let mut frame = plain(2, 0, 0, 0);
        frame.extend([0x42, 0x42]);
        frame.extend(right.to_be_bytes());
        frame.extend(payload);
        let out = bench.send(&frame);
        assert_eq!(
            out[1],
            0,
            "verified with {} bytes of payload",
            payload.len()
        );
        assert_eq!(out[10..], frame[10..], "and updated to the same");
        let last = frame.len() - 1;
        frame[last] ^= 0x10;
        let out = bench.send(&frame);
        assert_eq!(out[1], 1);
    }
}

proptest! {
    #[test]
    fn fields_that_are_not_whole_bytes_are_concatenated_bit_by_bit(
        x in 0u8..16, y in 0u16..0x2000, z in 0u8..128,
    ) {
        let mut bench = run("checksums");
        let bits = u32::from(x) << 20 | u32::from(y) << 7 | u32::from(z);
        let mut frame = plain(1, 0, 0, 0);
        frame.extend(&bits.to_be_bytes()[1..]);
        frame.extend([0, 0]);
        let out = bench.send(&frame);
        let got = u16::from_be_bytes([out[13], out[14]]);
        prop_assert_eq!(got, csum(&[(bits >> 8) as u16, (bits as u16) << 8]));
    }

    #[test]
    fn an_incremental_update_gives_what_a_full_one_does(a: u16, b: u32, noise: u16) {
        // RFC 1624: HC' = ~(~HC + ~m + m'). The words that did not change do not matter.
        let mut bench = run("checksums");
        let words = |a: u16| [0x0300, a, (b >> 16) as u16, b as u16, noise];
        let out = bench.send(&plain(3, a, b, csum(&words(a))));
        let (new_a, got) = (a.wrapping_add(0x1111), checksum_of(&out));
        prop_assert_eq!(u16::from_be_bytes([out[2], out[3]]), new_a);
        prop_assert_eq!(got, csum(&words(new_a)));
    }

    #[test]
    fn a_full_update_covers_the_header(a: u16, b: u32) {
        let out = run("checksums").send(&plain(4, a, b, 0x5555));
        prop_assert_eq!(checksum_of(&out), csum(&[0x0400, a, (b >> 16) as u16, b as u16]));
    }
}
