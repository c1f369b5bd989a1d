//! The lowered program: what the workers run.
//!
//! All data of one packet lies in one array of 64-bit words, the packet header vector (PHV). A
//! value of `w` bits takes ⌈w/64⌉ consecutive words, least significant first: `bit<w>`
//! zero-extended, `int<w>` sign-extended. The array has these zones, in this order:
//!
//! | zone | holds | reset |
//! |---|---|---|
//! | (word 0) | 1 | never |
//! | headers | a validity word, then the fields, for each header | to 0 for every packet |
//! | stacks | `nextIndex` of each header stack | to 0 for every packet |
//! | metadata | the fields of each metadata struct | to 0 for every packet |
//! | arguments | the data of the action that runs | written by each call |
//! | temporaries | intermediate results | never |
//! | constants | constants of the program | never |

mod encode;
mod finish;
mod fuse;
mod inst;
mod layout;
pub(crate) mod sum;
mod trace;

pub(crate) use finish::Derived;
pub(crate) use inst::{Ahead, Inst, PHV_WORDS, Switch};
pub(crate) use trace::{Note, Notes};

/// Index of a word in the PHV.
pub(crate) type Loc = u32;

/// A word that is always 1: the validity of metadata.
pub(crate) const ALWAYS: Loc = 0;

/// Index of an instruction in [`Program::code`].
pub(crate) type Pc = u32;

/// Consecutive words of the PHV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) loc: Loc,
    pub(crate) words: u32,
}

impl Span {
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.loc as usize..(self.loc + self.words) as usize
    }
}

/// One instruction. `d` is the destination, `s`, `a`, `b`, `c` are sources: words of the PHV.
/// Truth is 1, falsehood 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    // One word.
    Mov {
        d: Loc,
        s: Loc,
    },
    And {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Or {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Xor {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Add {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Sub {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Mul {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Div {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Mod {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Not {
        d: Loc,
        a: Loc,
    },
    Shl {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Shr {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Sar {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    ShlBy {
        d: Loc,
        a: Loc,
        n: u32,
    },
    ShrBy {
        d: Loc,
        a: Loc,
        n: u32,
    },
    SarBy {
        d: Loc,
        a: Loc,
        n: u32,
    },
    /// The low `bits` (1 to 64) of `a` shifted right by `by` (0 to 63), zero-extended.
    Slice {
        d: Loc,
        a: Loc,
        by: u8,
        bits: u8,
    },
    /// The low `bits` (1 to 64) of `a`, zero-extended.
    Zext {
        d: Loc,
        a: Loc,
        bits: u32,
    },
    /// The low `bits` (1 to 64) of `a`, sign-extended.
    Sext {
        d: Loc,
        a: Loc,
        bits: u32,
    },
    /// Word `s` and the one above it, shifted right by `n` (1 to 63).
    Funnel {
        d: Loc,
        s: Loc,
        n: u32,
    },
    /// `a` between `lo` and `hi`, signed.
    ClampS {
        d: Loc,
        a: Loc,
        lo: Loc,
        hi: Loc,
    },
    /// `a` up to `hi`, unsigned.
    ClampU {
        d: Loc,
        a: Loc,
        hi: Loc,
    },
    Eq {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Ne {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LtU {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LeU {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LtS {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LeS {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    BoolNot {
        d: Loc,
        a: Loc,
    },
    Select {
        d: Loc,
        c: Loc,
        a: Loc,
        b: Loc,
    },

    // Several words.
    Copy {
        d: Loc,
        s: Loc,
        words: u32,
    },
    Wide(u32),

    // Flow within an action, a parser state or a control.
    Jump(Pc),
    JumpIfZero {
        c: Loc,
        to: Pc,
    },
    JumpUnlessZero {
        c: Loc,
        to: Pc,
    },
    JumpIfEqual {
        a: Loc,
        b: Loc,
        to: Pc,
    },
    JumpUnlessEqual {
        a: Loc,
        b: Loc,
        to: Pc,
    },
    /// End of an action.
    Return,
    /// End of a control or the parser.
    Stop,
    Exit,
    Assert {
        c: Loc,
    },
    Apply(u32),

    // Headers.
    AddHeader(u32),
    RemoveHeader(u32),
    AssignHeader {
        d: u32,
        s: u32,
    },
    CopyStackNext {
        d: u32,
        s: u32,
    },
    Push {
        stack: u32,
        n: u32,
    },
    Pop {
        stack: u32,
        n: u32,
    },
    /// Words of element `i` of a stack; zero beyond its end.
    StackLoad {
        d: Loc,
        i: Loc,
        field: u32,
    },
    /// The same, written; nothing beyond its end.
    StackStore {
        s: Loc,
        i: Loc,
        field: u32,
    },
    /// Index of the last element of a stack.
    LastIndex {
        d: Loc,
        stack: u32,
    },
    AssignVarbit {
        d: u32,
        s: u32,
    },
    /// Whether the varbits of two headers are equal: in length and in bits.
    VarbitEqual {
        d: Loc,
        a: u32,
        b: u32,
    },

    // Parser.
    Extract(u32),
    ExtractVarbit {
        header: u32,
        bits: Loc,
    },
    ExtractNext(u32),
    ExtractNextVarbit {
        stack: u32,
        bits: Loc,
    },
    /// `bits` in word `bits`, which must be a multiple of 8.
    Advance {
        bits: Loc,
    },
    Lookahead {
        d: Loc,
        offset: u32,
        bits: u32,
    },
    Verify {
        c: Loc,
        error: Loc,
    },
    Transition(u32),

    // v1model externs.
    MarkToDrop,
    Count {
        array: u32,
        index: Loc,
    },
    ExecuteMeter {
        d: Loc,
        array: u32,
        index: Loc,
    },
    RegisterRead {
        d: Loc,
        array: u32,
        index: Loc,
    },
    RegisterWrite {
        array: u32,
        index: Loc,
        s: Loc,
    },
    Random {
        d: Loc,
        lo: Loc,
        hi: Loc,
    },
    Hash {
        d: Loc,
        base: Loc,
        max: Loc,
        calculation: u32,
    },
    Digest {
        list: u32,
    },
    Clone {
        session: Loc,
        list: u32,
    },
    Resubmit {
        list: u32,
    },
    Recirculate {
        list: u32,
    },
    Truncate {
        length: Loc,
    },

    /// Tells a note; only in programs that are loaded for tracing.
    Trace(u32),
}

impl Op {
    /// Where a jump goes.
    pub(crate) fn target(&mut self) -> Option<&mut Pc> {
        match self {
            Op::Jump(to)
            | Op::JumpIfZero { to, .. }
            | Op::JumpUnlessZero { to, .. }
            | Op::JumpIfEqual { to, .. }
            | Op::JumpUnlessEqual { to, .. } => Some(to),
            _ => None,
        }
    }
}

/// Operations on values of any width, in two's complement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WideKind {
    And,
    Or,
    Xor,
    Add,
    Sub,
    Mul,
    /// Towards zero; by zero it gives zero.
    Div,
    /// With the sign of `a`.
    Mod,
    Not,
    /// `b` is one word.
    Shl,
    /// Arithmetic when `a` is signed. `b` is one word.
    Shr,
    /// The destination is one word: 0 or 1.
    Eq,
    Lt,
    Le,
    /// The low `b` bits (an immediate in `b.loc`), zero-extended.
    Zext,
    /// The low `b` bits (an immediate in `b.loc`), sign-extended.
    Sext,
    /// `a` limited to unsigned `b` bits (an immediate in `b.loc`).
    ClampU,
    /// `a` limited to signed `b` bits (an immediate in `b.loc`).
    ClampS,
    /// `a` if word `c` is 1, else `b`.
    Select,
}

/// A source of a wide operation: extended by its sign or by zeros to the width of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WideSource {
    pub(crate) span: Span,
    pub(crate) signed: bool,
}

/// A wide operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WideOp {
    pub(crate) kind: WideKind,
    pub(crate) d: Span,
    pub(crate) a: WideSource,
    pub(crate) b: WideSource,
    pub(crate) c: Loc,
}

/// The most words a wide operation works on.
pub(crate) const MAX_WIDE_WORDS: usize = 66;

/// A field of a header or a metadata struct.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) signed: bool,
    pub(crate) varbit: bool,
    pub(crate) span: Span,
    /// Offset in the header, in bits, not counting a varbit before it.
    pub(crate) bit_offset: u32,
}

/// A header, or a metadata struct (always valid).
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) metadata: bool,
    pub(crate) valid: Loc,
    /// The validity word (of headers) and all fields.
    pub(crate) span: Span,
    pub(crate) fields: Vec<Field>,
    /// Bytes on the wire, not counting a varbit.
    pub(crate) bytes: u32,
    pub(crate) varbit: Option<Varbit>,
    /// The header union it is a member of: the other members.
    pub(crate) union_siblings: Vec<u32>,
    /// Position in its stack, for the stride of indexed access.
    pub(crate) stack: Option<(u32, u32)>,
}

/// The varbit of a header. Its first word is its length in bits, the bytes follow, eight a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Varbit {
    pub(crate) field: u32,
    pub(crate) loc: Loc,
    pub(crate) max_bytes: u32,
    /// Bytes of the header before it.
    pub(crate) before: u32,
}

/// A header stack: its elements lie one behind the other in the PHV.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) headers: Vec<u32>,
    pub(crate) next: Loc,
    pub(crate) stride: u32,
}

/// A field of a stack's elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StackField {
    pub(crate) first: Loc,
    pub(crate) stride: u32,
    pub(crate) count: u32,
    pub(crate) words: u32,
}

/// A part of a transition key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyPart {
    Words(Span),
    Lookahead { offset: u32, bits: u32 },
}

impl KeyPart {
    pub(crate) fn words(self) -> u32 {
        match self {
            KeyPart::Words(span) => span.words,
            KeyPart::Lookahead { bits, .. } => bits.div_ceil(64),
        }
    }
}

/// What a transition compares its key with.
#[derive(Debug, Clone)]
pub(crate) enum Case {
    /// One word: `key & mask == value`.
    Word { value: u64, mask: u64 },
    /// Several words.
    Words { value: Box<[u64]>, mask: Box<[u64]> },
    /// A member of a value set.
    ValueSet { set: u32, mask: Option<Box<[u64]>> },
}

/// A `transition select`.
#[derive(Debug, Clone)]
pub(crate) struct Transition {
    pub(crate) key: Vec<KeyPart>,
    pub(crate) words: u32,
    pub(crate) cases: Vec<(Case, Pc)>,
    pub(crate) default: Pc,
}

/// A parser value set.
#[derive(Debug, Clone)]
pub(crate) struct ValueSet {
    /// Widths of the parts of the key, from the state that uses it.
    pub(crate) parts: Vec<u32>,
}

/// A key of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableKey {
    pub(crate) span: Span,
    /// Read as 0 while this word is 0.
    pub(crate) valid: Loc,
    pub(crate) mask: Option<Box<[u64]>>,
}

/// How a table finds its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// No key: always the default action.
    Keyless,
    Exact,
    /// The key with this index is the prefix.
    Lpm(u32),
    /// Ternary, range or optional: by priority.
    Ternary,
}

/// An action bound to data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) action: u32,
    pub(crate) args: Box<[u64]>,
}

/// A const entry, with its P4Runtime priority.
#[derive(Debug, Clone)]
pub(crate) struct ConstEntry {
    pub(crate) key: crate::control::EntryKey,
    pub(crate) call: Call,
}

/// A direct meter of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectMeter {
    pub(crate) bytes: bool,
    /// Where the colour goes, and its width.
    pub(crate) target: Loc,
    pub(crate) width: u32,
}

/// Where a control goes on after a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Next {
    /// For each action of the program that this table may run.
    pub(crate) by_action: Vec<(u32, Pc)>,
    pub(crate) hit: Option<Pc>,
    pub(crate) miss: Option<Pc>,
    pub(crate) default: Pc,
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) kind: TableKind,
    pub(crate) keys: Vec<TableKey>,
    pub(crate) key_words: u32,
    pub(crate) actions: Vec<u32>,
    pub(crate) default: Option<Call>,
    pub(crate) entries: Vec<ConstEntry>,
    pub(crate) counter: bool,
    pub(crate) meter: Option<DirectMeter>,
    pub(crate) ageing: bool,
    pub(crate) profile: Option<u32>,
    pub(crate) next: Next,
}

/// An action.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) start: Pc,
    pub(crate) args: Vec<Span>,
}

/// An action profile or selector.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// The hash of an action selector.
    pub(crate) selector: Option<u32>,
    /// The actions that its tables have.
    pub(crate) actions: Vec<u32>,
}

/// Hash algorithms of simple_switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Csum16,
    Crc16,
    Crc32,
    CrcCcitt,
    Identity,
    Xor16,
    Xor32,
    /// CRC-8: polynomial 0x07.
    Crc8,
    /// simple_switch's `crc64_custom` as it begins: polynomial 0x1B, reflected.
    Crc64,
    Xxh64,
    /// With the key simple_switch begins with, which is zero: every hash is 0.
    Toeplitz,
    /// Counts its calls.
    RoundRobin,
}

/// One input of a calculation.
#[derive(Debug, Clone)]
pub(crate) enum CalculationInput {
    /// A field, skipped while its header is invalid.
    Field {
        span: Span,
        width: u32,
        valid: Loc,
    },
    /// A varbit field.
    Varbit {
        loc: Loc,
        valid: Loc,
    },
    Constant {
        words: Box<[u64]>,
        width: u32,
    },
    Header(u32),
}

/// A hash or checksum over fields.
#[derive(Debug, Clone)]
pub(crate) struct Calculation {
    pub(crate) algorithm: Algorithm,
    pub(crate) inputs: Vec<CalculationInput>,
    pub(crate) payload: bool,
    /// Calls so far, for [`Algorithm::RoundRobin`]. A program that is loaded again goes on.
    pub(crate) calls: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

/// A checksum that is verified after parsing or updated before deparsing.
#[derive(Debug, Clone)]
pub(crate) struct Checksum {
    pub(crate) calculation: u32,
    pub(crate) target: Loc,
    pub(crate) width: u32,
    /// Validity of the target's header.
    pub(crate) valid: Loc,
    /// The condition is false unless these two words are equal.
    pub(crate) guard: Option<(Loc, Loc)>,
    /// Code that returns if the condition is true and exits if it is not.
    pub(crate) condition: Option<Pc>,
    pub(crate) verify: bool,
    pub(crate) update: bool,
}

/// The fields that a clone, resubmit or recirculate keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldList {
    pub(crate) spans: Vec<Span>,
}

/// A digest: words and widths of its fields.
#[derive(Debug, Clone)]
pub(crate) struct Digest {
    pub(crate) fields: Vec<(Span, u32)>,
    pub(crate) words: u32,
}

/// Intrinsic metadata. A field that the program lacks is `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intrinsic {
    pub(crate) ingress_port: Option<(Loc, u32)>,
    pub(crate) egress_spec: Option<(Loc, u32)>,
    pub(crate) egress_port: Option<(Loc, u32)>,
    pub(crate) instance_type: Option<(Loc, u32)>,
    pub(crate) packet_length: Option<(Loc, u32)>,
    pub(crate) ingress_global_timestamp: Option<(Loc, u32)>,
    pub(crate) egress_global_timestamp: Option<(Loc, u32)>,
    pub(crate) enq_timestamp: Option<(Loc, u32)>,
    pub(crate) mcast_grp: Option<(Loc, u32)>,
    pub(crate) egress_rid: Option<(Loc, u32)>,
    pub(crate) checksum_error: Option<(Loc, u32)>,
    pub(crate) parser_error: Option<(Loc, u32)>,
}

/// The values that the program gives to the errors of core.p4.
#[derive(Debug, Clone, Default)]
pub(crate) struct Errors {
    pub(crate) no_error: u64,
    pub(crate) packet_too_short: u64,
    pub(crate) stack_out_of_bounds: u64,
    pub(crate) header_too_short: u64,
    pub(crate) parser_timeout: u64,
    pub(crate) parser_invalid_argument: u64,
}

/// A meter array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeterArray {
    pub(crate) bytes: bool,
}

/// A register array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegisterArray {
    pub(crate) width: u32,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) phv_words: u32,
    /// Words from 1 up to this are reset for every packet.
    pub(crate) reset_words: u32,
    /// The metadata among them.
    pub(crate) metadata: std::ops::Range<u32>,
    pub(crate) arguments: Loc,
    pub(crate) constants_start: Loc,
    pub(crate) constants: Vec<u64>,
    pub(crate) code: Vec<Op>,
    pub(crate) wide: Vec<WideOp>,
    pub(crate) headers: Vec<Header>,
    pub(crate) stacks: Vec<Stack>,
    pub(crate) stack_fields: Vec<StackField>,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) value_sets: Vec<ValueSet>,
    pub(crate) tables: Vec<Table>,
    pub(crate) actions: Vec<Action>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) calculations: Vec<Calculation>,
    pub(crate) checksums: Vec<Checksum>,
    pub(crate) field_lists: Vec<FieldList>,
    pub(crate) digests: Vec<Digest>,
    pub(crate) meters: Vec<MeterArray>,
    pub(crate) registers: Vec<RegisterArray>,
    pub(crate) deparse_order: Vec<u32>,
    pub(crate) parser: Pc,
    pub(crate) ingress: Pc,
    pub(crate) egress: Pc,
    /// Statements of the deparser, which run before it serialises.
    pub(crate) deparser: Option<Pc>,
    pub(crate) intrinsic: Intrinsic,
    pub(crate) errors: Errors,
    /// Notes, if it is loaded for tracing.
    pub(crate) trace: Option<Box<Notes>>,
    pub(crate) derived: Derived,
}
