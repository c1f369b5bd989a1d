//! Finding tables, keys, actions and arrays by their full names, by the short ones that p4c's
//! driver accepts, and by P4Info's aliases.

use std::collections::HashMap;

use p4runtime::p4info::P4Info;

use crate::Pipeline;
use crate::control::{ActionHandle, KeyInfo, TableHandle, TableInfo};

/// The aliases of a P4Info: full names by alias, for each kind of object.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    tables: HashMap<String, String>,
    actions: HashMap<String, String>,
    arrays: HashMap<String, String>,
}

impl Aliases {
    pub(super) fn new(p4info: &P4Info) -> Aliases {
        let info = p4info.message();
        let of = |preambles: Vec<Option<&p4runtime::config::Preamble>>| {
            preambles
                .into_iter()
                .flatten()
                .map(|preamble| (preamble.alias.clone(), preamble.name.clone()))
                .collect::<HashMap<_, _>>()
        };
        let mut arrays = of(info.counters.iter().map(|o| o.preamble.as_ref()).collect());
        arrays.extend(of(info
            .meters
            .iter()
            .map(|o| o.preamble.as_ref())
            .collect()));
        arrays.extend(of(info
            .registers
            .iter()
            .map(|o| o.preamble.as_ref())
            .collect()));
        Aliases {
            tables: of(info.tables.iter().map(|o| o.preamble.as_ref()).collect()),
            actions: of(info.actions.iter().map(|o| o.preamble.as_ref()).collect()),
            arrays,
        }
    }
}

/// The place of the one object with this name: its full name, its alias, its last parts, or at least
/// the end of its full name.
fn find<'a>(
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'a str>,
    aliases: &HashMap<String, String>,
) -> Result<usize, String> {
    let names: Vec<&str> = names.collect();
    let full = |name: &str| names.iter().position(|full| *full == name);
    if let Some(found) = full(name) {
        return Ok(found);
    }
    if let Some(found) = aliases.get(name).and_then(|name| full(name)) {
        return Ok(found);
    }
    let dotted = format!(".{name}");
    for end in [dotted.as_str(), name] {
        let mut found = (0..names.len()).filter(|&i| names[i].ends_with(end));
        match (found.next(), found.next()) {
            (None, _) => {}
            (Some(found), None) => return Ok(found),
            (Some(a), Some(b)) => {
                return Err(format!(
                    "{what} `{name}` may be `{}` or `{}`: give more of its name",
                    names[a], names[b]
                ));
            }
        }
    }
    let known = match names.is_empty() {
        true => String::new(),
        false => format!(": there are {}", names.join(", ")),
    };
    Err(format!("no {what} is named `{name}`{known}"))
}

pub(super) fn table(
    pipeline: &Pipeline,
    name: &str,
    aliases: &Aliases,
) -> Result<TableHandle, String> {
    let handles: Vec<TableHandle> = pipeline.tables().map(|(handle, _)| handle).collect();
    let names = pipeline.tables().map(|(_, info)| info.name.as_str());
    find("table", name, names, &aliases.tables).map(|at| handles[at])
}

pub(super) fn action(
    info: &TableInfo,
    name: &str,
    aliases: &Aliases,
) -> Result<ActionHandle, String> {
    let names = info.actions.iter().map(|(name, _)| name.as_str());
    let what = format!("action of table `{}`", info.name);
    find(&what, name, names, &aliases.actions).map(|at| info.actions[at].1)
}

/// An array among those with these names: its place.
pub(super) fn array<'a>(
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'a str>,
    aliases: &Aliases,
) -> Result<usize, String> {
    find(what, name, names, &aliases.arrays)
}

/// The place of a key. STF writes `$0` for `[0]`; `valid` is a header's validity.
pub(super) fn key(info: &TableInfo, name: &str) -> Result<usize, String> {
    let name = bracketed(name);
    let keys = &info.keys;
    let is = |candidate: &str| keys.iter().position(|key| key.name == candidate);
    let mut candidates = vec![name.clone(), format!("{name}$"), format!("{name}.$valid$")];
    if let Some(header) = name.strip_suffix("isValid()") {
        candidates.push(format!("{header}$valid$"));
    }
    if let Some(header) = name.strip_suffix("valid").filter(|h| h.ends_with('.')) {
        candidates.push(format!("{header}$valid$"));
    }
    if let Some(found) = candidates.iter().find_map(|candidate| is(candidate)) {
        return Ok(found);
    }
    let ends = |key: &KeyInfo| {
        let full = &key.name;
        candidates.iter().any(|end| {
            full.strip_suffix(end.as_str())
                .is_some_and(|before| before.ends_with('.'))
        }) || (name == "valid" && full.ends_with("$valid$"))
    };
    // The driver takes the last that fits.
    if let Some(found) = keys.iter().rposition(ends) {
        return Ok(found);
    }
    let known: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    Err(format!(
        "table `{}` has no key `{name}`: it has {}",
        info.name,
        known.join(", ")
    ))
}

/// `a$0.b` as `a[0].b`.
fn bracketed(name: &str) -> String {
    let mut result = String::with_capacity(name.len() + 1);
    let mut rest = name;
    while let Some(at) = rest.find('$') {
        let digits = rest[at + 1..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len() - at - 1);
        result.push_str(&rest[..at]);
        match digits {
            0 => result.push('$'),
            n => {
                result.push('[');
                result.push_str(&rest[at + 1..at + 1 + n]);
                result.push(']');
            }
        }
        rest = &rest[at + 1 + digits..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_full_or_the_end_of_one() {
        let names = || ["ingress.t1", "ingress.sub.t2", "egress.t1", "egress.at2"].into_iter();
        let find = |name| find("table", name, names(), &HashMap::new());
        assert_eq!(find("egress.t1"), Ok(2));
        // A whole part comes before the mere end of one.
        assert_eq!(find("t2"), Ok(1));
        assert_eq!(find("sub.t2"), Ok(1));
        assert_eq!(find("at2"), Ok(3));
        assert!(
            find("t1")
                .unwrap_err()
                .contains("`ingress.t1` or `egress.t1`")
        );
        assert!(find("t3").unwrap_err().contains("there are ingress.t1"));
    }

    #[test]
    fn an_alias_comes_before_a_short_name() {
        let aliases = HashMap::from([("t".to_owned(), "b.t".to_owned())]);
        let found = find("table", "t", ["a.t", "b.t"].into_iter(), &aliases);
        assert_eq!(found, Ok(1));
    }

    #[test]
    fn dollars_are_brackets() {
        assert_eq!(bracketed("h.stack$10.f"), "h.stack[10].f");
        assert_eq!(bracketed("h.$valid$"), "h.$valid$");
    }
}
