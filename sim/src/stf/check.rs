//! Comparing what left with what was expected.

use std::fmt;

/// A packet as an `expect` line has it: hexadecimal digits, `*` for any digit, and a `$` behind them
/// if the packet must end there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// A digit, or `None` for any.
    nibbles: Vec<Option<u8>>,
    /// The packet ends with the pattern.
    exact: bool,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        let mut nibbles = Vec::new();
        let mut exact = false;
        for c in text.chars().filter(|c| !c.is_whitespace()) {
            if exact {
                return Err(format!(
                    "expected the end of the line behind `$`, found `{c}`"
                ));
            }
            match (c, c.to_digit(16)) {
                (_, Some(digit)) => nibbles.push(Some(digit as u8)),
                ('*', None) => nibbles.push(None),
                ('$', None) => exact = true,
                _ => {
                    return Err(format!(
                        "expected hexadecimal digits, `*` or `$`, found `{c}`"
                    ));
                }
            }
        }
        Ok(Pattern { nibbles, exact })
    }

    /// Where a packet is not as expected.
    fn mismatch(&self, packet: &[u8]) -> Option<Mismatch> {
        let nibble = |i: usize| packet[i / 2] >> (4 * (1 - i % 2)) & 0xf;
        for (i, expected) in self.nibbles.iter().enumerate() {
            if i >= packet.len() * 2 {
                return Some(Mismatch::TooShort);
            }
            if expected.is_some_and(|expected| expected != nibble(i)) {
                return Some(Mismatch::Nibble(i));
            }
        }
        (self.exact && packet.len() * 2 > self.nibbles.len()).then_some(Mismatch::TooLong)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for nibble in &self.nibbles {
            match nibble {
                Some(digit) => write!(f, "{digit:x}")?,
                None => write!(f, "*")?,
            }
        }
        write!(f, "{}", if self.exact { "$" } else { "" })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mismatch {
    Nibble(usize),
    TooShort,
    TooLong,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Something that was not as the test has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The line that is not fulfilled; `None` for a packet that no line expects.
    pub line: Option<usize>,
    /// What is wrong, over several lines.
    pub text: String,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The test's file.
    pub file: String,
    /// Packets sent.
    pub sent: usize,
    /// Packets that left.
    pub left: usize,
    /// Packets expected.
    pub expected: usize,
    /// What was not as expected. Empty: the test passed.
    pub differences: Vec<Difference>,
    /// What reading commands found, and what else is worth telling.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether everything was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for difference in &self.differences {
            match difference.line {
                Some(line) => write!(f, "{}, line {line}: ", self.file)?,
                None => write!(f, "{}: ", self.file)?,
            }
            writeln!(f, "{}", difference.text)?;
        }
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        write!(
            f,
            "{}: {verdict} ({} packets sent, {} left, {} expected, {} differences)",
            self.file,
            self.sent,
            self.left,
            self.expected,
            self.differences.len()
        )
    }
}

/// An `expect` line with a packet.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) line: usize,
    pub(super) pattern: Pattern,
}

/// Compares what left one port with what was expected there, in order.
pub(super) fn compare(port: u32, expected: &[Expected], got: &[Vec<u8>]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (i, expected) in expected.iter().enumerate() {
        let wanted = &expected.pattern;
        let line = Some(expected.line);
        let Some(packet) = got.get(i) else {
            let text = format!(
                "port {port}: packet {} did not leave\n  expected {wanted}",
                i + 1
            );
            differences.push(Difference { line, text });
            continue;
        };
        let Some(mismatch) = wanted.mismatch(packet) else {
            continue;
        };
        let got = hex(packet);
        let (what, mark) = match mismatch {
            Mismatch::Nibble(at) => {
                let digit = |text: &str| text.chars().nth(at).unwrap_or('?');
                let what = format!(
                    "differs first at digit {at} (byte {}): expected {}, got {}",
                    at / 2,
                    digit(&wanted.to_string()),
                    digit(&got)
                );
                (what, at)
            }
            Mismatch::TooShort => {
                let what = format!(
                    "is too short: expected at least {} digits, got {}",
                    wanted.nibbles.len(),
                    got.len()
                );
                (what, got.len())
            }
            Mismatch::TooLong => {
                let what = format!(
                    "is too long: expected {} digits, got {}",
                    wanted.nibbles.len(),
                    got.len()
                );
                (what, wanted.nibbles.len())
            }
        };
        let text = format!(
            "port {port}: packet {} {what}\n  expected {wanted}\n  got      {got}\n           {}^",
            i + 1,
            " ".repeat(mark)
        );
        differences.push(Difference { line, text });
    }
    for (i, packet) in got.iter().enumerate().skip(expected.len()) {
        let text = format!(
            "port {port}: packet {} left, which no line expects\n  got      {}",
            i + 1,
            hex(packet)
        );
        differences.push(Difference { line: None, text });
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(pattern: &str, packet: &[u8]) -> Option<String> {
        let expected = Expected {
            line: 7,
            pattern: Pattern::parse(pattern).unwrap(),
        };
        compare(3, &[expected], &[packet.to_vec()])
            .pop()
            .map(|difference| difference.text)
    }

    #[test]
    fn a_pattern_is_a_prefix_unless_it_ends_with_a_dollar() {
        assert_eq!(compared("0a*b", &[0x0a, 0x1b, 0x2c]), None);
        assert_eq!(compared("0A 1B$", &[0x0a, 0x1b]), None);
        let text = compared("0a1b$", &[0x0a, 0x1b, 0x2c]).unwrap();
        assert!(
            text.contains("too long: expected 4 digits, got 6"),
            "{text}"
        );
        let text = compared("0a1b2c", &[0x0a, 0x1b]).unwrap();
        assert!(text.contains("too short"), "{text}");
    }

    #[test]
    fn the_first_differing_digit_is_shown() {
        let text = compared("0a1b2c", &[0x0a, 0x1c, 0x2d]).unwrap();
        assert_eq!(
            text,
            "port 3: packet 1 differs first at digit 3 (byte 1): expected b, got c\n\
             \u{20} expected 0a1b2c\n\
             \u{20} got      0a1c2d\n\
             \u{20}             ^"
        );
    }

    #[test]
    fn missing_and_unexpected_packets_are_told() {
        let expected = Expected {
            line: 2,
            pattern: Pattern::parse("00").unwrap(),
        };
        let missing = compare(1, &[expected], &[]);
        assert_eq!(missing[0].line, Some(2));
        assert!(missing[0].text.contains("did not leave"));
        let more = compare(1, &[], &[vec![1]]);
        assert_eq!(more[0].line, None);
        assert!(more[0].text.contains("no line expects"));
    }
}
