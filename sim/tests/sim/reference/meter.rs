//! The two rate three colour marker of RFC 2698 §3, colour-blind, without rounding.

/// Tokens in millionths: a rate of one a second makes one part a microsecond.
const PARTS: u128 = 1_000_000;

/// A configured meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// Units a second, committed and peak.
    rates: [u64; 2],
    /// Units, committed and peak.
    bursts: [u64; 2],
    tokens: [u128; 2],
    /// When it last marked; `None` while its buckets are full since the beginning.
    last_us: Option<u64>,
}

impl Meter {
    /// With full buckets.
    pub fn new(rates: [u64; 2], bursts: [u64; 2]) -> Meter {
        Meter {
            rates,
            bursts,
            tokens: bursts.map(|burst| u128::from(burst) * PARTS),
            last_us: None,
        }
    }

    /// 0 for green, 1 for yellow, 2 for red.
    pub fn mark(&mut self, now_us: u64, units: u64) -> u64 {
        let passed = now_us - self.last_us.unwrap_or(now_us);
        self.last_us = Some(now_us);
        for i in 0..2 {
            let more = u128::from(self.rates[i]) * u128::from(passed);
            let most = u128::from(self.bursts[i]) * PARTS;
            self.tokens[i] = (self.tokens[i] + more).min(most);
        }
        let units = u128::from(units) * PARTS;
        let [committed, peak] = &mut self.tokens;
        if *peak < units {
            return 2;
        }
        *peak -= units;
        if *committed < units {
            return 1;
        }
        *committed -= units;
        0
    }
}
