//! From arguments to DTLS credentials, for `pub` and `sub`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use broker::auth::Keys;
use dtls::{Authorities, ClientCredentials, KeyPair, ServerIdentity};

use crate::cli::ClientArgs;

/// The credentials that the arguments name; `None` where DTLS is not asked for.
///
/// # Errors
/// What cannot be read, or is missing.
pub(super) fn credentials(args: &ClientArgs) -> anyhow::Result<Option<ClientCredentials>> {
    let dtls = &args.dtls;
    if !dtls.dtls {
        return Ok(None);
    }
    if let Some(ca) = &dtls.ca {
        let server = match &dtls.server_name {
            Some(name) => ServerIdentity::parse(name)
                .with_context(|| format!("--server-name `{name}` is no DNS name"))?,
            None => ServerIdentity::from(args.broker.ip()),
        };
        return Ok(Some(ClientCredentials::Certificate {
            authorities: Authorities::read(ca)?,
            server,
            own: own(args)?,
        }));
    }
    let Some(identity) = identity(args)? else {
        bail!("give the key's identity with --psk-identity, or a --client-id that is one");
    };
    let (keys, path) = match (&dtls.psk_key, &dtls.psk_file) {
        (Some(key), _) => {
            let path = PathBuf::from("--psk-key");
            (Keys::parse(&format!("{identity}:{key}"), &path)?, path)
        }
        (None, Some(path)) => (Keys::load(path)?, path.clone()),
        // clap wants one of the three.
        (None, None) => bail!("give --psk-key, --psk-file or --ca"),
    };
    let key = keys.key(&identity);
    let key = key.with_context(|| no_key(&path, &identity))?;
    Ok(Some(ClientCredentials::Psk {
        key: key.to_vec(),
        identity,
    }))
}

/// What the broker will know the client by, and so the client id that it lets it have.
///
/// # Errors
/// A certificate that cannot be read.
pub(super) fn identity(args: &ClientArgs) -> anyhow::Result<Option<String>> {
    let dtls = &args.dtls;
    if !dtls.dtls {
        return Ok(None);
    }
    if dtls.ca.is_some() {
        return Ok(own(args)?.and_then(|own| own.common_name()));
    }
    Ok(dtls.psk_identity.clone().or_else(|| args.client_id.clone()))
}

fn own(args: &ClientArgs) -> anyhow::Result<Option<KeyPair>> {
    match (&args.dtls.cert, &args.dtls.key) {
        (Some(certificate), Some(key)) => Ok(Some(KeyPair::read(certificate, key)?)),
        _ => Ok(None),
    }
}

fn no_key(path: &Path, identity: &str) -> String {
    format!("{} has no line `{identity}:hexkey`", path.display())
}
