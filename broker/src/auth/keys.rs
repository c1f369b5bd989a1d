//! The key file: one line a client, `client-id:hexkey`. Empty lines and those that begin with `#` are
//! for people.
//!
//! A ClientId that stands there is protected: only who proves the key may use it, by DTLS with the key
//! as PSK and the ClientId as its identity, or where that is permitted by a ClientId `client-id:key`
//! over plain UDP.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mqttsn::types::CLIENT_ID_MAX;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The shortest key: 128 bits.
pub const MIN_KEY_OCTETS: usize = 16;

/// The longest key (RFC 4279 §5.3 asks for at least 64 octets).
pub const MAX_KEY_OCTETS: usize = 64;

type Table = HashMap<Box<str>, Zeroizing<Vec<u8>>>;

/// The clients' keys. Clones share one table: what [`Keys::replace`] puts there, all of them see.
#[derive(Clone, Default)]
pub struct Keys {
    table: Arc<ArcSwap<Table>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = self.len();
        f.debug_struct("Keys")
            .field("clients", &clients)
            .finish_non_exhaustive()
    }
}

/// Why a key file is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Others than its owner (and group, for reading) have a right to it.
    #[error(
        "the key file {} has mode {mode:03o}: others may read or change it; run `chmod 640` on it",
        path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode, the permission bits.
        mode: u32,
    },
    /// A line says no client and key.
    #[error("{}:{line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: KeyLineError,
    },
}

/// Why a line of a key file is refused. No text quotes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyLineError {
    /// There is no `:` with a key behind it.
    #[error("write client-id:hexkey, for instance the output of `openssl rand -hex 16` as the key")]
    NoKey,
    /// More than one `:`.
    #[error("a ClientId with a key cannot have a `:` itself: that is where its secret begins")]
    Colon,
    /// The ClientId is empty or too long.
    #[error("a ClientId has 1 to {CLIENT_ID_MAX} characters, not {0}")]
    ClientId(usize),
    /// The key is not hexadecimal.
    #[error("the key is not hexadecimal: character {0} of it is no digit from 0 to f")]
    NotHex(usize),
    /// Half an octet is left.
    #[error("the key has {0} hexadecimal digits, an odd number; two make an octet")]
    OddDigits(usize),
    /// Too short or too long.
    #[error("the key has {0} octets; {MIN_KEY_OCTETS} to {MAX_KEY_OCTETS} are allowed")]
    Length(usize),
    /// The client has a key already.
    #[error("this client has a key already, at line {0}")]
    Twice(usize),
}

impl Keys {
    /// Reads a key file.
    ///
    /// # Errors
    /// What is wrong with the file, and at which line.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let read = |source| KeysError::Read {
            path: path.to_owned(),
            source,
        };
        check_mode(path).map_err(read)?.map_or(Ok(()), |mode| {
            Err(KeysError::Permissions {
                path: path.to_owned(),
                mode,
            })
        })?;
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(read)?);
        Self::parse(&text, path)
    }

    /// Reads the text of a key file; `path` is for messages.
    ///
    /// # Errors
    /// What is wrong, and at which line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KeysError> {
        let mut table = Table::new();
        let mut lines = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let at = |why| KeysError::Line {
                path: path.to_owned(),
                line: number,
                why,
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (client_id, key) = client_and_key(line).map_err(at)?;
            if let Some(first) = lines.insert(client_id, number) {
                return Err(at(KeyLineError::Twice(first)));
            }
            table.insert(client_id.into(), key);
        }
        Ok(Keys {
            table: Arc::new(ArcSwap::from_pointee(table)),
        })
    }

    /// Takes over the keys of `other`, here and in all clones.
    pub fn replace(&self, other: &Keys) {
        self.table.store(other.table.load_full());
    }

    /// The key of the client, as for a PSK with the ClientId as its identity.
    pub fn key(&self, client_id: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.table.load().get(client_id).cloned()
    }

    /// Whether the client has a key, so that nobody else may use its ClientId.
    pub fn contains(&self, client_id: &str) -> bool {
        self.table.load().contains_key(client_id)
    }

    /// Whether `secret` is the client's key, in hexadecimal or as its very octets. The time that this
    /// takes tells nothing of the key but its length.
    pub fn verify(&self, client_id: &str, secret: &str) -> bool {
        let table = self.table.load();
        let Some(key) = table.get(client_id) else {
            return false;
        };
        let as_octets = key.as_slice().ct_eq(secret.as_bytes());
        match octets(secret) {
            Ok(secret) => (as_octets | key.as_slice().ct_eq(&secret)).into(),
            Err(_) => as_octets.into(),
        }
    }

    /// Number of clients that have a key.
    pub fn len(&self) -> usize {
        self.table.load().len()
    }

    /// Whether no client has a key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The file's mode, if it is too open.
#[cfg(unix)]
fn check_mode(path: &Path) -> std::io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o037 != 0).then_some(mode))
}

/// Elsewhere the rights to a file have another form.
#[cfg(not(unix))]
fn check_mode(_path: &Path) -> std::io::Result<Option<u32>> {
    Ok(None)
}

fn client_and_key(line: &str) -> Result<(&str, Zeroizing<Vec<u8>>), KeyLineError> {
    let (client_id, key) = line.split_once(':').ok_or(KeyLineError::NoKey)?;
    let (client_id, key) = (client_id.trim(), key.trim());
    if key.contains(':') {
        return Err(KeyLineError::Colon);
    }
    let characters = client_id.chars().count();
    if !(1..=CLIENT_ID_MAX).contains(&characters) {
        return Err(KeyLineError::ClientId(characters));
    }
    let key = octets(key)?;
    if !(MIN_KEY_OCTETS..=MAX_KEY_OCTETS).contains(&key.len()) {
        return Err(KeyLineError::Length(key.len()));
    }
    Ok((client_id, key))
}

/// What hexadecimal digits say. Only ever what a file or a client says, never a key that is kept: it
/// may take as long as it takes.
fn octets(hex: &str) -> Result<Zeroizing<Vec<u8>>, KeyLineError> {
    let mut octets = Zeroizing::new(Vec::with_capacity(hex.len() / 2));
    let mut high = None;
    for (position, digit) in hex.chars().enumerate() {
        let value = digit
            .to_digit(16)
            .ok_or(KeyLineError::NotHex(position + 1))?;
        // A hexadecimal digit is below 16.
        let value = value as u8;
        match high.take() {
            None => high = Some(value),
            Some(high) => octets.push(high << 4 | value),
        }
    }
    match high {
        Some(_) => Err(KeyLineError::OddDigits(hex.len())),
        None => Ok(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f";

    fn parse(text: &str) -> Result<Keys, KeysError> {
        Keys::parse(text, Path::new("keys"))
    }

    fn line_error(text: &str) -> (usize, KeyLineError) {
        match parse(text) {
            Err(KeysError::Line { line, why, .. }) => (line, why),
            other => panic!("an error of a line, not {other:?}"),
        }
    }

    #[test]
    fn a_key_file_gives_each_client_its_key() {
        let keys = parse(&format!("# lab\n\n a:{KEY}\nb: {}\n", KEY.to_uppercase())).unwrap();
        assert_eq!(keys.len(), 2);
        let octets: Vec<u8> = (0..16).collect();
        for client in ["a", "b"] {
            assert_eq!(keys.key(client).unwrap().as_slice(), octets);
        }
        assert!(keys.key("c").is_none());
        assert!(!format!("{keys:?}").contains("01"), "no key in a log");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("\nalone", (2, KeyLineError::NoKey)),
            ("a:b:00", (1, KeyLineError::Colon)),
            (":00", (1, KeyLineError::ClientId(0))),
            (
                "123456789012345678901234:00",
                (1, KeyLineError::ClientId(24)),
            ),
            ("a:0g", (1, KeyLineError::NotHex(2))),
            ("a:000", (1, KeyLineError::OddDigits(3))),
            ("a:00", (1, KeyLineError::Length(1))),
        ] {
            assert_eq!(line_error(text), expected, "{text:?}");
        }
        let twice = format!("a:{KEY}\n# again\na:{KEY}");
        assert_eq!(line_error(&twice), (3, KeyLineError::Twice(1)));
        let error = parse("\nalone").unwrap_err().to_string();
        assert!(
            error.starts_with("keys:2: write client-id:hexkey"),
            "{error}"
        );
    }

    #[test]
    fn a_secret_is_the_key_in_hexadecimal_or_as_it_is() {
        let text = "sesame-sesame-16";
        let hex: String = text.bytes().map(|octet| format!("{octet:02x}")).collect();
        let keys = parse(&format!("a:{hex}")).unwrap();
        for secret in [text, &hex, &hex.to_uppercase()] {
            assert!(keys.verify("a", secret), "{secret}");
            assert!(!keys.verify("b", secret), "{secret}");
        }
        for wrong in [
            "",
            "sesame",
            "sesame-sesame-17",
            &hex[2..],
            &format!("{hex}0"),
        ] {
            assert!(!keys.verify("a", wrong), "{wrong}");
        }
    }

    #[test]
    fn clones_see_the_keys_that_replace_the_former() {
        let keys = parse(&format!("a:{KEY}")).unwrap();
        let clone = keys.clone();
        keys.replace(&parse(&format!("b:{KEY}")).unwrap());
        assert!(!clone.contains("a") && clone.contains("b"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, format!("a:{KEY}\n")).unwrap();
        for (mode, accepted) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Keys::load(&path).is_ok(), accepted, "{mode:o}");
        }
        let missing = Keys::load(&directory.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("cannot read the key file"));
    }
}
