//! Reading a JSON document with errors that say where.

use std::fmt;

use serde_json::Value;

/// Why a BMv2 JSON document cannot be run: where, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("BMv2 JSON, {path}: {reason}")]
pub struct LoadError {
    /// Where in the document, e.g. `pipelines[0].tables[3].key[1].match_type`.
    pub path: String,
    /// What is wrong there, and what would be right.
    pub reason: String,
}

/// A value of the document that knows where it stands.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(crate) value: &'a Value,
    path: Path,
}

/// A path, shared by the values below it.
#[derive(Clone, Default)]
struct Path(Option<std::rc::Rc<PathStep>>);

struct PathStep {
    up: Path,
    step: StepName,
}

enum StepName {
    Key(String),
    Index(usize),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.0 else { return Ok(()) };
        step.up.fmt(f)?;
        match &step.step {
            StepName::Key(key) if step.up.0.is_none() => write!(f, "{key}"),
            StepName::Key(key) => write!(f, ".{key}"),
            StepName::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl<'a> At<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        At {
            value,
            path: Path::default(),
        }
    }

    fn below(&self, value: &'a Value, step: StepName) -> At<'a> {
        let path = Path(Some(std::rc::Rc::new(PathStep {
            up: self.path.clone(),
            step,
        })));
        At { value, path }
    }

    /// An error at this place.
    pub(crate) fn error(&self, reason: impl Into<String>) -> LoadError {
        let mut path = self.path.to_string();
        if path.is_empty() {
            path = "the document".to_owned();
        }
        LoadError {
            path,
            reason: reason.into(),
        }
    }

    fn expected<T>(&self, what: &str) -> Result<T, LoadError> {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "a boolean".to_owned(),
            Value::Number(n) => format!("the number {n}"),
            Value::String(s) => format!("the string {:?}", s.chars().take(60).collect::<String>()),
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        Err(self.error(format!("expected {what}, found {found}")))
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// The member `key`; an error if there is none.
    pub(crate) fn get(&self, key: &str) -> Result<At<'a>, LoadError> {
        match self.value {
            Value::Object(map) => match map.get(key) {
                Some(value) => Ok(self.below(value, StepName::Key(key.to_owned()))),
                None => Err(self.error(format!("`{key}` is missing"))),
            },
            _ => self.expected("an object"),
        }
    }

    /// The member `key`, if it is there and not null.
    pub(crate) fn opt(&self, key: &str) -> Result<Option<At<'a>>, LoadError> {
        match self.value {
            Value::Object(map) => Ok(map
                .get(key)
                .filter(|value| !value.is_null())
                .map(|value| self.below(value, StepName::Key(key.to_owned())))),
            _ => self.expected("an object"),
        }
    }

    /// The elements of an array.
    pub(crate) fn items(&self) -> Result<Vec<At<'a>>, LoadError> {
        match self.value {
            Value::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(i, value)| self.below(value, StepName::Index(i)))
                .collect()),
            _ => self.expected("an array"),
        }
    }

    /// The elements of the array `key`; none if it is missing.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<At<'a>>, LoadError> {
        match self.opt(key)? {
            Some(list) => list.items(),
            None => Ok(Vec::new()),
        }
    }

    /// Exactly `N` elements.
    pub(crate) fn tuple<const N: usize>(&self) -> Result<[At<'a>; N], LoadError> {
        let items = self.items()?;
        let found = items.len();
        items
            .try_into()
            .map_err(|_| self.error(format!("expected {N} elements, found {found}")))
    }

    /// Members of an object.
    pub(crate) fn members(&self) -> Result<Vec<(&'a str, At<'a>)>, LoadError> {
        match self.value {
            Value::Object(map) => Ok(map
                .iter()
                .map(|(key, value)| (key.as_str(), self.below(value, StepName::Key(key.clone()))))
                .collect()),
            _ => self.expected("an object"),
        }
    }

    pub(crate) fn str(&self) -> Result<&'a str, LoadError> {
        match self.value {
            Value::String(s) => Ok(s),
            _ => self.expected("a string"),
        }
    }

    pub(crate) fn bool(&self) -> Result<bool, LoadError> {
        match self.value {
            Value::Bool(b) => Ok(*b),
            _ => self.expected("true or false"),
        }
    }

    /// A number from 0 to `max`.
    pub(crate) fn number(&self, max: u64) -> Result<u64, LoadError> {
        match self.value.as_u64() {
            Some(n) if n <= max => Ok(n),
            _ => self.expected(&format!("a number from 0 to {max}")),
        }
    }

    /// An id: any integer that fits 32 bits.
    pub(crate) fn id(&self) -> Result<u32, LoadError> {
        // The bound makes the cast exact.
        Ok(self.number(u64::from(u32::MAX))? as u32)
    }

    /// A string member.
    pub(crate) fn text(&self, key: &str) -> Result<&'a str, LoadError> {
        self.get(key)?.str()
    }

    /// A boolean member; `default` if it is missing.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, LoadError> {
        self.opt(key)?.map_or(Ok(default), |flag| flag.bool())
    }

    /// A hexadecimal string (`0x0aba03`, possibly with a minus sign): sign and magnitude, words
    /// least significant first, without leading zero words.
    pub(crate) fn hex(&self) -> Result<(bool, Vec<u64>), LoadError> {
        let text = self.str()?;
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        if digits.is_empty() || digits.len() > 4096 {
            return self.expected("a hexadecimal string");
        }
        let mut words = Vec::with_capacity(digits.len() / 16 + 1);
        for chunk in digits.as_bytes().rchunks(16) {
            let mut word = 0;
            for &digit in chunk {
                let Some(value) = (digit as char).to_digit(16) else {
                    return self.expected("a hexadecimal string");
                };
                word = word << 4 | u64::from(value);
            }
            words.push(word);
        }
        while words.last() == Some(&0) {
            words.pop();
        }
        Ok((negative && !words.is_empty(), words))
    }

    /// A non-negative hexadecimal string of at most `bits` bits, in ⌈bits/64⌉ words.
    pub(crate) fn hex_words(&self, bits: u32) -> Result<Vec<u64>, LoadError> {
        let (negative, mut words) = self.hex()?;
        if negative || bit_length(&words) > u64::from(bits) {
            return self.expected(&format!("a value of at most {bits} bits"));
        }
        words.resize(bits.div_ceil(64).max(1) as usize, 0);
        Ok(words)
    }
}

/// How many bits a magnitude has.
pub(crate) fn bit_length(words: &[u64]) -> u64 {
    words
        .iter()
        .enumerate()
        .rev()
        .find(|(_, word)| **word != 0)
        .map_or(0, |(i, word)| {
            i as u64 * 64 + 64 - u64::from(word.leading_zeros())
        })
}
