//! Reading STF files.

use super::check::Pattern;
use super::value;

/// Why a file is no STF test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {reason}")]
pub struct ParseError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What was expected there.
    pub reason: String,
}

/// One test.
#[derive(Debug, Clone)]
pub struct Test {
    /// The name of its file, for messages.
    pub file: String,
    /// What it does, in order.
    pub statements: Vec<Statement>,
}

/// One line that does something.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its line, from 1.
    pub line: usize,
    /// What it does.
    pub command: Command,
}

/// A key of an entry, not yet resolved: its name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyText {
    /// The key's name, full or short.
    pub name: String,
    /// What it matches.
    pub value: String,
}

/// An action with its arguments, not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionText {
    /// The action's name, full or short.
    pub name: String,
    /// Names and values.
    pub args: Vec<(String, String)>,
}

/// Which cell of a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CounterIndex {
    /// `$NAME`, the entry that `add … = NAME` gave this name: its direct counter.
    Entry(String),
    /// A cell of an array.
    Cell(usize),
}

/// What of a counter is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterUnit {
    /// `packets`
    Packets,
    /// `bytes`
    Bytes,
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Whether it holds.
    #[must_use]
    pub fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b,
            Comparison::Less => a < b,
            Comparison::LessOrEqual => a <= b,
            Comparison::Greater => a > b,
            Comparison::GreaterOrEqual => a >= b,
        }
    }
}

/// The statements of STF, and the commands of `simple_switch_CLI` that p4c's driver passes on.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are the arguments, in their order")]
pub enum Command {
    /// `packet PORT BYTES`
    Packet { port: u32, data: Vec<u8> },
    /// `expect PORT PATTERN`, or `expect PORT`: any packets there.
    Expect { port: u32, pattern: Option<Pattern> },
    /// `no_packet`: nothing but what earlier lines expect has left.
    NoPacket,
    /// `add TABLE [PRIORITY] KEY:VALUE… ACTION(NAME:VALUE,…) [= NAME]`; the greatest priority wins.
    Add {
        table: String,
        priority: Option<u32>,
        keys: Vec<KeyText>,
        action: ActionText,
        name: Option<String>,
    },
    /// `setdefault TABLE ACTION(…)`
    SetDefault { table: String, action: ActionText },
    /// `remove all`: every entry of every table.
    RemoveAll,
    /// `check_counter NAME(INDEX) [packets|bytes COMPARISON NUMBER]`
    CheckCounter {
        counter: String,
        index: CounterIndex,
        condition: Option<(CounterUnit, Comparison, u64)>,
    },
    /// `mirroring_add SESSION PORT`
    MirroringAdd { session: u32, port: u32 },
    /// `mirroring_add_mc SESSION GROUP`
    MirroringAddMc { session: u32, group: u16 },
    /// `mirroring_delete SESSION`
    MirroringDelete { session: u32 },
    /// `mirroring_get SESSION`
    MirroringGet { session: u32 },
    /// `mc_mgrp_create GROUP`
    GroupCreate { group: u16 },
    /// `mc_node_create RID PORT…`; nodes are numbered from 0.
    NodeCreate { rid: u16, ports: Vec<u32> },
    /// `mc_node_associate GROUP NODE`
    NodeAssociate { group: u16, node: usize },
    /// `counter_read NAME INDEX`
    CounterRead { counter: String, index: usize },
    /// `counter_write NAME INDEX PACKETS BYTES`
    CounterWrite {
        counter: String,
        index: usize,
        packets: u64,
        bytes: u64,
    },
    /// `register_read NAME [INDEX]`
    RegisterRead {
        register: String,
        index: Option<usize>,
    },
    /// `register_write NAME INDEX VALUE`
    RegisterWrite {
        register: String,
        index: usize,
        value: String,
    },
    /// `register_reset NAME`
    RegisterReset { register: String },
    /// `meter_get_rates NAME INDEX`
    MeterGetRates { meter: String, index: usize },
    /// `meter_set_rates NAME INDEX RATE:BURST RATE:BURST`, or of all cells
    /// (`meter_array_set_rates NAME …`). Rates are units per microsecond.
    MeterSetRates {
        meter: String,
        index: Option<usize>,
        committed: (f64, u64),
        peak: (f64, u64),
    },
    /// `wait [SECONDS]`
    Wait { seconds: u32 },
}

const COMMANDS: &str = "packet, expect, no_packet, add, setdefault, remove all, check_counter, \
     wait, mirroring_add, mirroring_add_mc, mirroring_delete, mirroring_get, mc_mgrp_create, \
     mc_node_create, mc_node_associate, counter_read, counter_write, register_read, \
     register_write, register_reset, meter_get_rates, meter_set_rates or meter_array_set_rates";

impl Test {
    /// Reads a test; `file` names it in messages.
    ///
    /// # Errors
    /// The first line that is no statement.
    pub fn parse(file: &str, text: &str) -> Result<Test, ParseError> {
        let mut statements = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let command = command(line).map_err(|reason| ParseError {
                file: file.to_owned(),
                line: i + 1,
                reason,
            })?;
            statements.push(Statement {
                line: i + 1,
                command,
            });
        }
        Ok(Test {
            file: file.to_owned(),
            statements,
        })
    }
}

/// Words of a line, taken one by one.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        if text.is_empty() {
            return None;
        }
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        self.0 = &text[end..];
        Some(&text[..end])
    }

    fn want(&mut self, what: &str) -> Result<&'a str, String> {
        self.next()
            .ok_or_else(|| format!("expected {what}, found the end of the line"))
    }

    fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N, String> {
        let word = self.want(what)?;
        number(word, what)
    }

    fn end(&mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("expected the end of the line, found `{word}`")),
        }
    }
}

fn number<N: std::str::FromStr>(word: &str, what: &str) -> Result<N, String> {
    word.parse()
        .map_err(|_| format!("expected {what}, found `{word}`"))
}

/// A name, possibly in quotes.
fn name(word: &str) -> String {
    word.trim_matches('"').to_owned()
}

fn command(line: &str) -> Result<Command, String> {
    let mut words = Words(line);
    let first = words.want("a command")?;
    let command = match first.to_ascii_lowercase().as_str() {
        "packet" => Command::Packet {
            port: words.number("a port")?,
            data: packet_data(std::mem::take(&mut words.0))?,
        },
        "expect" => {
            let port = words.number("a port")?;
            let text = std::mem::take(&mut words.0);
            let pattern = match text.trim().is_empty() {
                true => None,
                false => Some(Pattern::parse(text)?),
            };
            Command::Expect { port, pattern }
        }
        "no_packet" => Command::NoPacket,
        "add" => add(&mut words)?,
        "setdefault" => {
            let table = name(words.want("a table")?);
            let (action, rest) = action(std::mem::take(&mut words.0))?;
            words.0 = rest;
            Command::SetDefault { table, action }
        }
        "remove" => match words.want("`all`")? {
            all if all.eq_ignore_ascii_case("all") => Command::RemoveAll,
            other => return Err(format!("expected `all`, found `{other}`")),
        },
        "check_counter" => check_counter(std::mem::take(&mut words.0))?,
        "wait" => Command::Wait {
            seconds: match words.next() {
                Some(word) => number(word, "a number of seconds")?,
                None => 1,
            },
        },
        "mirroring_add" => Command::MirroringAdd {
            session: words.number("a clone session")?,
            port: words.number("a port")?,
        },
        "mirroring_add_mc" => Command::MirroringAddMc {
            session: words.number("a clone session")?,
            group: words.number("a multicast group")?,
        },
        "mirroring_delete" => Command::MirroringDelete {
            session: words.number("a clone session")?,
        },
        "mirroring_get" => Command::MirroringGet {
            session: words.number("a clone session")?,
        },
        "mc_mgrp_create" => Command::GroupCreate {
            group: words.number("a multicast group")?,
        },
        "mc_node_create" => {
            let rid = words.number("a replication id")?;
            let mut ports = Vec::new();
            while let Some(word) = words.next() {
                if word.contains('|') {
                    return Err("link aggregation groups are not supported".to_owned());
                }
                ports.push(number(word, "a port")?);
            }
            Command::NodeCreate { rid, ports }
        }
        "mc_node_associate" => Command::NodeAssociate {
            group: words.number("a multicast group")?,
            node: words.number("the number of a node")?,
        },
        "counter_read" => {
            let (counter, index) = cell(&mut words, "a counter")?;
            Command::CounterRead { counter, index }
        }
        "counter_write" => {
            let (counter, index) = cell(&mut words, "a counter")?;
            Command::CounterWrite {
                counter,
                index,
                packets: words.number("a number of packets")?,
                bytes: words.number("a number of bytes")?,
            }
        }
        "register_read" => Command::RegisterRead {
            register: name(words.want("a register")?),
            index: match words.next() {
                Some(word) => Some(number(word, "an index")?),
                None => None,
            },
        },
        "register_write" => {
            let (register, index) = cell(&mut words, "a register")?;
            let value = words.want("a value")?.to_owned();
            Command::RegisterWrite {
                register,
                index,
                value,
            }
        }
        "register_reset" => Command::RegisterReset {
            register: name(words.want("a register")?),
        },
        "meter_get_rates" => {
            let (meter, index) = cell(&mut words, "a meter")?;
            Command::MeterGetRates { meter, index }
        }
        kind @ ("meter_set_rates" | "meter_array_set_rates") => {
            let meter = name(words.want("a meter")?);
            let index = match kind {
                "meter_set_rates" => Some(words.number("an index")?),
                _ => None,
            };
            Command::MeterSetRates {
                meter,
                index,
                committed: rate(&mut words)?,
                peak: rate(&mut words)?,
            }
        }
        _ => return Err(format!("expected {COMMANDS}, found `{first}`")),
    };
    words.end()?;
    Ok(command)
}

fn cell(words: &mut Words<'_>, what: &str) -> Result<(String, usize), String> {
    Ok((name(words.want(what)?), words.number("an index")?))
}

fn rate(words: &mut Words<'_>) -> Result<(f64, u64), String> {
    const WHAT: &str = "RATE:BURST, the rate in units per microsecond";
    let word = words.want(WHAT)?;
    let wrong = || format!("expected {WHAT}, found `{word}`");
    let (rate, burst) = word.split_once(':').ok_or_else(wrong)?;
    let rate: f64 = rate.parse().map_err(|_| wrong())?;
    if !(0.0..1e9).contains(&rate) {
        return Err(wrong());
    }
    Ok((rate, burst.parse().map_err(|_| wrong())?))
}

fn packet_data(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if digits.is_empty() {
        return Err("expected the packet's bytes, found the end of the line".to_owned());
    }
    let nibbles = digits.iter().map(|c| {
        c.to_digit(16)
            .ok_or_else(|| format!("expected hexadecimal digits, found `{c}`"))
    });
    let nibbles: Vec<u32> = nibbles.collect::<Result<_, _>>()?;
    if !nibbles.len().is_multiple_of(2) {
        let n = nibbles.len();
        return Err(format!(
            "expected whole bytes, found {n} hexadecimal digits"
        ));
    }
    Ok(nibbles
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect())
}

fn add(words: &mut Words<'_>) -> Result<Command, String> {
    let table = name(words.want("a table")?);
    let mut priority = None;
    let mut keys = Vec::new();
    loop {
        let before = words.0.trim_start();
        let word = words.want("KEY:VALUE or ACTION(…)")?;
        // `h.isValid():1` is a key.
        if word.contains('(') && !word.contains("():") {
            words.0 = before;
            break;
        }
        match word.split_once(':') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => keys.push(KeyText {
                name: name(key),
                value: value.to_owned(),
            }),
            None if keys.is_empty() && priority.is_none() => {
                priority = Some(number(word, "a priority, KEY:VALUE or ACTION(…)")?);
            }
            _ => return Err(format!("expected KEY:VALUE or ACTION(…), found `{word}`")),
        }
    }
    let (action, rest) = action(words.0)?;
    words.0 = rest;
    let entry = match words.next() {
        None => None,
        Some("=") => Some(words.want("a name for the entry")?),
        Some(word) => match word.strip_prefix('=') {
            Some(name) => Some(name),
            None => return Err(format!("expected `= NAME`, found `{word}`")),
        },
    };
    let entry = entry.map(|name| name.trim_start_matches('$').to_owned());
    Ok(Command::Add {
        table,
        priority,
        keys,
        action,
        name: entry,
    })
}

/// `NAME(NAME:VALUE, …)`, and what follows it.
fn action(text: &str) -> Result<(ActionText, &str), String> {
    let wrong = || format!("expected ACTION(NAME:VALUE, …), found `{}`", text.trim());
    let (action, rest) = text.split_once('(').ok_or_else(wrong)?;
    let (list, rest) = rest.split_once(')').ok_or_else(wrong)?;
    let mut args = Vec::new();
    for arg in list.split(',').map(str::trim).filter(|a| !a.is_empty()) {
        match arg.split_once(':') {
            Some((arg, value)) => args.push((name(arg.trim()), value.trim().to_owned())),
            None => return Err(format!("expected NAME:VALUE, found `{arg}`")),
        }
    }
    let action = name(action.trim());
    if action.is_empty() || action.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok((ActionText { name: action, args }, rest))
}

fn check_counter(text: &str) -> Result<Command, String> {
    let wrong = || {
        format!(
            "expected NAME(INDEX) or NAME($ENTRY), found `{}`",
            text.trim()
        )
    };
    let (counter, rest) = text.split_once('(').ok_or_else(wrong)?;
    let (index, rest) = rest.split_once(')').ok_or_else(wrong)?;
    let index = match index.trim() {
        entry if entry.starts_with('$') => CounterIndex::Entry(entry[1..].to_owned()),
        cell => {
            let bytes = value::parse(cell).map_err(|_| wrong())?;
            let bytes = value::fit(&bytes, 32).ok_or_else(wrong)?;
            let cell = bytes.iter().fold(0, |v, b| v << 8 | usize::from(*b));
            CounterIndex::Cell(cell)
        }
    };
    let mut words = Words(rest);
    let condition = match words.next() {
        None => None,
        Some(unit) => {
            let unit = match unit {
                "packets" => CounterUnit::Packets,
                "bytes" => CounterUnit::Bytes,
                _ => return Err(format!("expected `packets` or `bytes`, found `{unit}`")),
            };
            let comparison = match words.want("a comparison")? {
                "==" => Comparison::Equal,
                "!=" => Comparison::NotEqual,
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                ">" => Comparison::Greater,
                ">=" => Comparison::GreaterOrEqual,
                other => {
                    return Err(format!("expected ==, !=, <, <=, > or >=, found `{other}`"));
                }
            };
            Some((unit, comparison, words.number("a number")?))
        }
    };
    words.end()?;
    Ok(Command::CheckCounter {
        counter: name(counter.trim()),
        index,
        condition,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        Test::parse("t.stf", line)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn errors_name_file_line_and_what_was_expected() {
        let text = "# a comment\n\npacket 1 0\n";
        let error = Test::parse("a/b.stf", text).unwrap_err().to_string();
        assert_eq!(
            error,
            "a/b.stf, line 3: expected whole bytes, found 1 hexadecimal digits"
        );
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        assert!(error("pakcet 1 00").contains("found `pakcet`"));
        assert!(error("packet x 00").contains("expected a port, found `x`"));
        assert!(error("expect 1 0g").contains("found `g`"));
        assert!(error("expect 1 00$11").contains("end of the line"));
        assert!(error("add t k:1").contains("ACTION(…)"));
        assert!(error("add t k:1 a(").contains("expected ACTION(NAME:VALUE, …)"));
        assert!(error("add t k:1 a(b)").contains("expected NAME:VALUE, found `b`"));
        assert!(error("add t k:1 a() b").contains("expected `= NAME`"));
        assert!(error("check_counter c($A) packets = 1").contains("found `=`"));
        assert!(error("wait 1 2").contains("end of the line"));
        assert!(error("remove one").contains("expected `all`"));
    }

    #[test]
    fn an_entry_has_priority_keys_action_and_name() {
        let test =
            Test::parse("t", "add a.t 10 h.x:0x0* h.y:1/8 c.act( p : 1,q:0b1 ) = E").unwrap();
        let Command::Add {
            table,
            priority,
            keys,
            action,
            name,
        } = &test.statements[0].command
        else {
            panic!("an entry");
        };
        assert_eq!((table.as_str(), *priority), ("a.t", Some(10)));
        assert_eq!(keys[1].value, "1/8");
        assert_eq!(action.args[0], ("p".to_owned(), "1".to_owned()));
        assert_eq!(action.args[1], ("q".to_owned(), "0b1".to_owned()));
        assert_eq!(name.as_deref(), Some("E"));
    }
}
