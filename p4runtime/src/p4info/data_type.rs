//! Types of digests and registers, resolved, and their values (P4Runtime specification,
//! "Representation of Arbitrary P4 Types").

use super::EntityError;
use crate::bytes::Bitstring;
use crate::config::p4_bitstring_like_type_spec::TypeSpec as BitsSpec;
use crate::config::p4_data_type_spec::TypeSpec;
use crate::config::p4_new_type_spec::Representation;
use crate::config::p4_new_type_translation::SdnType;
use crate::config::{P4BitstringLikeTypeSpec, P4DataTypeSpec, P4TypeInfo};
use crate::v1::p4_data::Data;
use crate::v1::{P4Data, P4StructLike};

/// Types nest no deeper than this; a P4Info that claims more refers to itself.
const MAX_DEPTH: usize = 32;

/// A P4 type with its named types resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataType {
    /// `bit<W>`.
    Bit(u32),
    /// `int<W>`.
    Int(u32),
    /// `bool`.
    Bool,
    /// An enum with an underlying `bit<W>`.
    SerializableEnum(u32),
    /// A translated type that the controller sees as a string.
    SdnString,
    /// A struct: names and types of its members.
    Struct(Vec<(String, DataType)>),
    /// A tuple.
    Tuple(Vec<DataType>),
    /// A type whose values this crate leaves as they are: what it is, for messages.
    Unsupported(String),
}

/// One value within a [`DataType`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Member names joined by dots (`"0"`, `"1"` … in a tuple); empty for a type without members.
    pub name: String,
    /// In bits; 0 for an SDN string and for a type that is not supported.
    pub bitwidth: u32,
}

impl DataType {
    pub(super) fn resolve(spec: Option<&P4DataTypeSpec>, types: &P4TypeInfo) -> Self {
        Self::resolve_at(spec, types, 0)
    }

    fn resolve_at(spec: Option<&P4DataTypeSpec>, types: &P4TypeInfo, depth: usize) -> Self {
        if depth > MAX_DEPTH {
            return Self::Unsupported("a type nested too deeply".into());
        }
        let unknown = |name: &str| Self::Unsupported(format!("the unknown type {name}"));
        let resolve = |spec: Option<&P4DataTypeSpec>| Self::resolve_at(spec, types, depth + 1);
        match spec.and_then(|spec| spec.type_spec.as_ref()) {
            Some(TypeSpec::Bitstring(bits)) => Self::of_bits(bits),
            Some(TypeSpec::Bool(_)) => Self::Bool,
            Some(TypeSpec::Tuple(tuple)) => Self::Tuple(
                tuple
                    .members
                    .iter()
                    .map(|member| resolve(Some(member)))
                    .collect(),
            ),
            Some(TypeSpec::Struct(named)) => match types.structs.get(&named.name) {
                Some(found) => Self::Struct(
                    found
                        .members
                        .iter()
                        .map(|member| (member.name.clone(), resolve(member.type_spec.as_ref())))
                        .collect(),
                ),
                None => unknown(&named.name),
            },
            Some(TypeSpec::SerializableEnum(named)) => types
                .serializable_enums
                .get(&named.name)
                .and_then(|found| found.underlying_type.as_ref())
                .and_then(|bits| u32::try_from(bits.bitwidth).ok())
                .map_or_else(|| unknown(&named.name), Self::SerializableEnum),
            Some(TypeSpec::NewType(named)) => {
                match types
                    .new_types
                    .get(&named.name)
                    .and_then(|t| t.representation.as_ref())
                {
                    Some(Representation::OriginalType(original)) => resolve(Some(original)),
                    Some(Representation::TranslatedType(translated)) => match translated.sdn_type {
                        Some(SdnType::SdnBitwidth(bits)) => {
                            u32::try_from(bits).map_or_else(|_| unknown(&named.name), Self::Bit)
                        }
                        Some(SdnType::SdnString(_)) => Self::SdnString,
                        None => unknown(&named.name),
                    },
                    None => unknown(&named.name),
                }
            }
            Some(TypeSpec::Header(named)) => Self::Unsupported(format!("header {}", named.name)),
            Some(TypeSpec::HeaderUnion(named)) => {
                Self::Unsupported(format!("header_union {}", named.name))
            }
            Some(TypeSpec::HeaderStack(_)) => Self::Unsupported("header stack".into()),
            Some(TypeSpec::HeaderUnionStack(_)) => Self::Unsupported("header_union stack".into()),
            Some(TypeSpec::Enum(named)) => Self::Unsupported(format!("enum {}", named.name)),
            Some(TypeSpec::Error(_)) => Self::Unsupported("error".into()),
            None => Self::Unsupported("no type at all".into()),
        }
    }

    fn of_bits(bits: &P4BitstringLikeTypeSpec) -> Self {
        let (make, width): (fn(u32) -> Self, i32) = match &bits.type_spec {
            Some(BitsSpec::Bit(bit)) => (Self::Bit, bit.bitwidth),
            Some(BitsSpec::Int(int)) => (Self::Int, int.bitwidth),
            Some(BitsSpec::Varbit(_)) => return Self::Unsupported("varbit".into()),
            None => return Self::Unsupported("a bitstring of no type".into()),
        };
        match u32::try_from(width) {
            Ok(width) => make(width),
            Err(_) => Self::Unsupported(format!("a bitstring of {width} bits")),
        }
    }

    /// Every value within the type, in order, nested structs and tuples laid flat.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.collect(String::new(), &mut leaves);
        leaves
    }

    fn collect(&self, name: String, leaves: &mut Vec<Leaf>) {
        let below = |member: &str| match name.as_str() {
            "" => member.to_owned(),
            name => format!("{name}.{member}"),
        };
        let bitwidth = match self {
            Self::Struct(members) => {
                return members
                    .iter()
                    .for_each(|(n, member)| member.collect(below(n), leaves));
            }
            Self::Tuple(members) => {
                return members
                    .iter()
                    .enumerate()
                    .for_each(|(n, member)| member.collect(below(&n.to_string()), leaves));
            }
            Self::Bit(bits) | Self::Int(bits) | Self::SerializableEnum(bits) => *bits,
            Self::Bool => 1,
            Self::SdnString | Self::Unsupported(_) => 0,
        };
        leaves.push(Leaf { name, bitwidth });
    }

    /// Reads a value of this type: its leaves in the order of [`DataType::leaves`].
    ///
    /// # Errors
    /// [`EntityError::Shape`] when the value is of another type, [`EntityError::Value`] when a
    /// number does not fit.
    pub fn decode(&self, data: &P4Data) -> Result<Vec<Bitstring>, EntityError> {
        let mut values = Vec::new();
        self.read("", data, &mut values)?;
        Ok(values)
    }

    fn read(&self, at: &str, data: &P4Data, out: &mut Vec<Bitstring>) -> Result<(), EntityError> {
        let value_error = |source| EntityError::Value {
            field: at.to_owned(),
            source,
        };
        let shape_error = || EntityError::Shape {
            field: at.to_owned(),
            expected: self.to_string(),
        };
        match (self, &data.data) {
            (Self::Bit(bits), Some(Data::Bitstring(bytes)))
            | (Self::SerializableEnum(bits), Some(Data::EnumValue(bytes))) => {
                out.push(Bitstring::parse(bytes, *bits).map_err(value_error)?);
            }
            (Self::Int(_) | Self::SdnString, Some(Data::Bitstring(bytes))) => {
                out.push(Bitstring::raw(bytes.clone()));
            }
            (Self::Bool, Some(Data::Bool(value))) => out.push((*value).into()),
            (Self::Struct(members), Some(Data::Struct(value)))
                if members.len() == value.members.len() =>
            {
                for ((name, member), value) in members.iter().zip(&value.members) {
                    member.read(name, value, out)?;
                }
            }
            (Self::Tuple(members), Some(Data::Tuple(value)))
                if members.len() == value.members.len() =>
            {
                for (member, value) in members.iter().zip(&value.members) {
                    member.read(at, value, out)?;
                }
            }
            _ => return Err(shape_error()),
        }
        Ok(())
    }

    /// Makes a value of this type from its leaves in the order of [`DataType::leaves`].
    ///
    /// # Errors
    /// [`EntityError::Shape`] for a type that is not supported or another number of values,
    /// [`EntityError::Value`] when a number does not fit.
    pub fn encode(&self, values: &[Bitstring]) -> Result<P4Data, EntityError> {
        let mut rest = values.iter();
        let data = self.write("", &mut rest)?;
        match rest.next() {
            None => Ok(data),
            Some(_) => Err(EntityError::Shape {
                field: String::new(),
                expected: self.to_string(),
            }),
        }
    }

    fn write(
        &self,
        at: &str,
        values: &mut std::slice::Iter<'_, Bitstring>,
    ) -> Result<P4Data, EntityError> {
        let data = match self {
            Self::Struct(members) => {
                let members = members
                    .iter()
                    .map(|(name, member)| member.write(name, values))
                    .collect::<Result<_, _>>()?;
                Data::Struct(P4StructLike { members })
            }
            Self::Tuple(members) => {
                let members = members
                    .iter()
                    .map(|member| member.write(at, values))
                    .collect::<Result<_, _>>()?;
                Data::Tuple(P4StructLike { members })
            }
            leaf => {
                let shape_error = || EntityError::Shape {
                    field: at.to_owned(),
                    expected: leaf.to_string(),
                };
                let value = values.next().ok_or_else(shape_error)?.clone();
                let fit = |value: Bitstring, bits| {
                    value.fit(bits).map_err(|source| EntityError::Value {
                        field: at.to_owned(),
                        source,
                    })
                };
                match leaf {
                    Self::Bit(bits) => Data::Bitstring(fit(value, *bits)?.into_bytes()),
                    Self::SerializableEnum(bits) => {
                        Data::EnumValue(fit(value, *bits)?.into_bytes())
                    }
                    Self::Bool => Data::Bool(!fit(value, 1)?.is_zero()),
                    Self::Int(_) | Self::SdnString => Data::Bitstring(value.into_bytes()),
                    Self::Struct(_) | Self::Tuple(_) | Self::Unsupported(_) => {
                        return Err(shape_error());
                    }
                }
            }
        };
        Ok(P4Data { data: Some(data) })
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bit(bits) => write!(f, "bit<{bits}>"),
            Self::Int(bits) => write!(f, "int<{bits}>"),
            Self::Bool => f.write_str("bool"),
            Self::SerializableEnum(bits) => write!(f, "enum bit<{bits}>"),
            Self::SdnString => f.write_str("string"),
            Self::Struct(members) => write!(f, "struct of {} members", members.len()),
            Self::Tuple(members) => write!(f, "tuple of {} members", members.len()),
            Self::Unsupported(what) => write!(f, "{what}, which is not supported"),
        }
    }
}
