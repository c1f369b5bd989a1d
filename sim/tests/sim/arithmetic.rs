//! Every arithmetic operation against Rust's own integers.
use crate::programs::run;
use proptest::prelude::*;

/// Values near the edges are the interesting ones.
fn edge64() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0u64..70,
        (0u64..3).prop_map(|d| u64::MAX - d),
        (0u64..3).prop_map(|d| (1 << 63) - d),
        (0u64..3).prop_map(|d| (1 << 63) + d),
    ]
}

fn edge128() -> impl Strategy<Value = u128> {
    prop_oneof![
        any::<u128>(),
        0u128..70,
        (0u128..3).prop_map(|d| u128::MAX - d),
        (0u128..3).prop_map(|d| (1 << 127) - d),
        (0u128..3).prop_map(|d| (1 << 127) + d),
        (0u128..3).prop_map(|d| (1 << 64) - d),
    ]
}

fn expected(op: u8, a: u64, b: u64, wa: u128, wb: u128) -> (u64, u128) {
    let by = u32::from(b as u8);
    match op {
        0 => (a.wrapping_add(b), wa.wrapping_add(wb)),
        1 => (a.wrapping_sub(b), wa.wrapping_sub(wb)),
        2 => (a.wrapping_mul(b), wa.wrapping_mul(wb)),
        3 => ((a & b) | (!a ^ b), (wa & wb) | (!wa ^ wb)),
        4 => (
            a.checked_shl(by).unwrap_or(0),
            wa.checked_shl(by).unwrap_or(0),
        ),
        5 => (
            a.checked_shr(by).unwrap_or(0),
            wa.checked_shr(by).unwrap_or(0),
        ),
        6 => (a.saturating_add(b), wa.saturating_add(wb)),
        7 => (a.saturating_sub(b), wa.saturating_sub(wb)),
        8 => (
            (a as i64).saturating_add(b as i64) as u64,
            (wa as i128).saturating_add(wb as i128) as u128,
        ),
        9 => (
            (a as i64 >> by.min(63)) as u64,
            (wa as i128 >> by.min(127)) as u128,
        ),
        10 => (
            u64::from((a as i64) < b as i64),
            u128::from((wa as i128) < wb as i128),
        ),
        11 => (u64::from(a <= b), u128::from(wa <= wb)),
        12 => (
            a << 32 | b >> 32,
            ((wa >> 7) as u64 as u128) << 64 | wb >> 64,
        ),
        13 => (
            u64::from((i16::from(a as i8)).wrapping_sub(i16::from(b as i8)) as u16),
            u128::from(a) + u128::from(wa as u64),
        ),
        14 => {
            let (s, t) = (a & 0x7f, b & 0x7f);
            ((s + t) & 0x7f, u128::from((s + t).min(0x7f)))
        }
        15 => (a.wrapping_neg(), wa.wrapping_neg()),
        _ => (0, 0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_is_that_of_integers(a in edge64(), b in edge64(), wa in edge128(), wb in edge128()) {
        let mut bench = run("arithmetic");
        for op in 0..=16 {
            let mut frame = vec![op];
            frame.extend(a.to_be_bytes());
            frame.extend(b.to_be_bytes());
            frame.extend(wa.to_be_bytes());
            frame.extend(wb.to_be_bytes());
            let out = bench.send(&frame);
            let r = u64::from_be_bytes(out[..8].try_into().expect("8 bytes"));
            let w = u128::from_be_bytes(out[8..24].try_into().expect("16 bytes"));
            prop_assert_eq!((r, w), expected(op, a, b, wa, wb), "operation {}", op);
        }
    }
}
