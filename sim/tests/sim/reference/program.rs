//! The declarations of a document, by name.

use std::collections::BTreeMap;
use std::rc::Rc;

use num_bigint::{BigInt, BigUint};
use serde_json::Value;

/// A field of a header type.
#[derive(Debug)]
pub struct Field {
    pub name: String,
    /// In bits; `None` for a varbit.
    pub width: Option<u32>,
    pub signed: bool,
}

/// A header type.
#[derive(Debug)]
pub struct HeaderType {
    pub fields: Vec<Field>,
    /// The longest a header with a varbit may be, in bytes.
    pub max_bytes: Option<u64>,
}

impl HeaderType {
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Bits of the fields whose width is fixed.
    pub fn fixed_bits(&self) -> u32 {
        self.fields.iter().filter_map(|field| field.width).sum()
    }
}

/// A header or metadata instance.
#[derive(Debug)]
pub struct HeaderInstance {
    pub kind: Rc<HeaderType>,
    pub metadata: bool,
    /// The union it is a member of.
    pub union: Option<String>,
}

/// A document with its declarations found.
pub struct Program {
    pub document: Value,
    pub headers: BTreeMap<String, HeaderInstance>,
    /// Headers by stack.
    pub stacks: BTreeMap<String, Vec<String>>,
    /// Headers by union.
    pub unions: BTreeMap<String, Vec<String>>,
    /// Names of the members, by union.
    pub union_members: BTreeMap<String, Vec<String>>,
    /// Unions by stack.
    pub union_stacks: BTreeMap<String, Vec<String>>,
    /// Actions by id.
    pub actions: BTreeMap<u64, Value>,
    /// Error numbers by name.
    pub errors: BTreeMap<String, u32>,
    /// What BMv2 calls a field, and what the program calls it.
    aliases: BTreeMap<String, (String, String)>,
}

pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A `hexstr`, which may be negative.
pub fn hex(value: &Value) -> BigInt {
    let digits = value.as_str().unwrap_or("0");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let number = BigInt::parse_bytes(digits.as_bytes(), 16).unwrap_or_default();
    if negative { -number } else { number }
}

/// A `hexstr` that must not be negative.
pub fn hex_unsigned(value: &Value) -> BigUint {
    hex(value).to_biguint().unwrap_or_default()
}

/// One thing of a list, by its name.
pub fn named<'a>(items: &'a [Value], name: &str) -> Option<&'a Value> {
    items.iter().find(|item| item["name"] == name)
}

impl Program {
    pub fn new(document: Value) -> Program {
        let mut types = BTreeMap::new();
        for header_type in list(&document, "header_types") {
            let fields = header_type["fields"].as_array().into_iter().flatten();
            let fields = fields.map(|field| Field {
                name: text(&field[0]),
                width: field[1].as_u64().map(|width| width as u32),
                signed: field[2] == true,
            });
            let kind = HeaderType {
                fields: fields.collect(),
                max_bytes: header_type["max_length"].as_u64(),
            };
            types.insert(text(&header_type["name"]), Rc::new(kind));
        }
        let mut headers = BTreeMap::new();
        let mut header_ids = BTreeMap::new();
        for header in list(&document, "headers") {
            let name = text(&header["name"]);
            header_ids.insert(header["id"].as_u64(), name.clone());
            let instance = HeaderInstance {
                kind: types[&text(&header["header_type"])].clone(),
                metadata: header["metadata"] == true,
                union: None,
            };
            headers.insert(name, instance);
        }
        let names = |ids: &Value, of: &BTreeMap<Option<u64>, String>| -> Vec<String> {
            let ids = ids.as_array().into_iter().flatten();
            ids.map(|id| of[&id.as_u64()].clone()).collect()
        };
        let mut stacks = BTreeMap::new();
        for stack in list(&document, "header_stacks") {
            stacks.insert(
                text(&stack["name"]),
                names(&stack["header_ids"], &header_ids),
            );
        }
        let (mut unions, mut union_members) = (BTreeMap::new(), BTreeMap::new());
        let mut union_ids = BTreeMap::new();
        for union in list(&document, "header_unions") {
            let name = text(&union["name"]);
            union_ids.insert(union["id"].as_u64(), name.clone());
            let members = names(&union["header_ids"], &header_ids);
            for member in &members {
                headers.get_mut(member).expect("a header").union = Some(name.clone());
            }
            let types = list(&document, "header_union_types");
            let kind = named(types, &text(&union["union_type"])).expect("its type");
            let member_names = list(kind, "headers").iter().map(|member| text(&member[0]));
            union_members.insert(name.clone(), member_names.collect());
            unions.insert(name, members);
        }
        let mut union_stacks = BTreeMap::new();
        for stack in list(&document, "header_union_stacks") {
            let unions = names(&stack["header_union_ids"], &union_ids);
            union_stacks.insert(text(&stack["name"]), unions);
        }
        let mut actions = BTreeMap::new();
        for action in list(&document, "actions") {
            actions.insert(action["id"].as_u64().expect("an id"), action.clone());
        }
        let errors = list(&document, "errors").iter();
        let errors = errors.map(|error| (text(&error[0]), error[1].as_u64().unwrap_or(0) as u32));
        let aliases = list(&document, "field_aliases").iter();
        let aliases =
            aliases.map(|alias| (text(&alias[0]), (text(&alias[1][0]), text(&alias[1][1]))));
        Program {
            headers,
            stacks,
            unions,
            union_members,
            union_stacks,
            actions,
            errors: errors.collect(),
            aliases: aliases.collect(),
            document,
        }
    }

    /// The field that BMv2 knows under this name, if the program has it.
    pub fn intrinsic(&self, header: &str, field: &str) -> Option<(String, String)> {
        let alias = self.aliases.get(&format!("{header}.{field}"));
        let place = alias
            .cloned()
            .unwrap_or((header.to_owned(), field.to_owned()));
        let instance = self.headers.get(&place.0)?;
        instance.kind.field(&place.1)?;
        Some(place)
    }

    /// Every table with its pipeline.
    pub fn tables(&self) -> impl Iterator<Item = &Value> {
        list(&self.document, "pipelines")
            .iter()
            .flat_map(|pipeline| list(pipeline, "tables"))
    }

    /// The width of a table key in bits.
    pub fn key_width(&self, key: &Value) -> u32 {
        if key["match_type"] == "valid" || key["target"][1] == "$valid$" {
            return 1;
        }
        self.field_width(&key["target"])
    }

    /// The width of the field that a 2-tuple names.
    pub fn field_width(&self, pair: &Value) -> u32 {
        if pair[1] == "$valid$" {
            return 1;
        }
        let kind = &self.headers[&text(&pair[0])].kind;
        let field = kind.field(&text(&pair[1])).expect("a field");
        kind.fields[field].width.unwrap_or(0)
    }
}
