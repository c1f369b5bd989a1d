//! A packet on its way: its headers, its payload and what was asked for it.

use std::collections::BTreeMap;
use std::rc::Rc;

use num_bigint::{BigInt, BigUint, Sign};

use super::program::{HeaderType, Program};

/// Bits, the first one first.
pub type Bits = Vec<bool>;

pub fn to_bits(bytes: &[u8]) -> Bits {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1));
    bits.collect()
}

/// Fills the last byte with zeros.
pub fn to_bytes(bits: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| {
        (0..8).fold(0, |byte, i| {
            byte << 1 | u8::from(bits.get(i) == Some(&true))
        })
    };
    bits.chunks(8).map(byte).collect()
}

pub fn number(bits: &[bool]) -> BigUint {
    let missing = (8 - bits.len() % 8) % 8;
    BigUint::from_bytes_be(&to_bytes(&[vec![false; missing], bits.to_vec()].concat()))
}

pub fn bits_of(number: &BigUint, width: u32) -> Bits {
    (0..width).rev().map(|i| number.bit(i.into())).collect()
}

/// Two's complement in so many bits.
pub fn unsigned(number: &BigInt, width: u32) -> BigUint {
    let all: BigInt = (BigInt::from(1) << width) - 1;
    let rest: BigInt = number & all;
    rest.to_biguint().expect("a mask is not negative")
}

/// What is left of a number in a field.
pub fn fit(number: &BigInt, width: u32, signed: bool) -> BigInt {
    let rest = BigInt::from_biguint(Sign::Plus, unsigned(number, width));
    if signed && width > 0 && rest.bit(u64::from(width) - 1) {
        rest - (BigInt::from(1) << width)
    } else {
        rest
    }
}

/// One header instance.
#[derive(Debug, Clone)]
pub struct Header {
    pub kind: Rc<HeaderType>,
    pub metadata: bool,
    pub valid: bool,
    /// By their place in the type.
    pub fields: Vec<BigInt>,
    /// Bits of the varbit.
    pub varbit: u32,
}

impl Header {
    fn new(kind: &Rc<HeaderType>, metadata: bool) -> Header {
        Header {
            kind: kind.clone(),
            metadata,
            valid: metadata,
            fields: vec![BigInt::default(); kind.fields.len()],
            varbit: 0,
        }
    }

    pub fn zero(&mut self) {
        self.fields.fill(BigInt::default());
        self.varbit = 0;
    }

    pub fn width(&self, field: usize) -> u32 {
        self.kind.fields[field].width.unwrap_or(self.varbit)
    }

    pub fn set(&mut self, field: usize, value: &BigInt) {
        self.fields[field] = fit(value, self.width(field), self.kind.fields[field].signed);
    }

    pub fn field_bits(&self, field: usize) -> Bits {
        let width = self.width(field);
        bits_of(&unsigned(&self.fields[field], width), width)
    }

    pub fn bits(&self) -> Bits {
        let fields = 0..self.fields.len();
        fields.flat_map(|field| self.field_bits(field)).collect()
    }

    pub fn bytes(&self) -> usize {
        (self.kind.fixed_bits() + self.varbit) as usize / 8
    }
}

/// All headers and metadata.
#[derive(Debug, Clone)]
pub struct Headers {
    pub all: BTreeMap<String, Header>,
    /// The next free element of each stack.
    pub next: BTreeMap<String, usize>,
}

impl Headers {
    pub fn new(program: &Program) -> Headers {
        let all = program.headers.iter();
        let all = all.map(|(name, h)| (name.clone(), Header::new(&h.kind, h.metadata)));
        Headers {
            all: all.collect(),
            next: BTreeMap::new(),
        }
    }

    pub fn get(&self, header: &str, field: &str) -> BigInt {
        let header = &self.all[header];
        if field == "$valid$" {
            return BigInt::from(u8::from(header.valid));
        }
        header
            .kind
            .field(field)
            .map_or_else(BigInt::default, |at| header.fields[at].clone())
    }

    pub fn set(&mut self, header: &str, field: &str, value: &BigInt) {
        let header = self.all.get_mut(header).expect("a header");
        if let Some(field) = header.kind.field(field) {
            header.set(field, value);
        }
    }

    /// At most one member of a union is valid.
    pub fn set_valid(&mut self, program: &Program, name: &str, valid: bool) {
        if valid && let Some(union) = &program.headers[name].union {
            for member in &program.unions[union] {
                self.all.get_mut(member).expect("a header").valid = false;
            }
        }
        self.all.get_mut(name).expect("a header").valid = valid;
    }

    pub fn zero_metadata(&mut self) {
        for header in self.all.values_mut().filter(|header| header.metadata) {
            header.zero();
        }
    }
}

/// A packet in one of its passes.
#[derive(Debug, Clone)]
pub struct Packet {
    pub headers: Headers,
    /// What the parser left.
    pub payload: Vec<u8>,
    /// The length that egress will see as `packet_length`.
    pub length: i64,
    /// The length that counters count.
    pub arrived: usize,
    pub ingress_port: u32,
    /// The bound that `truncate` gave.
    pub bound: usize,
    pub checksum_error: bool,
    pub parser_error: u32,
    /// Session and field list.
    pub clone: Option<(u64, u64)>,
    pub resubmit: Option<u64>,
    pub recirculate: Option<u64>,
    pub digests: Vec<u64>,
    pub exit: bool,
}

impl Packet {
    pub fn new(program: &Program, frame: Vec<u8>) -> Packet {
        Packet {
            headers: Headers::new(program),
            length: frame.len() as i64,
            arrived: frame.len(),
            ingress_port: 0,
            payload: frame,
            bound: usize::MAX,
            checksum_error: false,
            parser_error: 0,
            clone: None,
            resubmit: None,
            recirculate: None,
            digests: Vec::new(),
            exit: false,
        }
    }
}
