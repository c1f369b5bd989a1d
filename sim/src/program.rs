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

mod calculation;
mod encode;
mod finish;
mod fuse;
mod header;
mod inst;
mod layout;
mod op;
pub(crate) mod sum;
mod table;
mod trace;
mod transition;

pub(crate) use calculation::{Algorithm, Calculation, CalculationInput, Checksum};
pub(crate) use finish::Derived;
pub(crate) use header::{Field, Header, Stack, StackField, Varbit};
pub(crate) use inst::{Ahead, Inst, PHV_WORDS, Switch};
pub(crate) use op::{MAX_WIDE_WORDS, Op, WideKind, WideOp, WideSource};
pub(crate) use table::{
    Action, Call, ConstEntry, DirectMeter, Next, Profile, Table, TableKey, TableKind,
};
pub(crate) use trace::{Note, Notes};
pub(crate) use transition::{Case, KeyPart, Transition, ValueSet};

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
