//! Telling what a packet meets.

use std::fmt::Write;

use super::interpreter::Machine;
use crate::control::{ActionInfo, EntryKey, MatchValue};
use crate::program::{Algorithm, Call, Note, Notes, Program, Span};
use crate::tables::{EntryAction, Found};

/// Takes the lines of a trace.
pub(crate) type Sink<'a> = dyn Fn(&str) + 'a;

/// A value in hexadecimal digits.
fn hex(words: &[u64], width: u32) -> String {
    let mut text = String::from("0x");
    let digits = (width.div_ceil(4) as usize).max(1);
    for i in (0..digits).rev() {
        let word = words.get(i / 16).copied().unwrap_or(0);
        let mut digit = word >> (i % 16 * 4) & 0xf;
        // An `int<w>` is sign-extended in its word.
        let bits = width as usize - i * 4;
        if bits < 4 {
            digit &= (1 << bits) - 1;
        }
        text.push(char::from_digit(digit as u32, 16).unwrap_or('?'));
    }
    text
}

fn bytes(bytes: &[u8]) -> String {
    let mut text = String::from("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What an entry matches, as it was written.
fn key(key: &EntryKey) -> String {
    let mut parts = Vec::new();
    for value in &key.matches {
        parts.push(match value {
            MatchValue::Exact(value) => bytes(value),
            MatchValue::Lpm { value, prefix_len } => format!("{}/{prefix_len}", bytes(value)),
            MatchValue::Ternary { value, mask } => format!("{}&&&{}", bytes(value), bytes(mask)),
            MatchValue::Range { low, high } => format!("{}..{}", bytes(low), bytes(high)),
            MatchValue::Optional(Some(value)) => bytes(value),
            MatchValue::Optional(None) => "*".to_owned(),
            MatchValue::Valid(valid) => valid.to_string(),
        });
    }
    let mut text = parts.join(", ");
    if key.priority != 0 {
        let _ = write!(text, " (priority {})", key.priority);
    }
    text
}

/// An action with its data.
fn call(info: &ActionInfo, call: &Call) -> String {
    let mut at = 0;
    let mut params = Vec::new();
    for param in &info.params {
        let words = param.width.div_ceil(64) as usize;
        let value = hex(&call.args[at..at + words], param.width);
        params.push(format!("{}={value}", param.name));
        at += words;
    }
    format!("{}({})", info.name, params.join(", "))
}

/// A place before what is there.
fn at(place: &str) -> String {
    match place {
        "" => String::new(),
        place => format!("{place}: "),
    }
}

/// The name of an error.
pub(crate) fn error_name(program: &Program, error: u64) -> String {
    let notes = program.trace.as_ref();
    let known = notes.and_then(|notes| notes.errors.iter().find(|(value, _)| *value == error));
    known.map_or_else(|| format!("error {error}"), |(_, name)| name.clone())
}

/// The names of the headers that leave.
pub(crate) fn deparsed(program: &Program, phv: &[u64]) -> String {
    let headers = program.deparse_order.iter();
    let headers = headers.map(|header| &program.headers[*header as usize]);
    let names: Vec<&str> = headers
        .filter(|header| phv[header.valid as usize] != 0)
        .map(|header| header.name.as_str())
        .collect();
    names.join(", ")
}

impl Machine<'_> {
    /// Tells the note, if anybody listens.
    #[cold]
    pub(super) fn trace(&mut self, index: u32) {
        let (Some(sink), Some(notes)) = (self.trace, self.program.trace.as_deref()) else {
            return;
        };
        if let Some(note) = notes.notes.get(index as usize) {
            self.tell(sink, notes, note);
        }
    }

    fn value(&self, span: Span, width: u32) -> String {
        hex(&self.phv[span.range()], width)
    }

    fn tell(&mut self, sink: &Sink<'_>, notes: &Notes, note: &Note) {
        match note {
            Note::State(name) => sink(&format!("    state {name}")),
            Note::Accept => sink("    accept"),
            Note::Extracted(header) => sink(&self.extracted(*header)),
            Note::ExtractedNext(stack) => {
                let stack = &self.program.stacks[*stack as usize];
                let last = (self.phv[stack.next as usize] as usize).wrapping_sub(1);
                if let Some(header) = stack.headers.get(last) {
                    sink(&self.extracted(*header));
                }
            }
            Note::Select(parts) => {
                let values = parts.iter().map(|(span, width)| self.value(*span, *width));
                sink(&format!(
                    "      select({})",
                    values.collect::<Vec<_>>().join(", ")
                ));
            }
            Note::Condition { text, place, value } => {
                let holds = self.phv[*value as usize] != 0;
                sink(&format!("    {}if ({text}): {holds}", at(place)));
            }
            Note::Statement {
                text,
                place,
                result,
            } => {
                let result = match result {
                    Some((span, width)) => format!("  [{}]", self.value(*span, *width)),
                    None => String::new(),
                };
                sink(&format!("      {}{text}{result}", at(place)));
            }
            Note::Log {
                format,
                place,
                values,
            } => {
                let mut text = String::new();
                let mut rest = format.as_str();
                for (span, width) in values {
                    let Some((before, after)) = rest.split_once("{}") else {
                        break;
                    };
                    text.push_str(before);
                    text.push_str(&self.value(*span, *width));
                    rest = after;
                }
                sink(&format!("      {}log: {text}{rest}", at(place)));
            }
            Note::Apply {
                table,
                name,
                place,
                keys,
            } => {
                let keys: Vec<String> = keys
                    .iter()
                    .zip(&self.program.tables[*table as usize].keys)
                    .map(
                        |((name, span, width), key)| match self.phv[key.valid as usize] {
                            0 => format!("{name}=(invalid header)"),
                            _ => format!("{name}={}", self.value(*span, *width)),
                        },
                    )
                    .collect();
                sink(&format!(
                    "    {}table {name}: {}",
                    at(place),
                    keys.join(", ")
                ));
                sink(&format!("      {}", self.outcome(notes, *table)));
            }
        }
    }

    fn extracted(&self, header: u32) -> String {
        let header = &self.program.headers[header as usize];
        let mut text = format!("      extract {}:", header.name);
        for field in &header.fields {
            if field.varbit {
                let bits = self.phv[field.span.loc as usize];
                let _ = write!(text, " {}=({bits} bits)", field.name);
            } else {
                let value = self.value(field.span, field.width);
                let _ = write!(text, " {}={value}", field.name);
            }
        }
        text
    }

    /// What a table will find: it changes nothing.
    fn outcome(&mut self, notes: &Notes, table: u32) -> String {
        let program = self.program;
        let mut words = Vec::new();
        for word in &program.derived.keys[table as usize] {
            let valid = 0u64.wrapping_sub(self.phv[usize::from(word.valid)]);
            words.push(self.phv[usize::from(word.s)] & valid & word.mask);
        }
        let snapshot = self.snapshot;
        let Found { entry, hit } = snapshot.tables[table as usize].lookup(&words);
        let Some(entry) = entry else {
            return "miss: no default action".to_owned();
        };
        let mut text = match hit {
            true => format!("hit {}", key(&entry.source.key)),
            false => "miss".to_owned(),
        };
        let profile = program.tables[table as usize].profile;
        match &entry.action {
            EntryAction::Call(_) => {}
            EntryAction::Member(member) => {
                let _ = write!(text, " -> member {member}");
            }
            EntryAction::Group(group) => {
                let _ = write!(text, " -> group {group}");
            }
        }
        // A round robin must not turn for being looked at.
        let turns = profile.is_some_and(|profile| {
            let selector = program.profiles[profile as usize].selector;
            selector.is_some_and(|selector| {
                program.calculations[selector as usize].algorithm == Algorithm::RoundRobin
            })
        });
        let action = match &entry.action {
            EntryAction::Call(call) => Some(call),
            EntryAction::Group(_) if turns => None,
            indirect => self.member(profile, indirect),
        };
        if let Some(action) = action {
            let info = &notes.actions[action.action as usize];
            let _ = write!(text, " -> {}", call(info, action));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::bits::sign_extend;

    #[test]
    fn values_have_as_many_digits_as_their_width() {
        assert_eq!(hex(&[0x1f], 9), "0x01f");
        assert_eq!(hex(&[1], 1), "0x1");
        assert_eq!(hex(&[0x2, 0x1], 72), "0x010000000000000002");
        // −1 in 6 bits.
        assert_eq!(hex(&[sign_extend(0x3f, 6)], 6), "0x3f");
    }
}
