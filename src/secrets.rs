//! Token and key pair: made at random at the first start, kept in the data folder for their user alone.
//!
//! A file of a secret appears whole or not at all, so that of several starters one makes it and the others read it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bucket::Credentials;

use crate::data_dir::{DataDir, DataDirError, Service};
use crate::error::{Error, Result};
use crate::output;
use crate::settings::Sources;
use crate::settings::table;
use crate::settings::value::{Token, Value};

/// What is expected of BUE_SECRET_KEY.
const EXPECTED_KEYS: &str = "keys of 64 hex digits each, with commas between them";

/// The hub's token: BUE_TOKEN, else that of the data folder, which is made where there is none.
pub fn token_of_hub(sources: &Sources, data_dir: &DataDir) -> Result<String> {
    if let Some(Token(token)) = sources.read(&table::BUE_TOKEN)? {
        return Ok(token);
    }
    let folder = data_dir.create(Service::Hub)?;
    let path = folder.join("token");
    let text = create_or_read(&path, || Ok(format!("{}\n", random_hex::<32>()?)))?;
    warn_of_readers(&path);
    match <Token as Value>::parse(text.trim()) {
        Some(Token(token)) => Ok(token),
        None => Err(Error::machine(format_args!(
            "the token file {} holds no token: expected {}",
            path.display(),
            Token::EXPECTED
        ))
        .hint("remove it, and the hub makes a new token")),
    }
}

/// What seals the hub's secrets: BUE_SECRET_KEY, else the key of the data folder, which is made where there is none.
pub fn keyring_of_hub(sources: &Sources, data_dir: &DataDir) -> Result<hub::Keyring> {
    let parse = |keys: &str| hub::Keyring::parse(keys).map_err(|_| EXPECTED_KEYS.to_owned());
    if let Some(keyring) = sources.read_by(&table::BUE_SECRET_KEY, parse)? {
        return Ok(keyring);
    }
    let path = data_dir.create(Service::Hub)?.join("secret-key");
    let text = create_or_read(&path, || Ok(format!("{}\n", random_hex::<32>()?)))?;
    warn_of_readers(&path);
    hub::Keyring::parse(&text).map_err(|error| {
        Error::machine(format_args!("the key file {} cannot be used: {error}", path.display()))
            .hint("put back the key that was in it: without it the secrets of this hub cannot be opened, and must be set again")
    })
}

/// A token that others can read is theirs as well.
fn warn_of_readers(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let path = path.display();
        output::note(&format!("warning: others can read {path}: `chmod 600 {path}` closes it"));
    }
}

/// A way to the token that is asked again when the hub refuses one: the hub may make its token later.
pub fn token_of_client(sources: &Sources, data_dir: &DataDir) -> Result<impl Fn() -> Option<String> + use<>> {
    let set: Option<Token> = sources.read(&table::BUE_TOKEN)?;
    let path = data_dir.of(Service::Hub).join("token");
    Ok(move || match &set {
        Some(Token(token)) => Some(token.clone()),
        None => fs::read_to_string(&path).ok().map(|text| text.trim().to_owned()).filter(|token| !token.is_empty()),
    })
}

/// The keys that the environment names, where it does.
pub fn keys_of_environment(sources: &Sources) -> Result<Option<Credentials>> {
    let access_key: Option<String> = sources.read(&table::AWS_ACCESS_KEY_ID)?;
    let secret_key: Option<String> = sources.read(&table::AWS_SECRET_ACCESS_KEY)?;
    let session_token: Option<String> = sources.read(&table::AWS_SESSION_TOKEN)?;
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Ok(Some(Credentials { access_key, secret_key, session_token })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(half_a_pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        (None, Some(_)) => Err(half_a_pair("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
    }
}

fn half_a_pair(there: &str, missing: &str) -> Error {
    Error::usage(format_args!("{there} is set, but {missing} is not")).hint("set both or none")
}

/// The key pair of the data folder, where there is one.
pub fn read_keys(data_dir: &DataDir) -> Result<Option<Credentials>> {
    let path = data_dir.of(Service::Bucket).join("credentials");
    match fs::read_to_string(&path) {
        Ok(text) => parse_keys(&text, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataDirError::new("read", &path, error).into()),
    }
}

/// The key pair of the data folder, which is made where there is none.
pub fn create_keys(data_dir: &DataDir) -> Result<Credentials> {
    let path = data_dir.create(Service::Bucket)?.join("credentials");
    let text = create_or_read(&path, || {
        let (access_key, secret_key) = (random_hex::<10>()?.to_uppercase(), random_hex::<20>()?);
        Ok(format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"))
    })?;
    parse_keys(&text, &path)
}

/// Reads the `[default]` profile of an AWS credentials file.
fn parse_keys(text: &str, path: &Path) -> Result<Credentials> {
    let mut in_default = true;
    let (mut access_key, mut secret_key, mut session_token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            in_default = section.trim() == "default";
        }
        let Some((name, value)) = line.split_once('=').filter(|_| in_default && !line.starts_with(['#', ';'])) else {
            continue;
        };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match name.trim() {
            "aws_access_key_id" => access_key = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => session_token = value,
            _ => {}
        }
    }
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Ok(Credentials { access_key, secret_key, session_token }),
        _ => Err(Error::machine(format_args!("{} holds no key pair", path.display()))
            .hint("it should have aws_access_key_id and aws_secret_access_key under [default]; remove it, and a new pair is made")),
    }
}

/// Makes the file with what `make` gives, unless it is there; gives what is in it.
fn create_or_read(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<String> {
    let failed = |action, error| Error::from(DataDirError::new(action, path, error));
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(|error| failed("read", error)),
    }
    let text = make()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    // The file is made with mode 0600, complete and on disk before it has its name.
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    });
    match written.map_err(|error| failed("write", error))?.persist_noclobber(path) {
        Ok(_) => Ok(text),
        // Another starter was faster: its secret is the one.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            fs::read_to_string(path).map_err(|error| failed("read", error))
        }
        Err(error) => Err(failed("write", error.error)),
    }
}

/// `BYTES` random bytes, as hex.
pub fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Error::machine(format_args!("no random numbers: {error}")))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_starters_one_makes_the_token_and_all_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(folder.path().to_owned());
        let tokens: Vec<String> = std::thread::scope(|scope| {
            let starters: Vec<_> =
                (0..8).map(|_| scope.spawn(|| token_of_hub(&Sources::default(), &data_dir).unwrap())).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        assert_eq!(tokens[0].len(), 64);
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        let mode = fs::metadata(folder.path().join("hub/token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_client_finds_a_token_that_is_made_after_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(folder.path().to_owned());
        let token = token_of_client(&Sources::default(), &data_dir).unwrap();
        assert_eq!(token(), None);
        let made = token_of_hub(&Sources::default(), &data_dir).unwrap();
        assert_eq!(token(), Some(made));
    }

    #[test]
    fn the_token_of_the_environment_goes_first() {
        let sources = Sources::of(&[("BUE_TOKEN", "0123456789")], &[]);
        let nowhere = DataDir::new("/nonexistent".into());
        assert_eq!(token_of_hub(&sources, &nowhere).unwrap(), "0123456789");
        assert_eq!(token_of_client(&sources, &nowhere).unwrap()(), Some("0123456789".to_owned()));
    }

    #[test]
    fn keys_read_back_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(folder.path().to_owned());
        assert!(read_keys(&data_dir).unwrap().is_none());
        let made = create_keys(&data_dir).unwrap();
        let again = create_keys(&data_dir).unwrap();
        let read = read_keys(&data_dir).unwrap().unwrap();
        for keys in [&again, &read] {
            assert_eq!((&keys.access_key, &keys.secret_key), (&made.access_key, &made.secret_key));
        }
    }

    #[test]
    fn a_file_without_keys_and_half_a_pair_are_errors_that_name_them() {
        let error = parse_keys("[default]\naws_access_key_id = A\n", Path::new("keys")).unwrap_err();
        assert!(error.to_string().contains("keys holds no key pair"), "{error}");
        let error = keys_of_environment(&Sources::of(&[("AWS_ACCESS_KEY_ID", "A")], &[])).unwrap_err();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY is not"), "{error}");
    }
}
