//! Numbers as STF and BMv2's command line write them, as big-endian bytes of any length.

/// A number in digits of one base; `*` digits are "don't care".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digits {
    /// The value, `*` as 0.
    pub(super) value: Vec<u8>,
    /// Ones where a digit was given. `None` for a decimal number, which covers its whole field.
    pub(super) mask: Option<Vec<u8>>,
    /// Bits of the digits before the first `*`.
    pub(super) leading_bits: u32,
    pub(super) has_wildcards: bool,
}

/// Big-endian bytes of a number in a base of at most 16; `*` is `star`.
fn number(digits: &str, base: u32, star: u32) -> Option<Vec<u8>> {
    // Little-endian while it grows.
    let mut bytes: Vec<u8> = vec![0];
    for digit in digits.chars() {
        let digit = match digit {
            '*' => star,
            digit => digit.to_digit(base)?,
        };
        let mut carry = digit;
        for byte in &mut bytes {
            let value = u32::from(*byte) * base + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.reverse();
    Some(bytes)
}

impl Digits {
    /// `0x…`, `0b…`, `0o…` or decimal digits; and, but for decimal, `*` among the digits.
    pub(super) fn parse(text: &str) -> Option<Digits> {
        let lower = text.to_ascii_lowercase();
        let (base, bits, digits) = match lower.get(..2) {
            Some("0x") => (16, 4, &lower[2..]),
            Some("0b") => (2, 1, &lower[2..]),
            Some("0o") => (8, 3, &lower[2..]),
            _ => (10, 0, &lower[..]),
        };
        if digits.is_empty() || digits.len() > 4096 || (base == 10 && digits.contains('*')) {
            return None;
        }
        let value = number(digits, base, 0)?;
        let mask = (base != 10).then(|| {
            let cared: String = digits
                .chars()
                .map(|digit| if digit == '*' { '0' } else { '1' })
                .collect();
            // Each cared digit counts as its base's greatest.
            let greatest = char::from_digit(base - 1, base).unwrap_or('0');
            number(&cared.replace('1', &greatest.to_string()), base, 0).unwrap_or_default()
        });
        let before = digits.chars().take_while(|digit| *digit != '*').count();
        Some(Digits {
            value,
            mask,
            leading_bits: before as u32 * bits,
            has_wildcards: digits.contains('*'),
        })
    }
}

/// A plain value: a number, an IPv4, IPv6 or MAC address, `true` or `false`.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || {
        format!(
            "expected a value (decimal, 0x…, 0b…, 0o…, an IPv4, IPv6 or MAC address), found `{text}`"
        )
    };
    if let Some(rest) = text.strip_prefix('-') {
        return Err(format!(
            "negative values are written in two's complement, found `-{rest}`"
        ));
    }
    match text {
        "true" => return Ok(vec![1]),
        "false" => return Ok(vec![0]),
        _ => {}
    }
    if let Some(digits) = Digits::parse(text) {
        return match digits.has_wildcards {
            false => Ok(digits.value),
            true => Err(format!("`*` is for ternary and lpm keys, found `{text}`")),
        };
    }
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(address.octets().to_vec());
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() == 6 && parts.iter().all(|part| matches!(part.len(), 1 | 2)) {
        return parts
            .iter()
            .map(|part| u8::from_str_radix(part, 16).map_err(|_| wrong()))
            .collect();
    }
    match text.parse::<std::net::Ipv6Addr>() {
        Ok(address) => Ok(address.octets().to_vec()),
        Err(_) => Err(wrong()),
    }
}

/// Exactly `width` bits' worth of bytes; `None` if the number is greater.
pub(super) fn fit(bytes: &[u8], width: u32) -> Option<Vec<u8>> {
    let len = width.div_ceil(8) as usize;
    let significant = bytes.iter().position(|byte| *byte != 0);
    let bytes = &bytes[significant.unwrap_or(bytes.len())..];
    if bytes.len() > len {
        return None;
    }
    let mut fitted = vec![0; len - bytes.len()];
    fitted.extend_from_slice(bytes);
    let spare = len as u32 * 8 - width;
    match fitted.first() {
        Some(first) if spare > 0 && first.leading_zeros() < spare => None,
        _ => Some(fitted),
    }
}

/// `width` bits of which the first `ones` are 1.
pub(super) fn prefix_mask(width: u32, ones: u32) -> Vec<u8> {
    let len = width.div_ceil(8);
    let spare = len * 8 - width;
    let mut mask = vec![0u8; len as usize];
    for bit in spare..spare + ones.min(width) {
        mask[(bit / 8) as usize] |= 0x80 >> (bit % 8);
    }
    mask
}

pub(super) fn and(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

/// The number, for messages: decimal up to 64 bits, else hexadecimal.
pub(super) fn show(bytes: &[u8]) -> String {
    if bytes.len() <= 8 {
        let value = bytes.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
        return value.to_string();
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_base_have_value_and_mask() {
        let hex = Digits::parse("0x02*0").unwrap();
        assert_eq!(fit(&hex.value, 16).unwrap(), [0x02, 0x00]);
        assert_eq!(fit(&hex.mask.unwrap(), 16).unwrap(), [0xff, 0x0f]);
        assert_eq!(hex.leading_bits, 8);
        let binary = Digits::parse("0b1**").unwrap();
        assert_eq!(fit(&binary.value, 3).unwrap(), [0b100]);
        assert_eq!(fit(&binary.mask.unwrap(), 3).unwrap(), [0b100]);
        assert_eq!(Digits::parse("65536").unwrap().value, [1, 0, 0]);
        assert_eq!(Digits::parse("0o777").unwrap().value, [1, 0xff]);
        assert!(Digits::parse("12*").is_none());
    }

    #[test]
    fn addresses_are_values() {
        assert_eq!(parse("10.0.0.1").unwrap(), [10, 0, 0, 1]);
        assert_eq!(parse("0:1:2:3:4:ff").unwrap(), [0, 1, 2, 3, 4, 255]);
        assert_eq!(parse("::1").unwrap()[15], 1);
        assert!(parse("-1").unwrap_err().contains("two's complement"));
        assert!(parse("horse").is_err());
    }

    #[test]
    fn what_is_too_large_does_not_fit() {
        assert_eq!(fit(&[0, 0, 1, 0xff], 9).unwrap(), [1, 0xff]);
        assert!(fit(&[2, 0], 9).is_none());
        assert!(fit(&[1, 0], 8).is_none());
        assert_eq!(fit(&[], 9).unwrap(), [0, 0]);
    }
}
