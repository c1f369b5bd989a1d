//! The checksum and hash algorithms, bit by bit.

use serde_json::Value;

use super::Stop;
use super::packet::{Packet, bits_of, to_bytes, unsigned};
use super::program::{hex, list, text};

/// A cyclic redundancy check of `width` bits in Rocksoft's terms.
fn crc(data: &[u8], width: u32, polynomial: u64, start: u64, reflected: bool, end: u64) -> u64 {
    let mut rest = start;
    for byte in data {
        for i in 0..8 {
            let bit = if reflected {
                byte >> i
            } else {
                byte >> (7 - i)
            } & 1;
            let top = rest >> (width - 1) & 1;
            rest = rest << 1 & (u64::MAX >> (64 - width));
            if top != u64::from(bit) {
                rest ^= polynomial;
            }
        }
    }
    if reflected {
        rest = rest.reverse_bits() >> (64 - width);
    }
    rest ^ end
}

/// Big-endian words, the last filled with zeros.
fn words(data: &[u8], bytes: usize) -> impl Iterator<Item = u64> {
    data.chunks(bytes).map(move |chunk| {
        (0..bytes).fold(0, |word, i| {
            word << 8 | u64::from(*chunk.get(i).unwrap_or(&0))
        })
    })
}

fn internet_checksum(data: &[u8]) -> u64 {
    let mut sum: u64 = words(data, 2).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sum & 0xffff
}

pub fn compute(algorithm: &str, data: &[u8]) -> Result<u64, Stop> {
    Ok(match algorithm {
        "crc16" | "crc16_custom" => crc(data, 16, 0x8005, 0, true, 0),
        "crc32" | "crc32_custom" => crc(data, 32, 0x04c1_1db7, 0xffff_ffff, true, 0xffff_ffff),
        "crcCCITT" => crc(data, 16, 0x1021, 0xffff, false, 0),
        "csum16" | "cksum16" => internet_checksum(data),
        "xor16" => words(data, 2).fold(0, |all, word| all ^ word),
        "xor32" => words(data, 4).fold(0, |all, word| all ^ word),
        "identity" => data
            .iter()
            .take(8)
            .fold(0, |all, byte| all << 8 | u64::from(*byte)),
        other => return Err(Stop::Unsupported(format!("the algorithm {other}"))),
    })
}

/// The bytes that a calculation or a selector reads: fields of invalid headers are left out.
pub fn input(inputs: &Value, key: &str, packet: &Packet) -> Result<Vec<u8>, Stop> {
    let mut bits = Vec::new();
    let mut with_payload = false;
    for part in list(inputs, key) {
        match part["type"].as_str() {
            Some("field") => {
                let header = &packet.headers.all[&text(&part["value"][0])];
                let field = header.kind.field(&text(&part["value"][1]));
                if let Some(field) = field
                    && header.valid
                {
                    bits.extend(header.field_bits(field));
                }
            }
            Some("hexstr") => {
                let width = part["bitwidth"].as_u64().unwrap_or(0) as u32;
                bits.extend(bits_of(&unsigned(&hex(&part["value"]), width), width));
            }
            Some("header") => {
                let header = &packet.headers.all[&text(&part["value"])];
                if header.valid {
                    bits.extend(header.bits());
                }
            }
            Some("payload") => with_payload = true,
            other => return Err(Stop::Unsupported(format!("{other:?} in a calculation"))),
        }
    }
    let mut bytes = to_bytes(&bits);
    if with_payload {
        bytes.extend(&packet.payload);
    }
    Ok(bytes)
}
