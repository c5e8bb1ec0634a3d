//! Which lines an installer is given: names of packages, and where they may come from.
//!
//! An installer opens files and folders by their paths, sends what stands in its variables, and for some lines runs what it
//! finds. It runs as the worker's user, so whoever writes a step must not have a say in that. So a line is a name with its
//! versions as PEP 508 writes them, or one of a few options; a worker that installs from source takes every line.

/// Options on lines of their own that say where packages are: each with an address.
const INDEXES: [&str; 3] = ["-i", "--index-url", "--extra-index-url"];
/// Options on lines of their own without a value.
const SWITCHES: [&str; 3] = ["--pre", "--prefer-binary", "--require-hashes"];
/// An option behind a name.
const HASH: &str = "--hash=";
/// Ends of names that installers take for files.
const ARCHIVES: [&str; 12] =
    [".whl", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".lz", ".tlz", ".lzma"];
const COMPARISONS: [&str; 8] = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];

/// Says why a worker that installs only wheels does not hand a line to its installer.
pub(super) fn check(line: &str) -> Result<(), String> {
    if line.starts_with('-') {
        return if is_option(line) {
            Ok(())
        } else {
            Err(format!(
                "the line `{line}` of the requirements has the option `{}`, which is not taken here",
                first_word(line)
            ))
        };
    }
    let (requirement, options) = line.split_once(" --").map_or((line, ""), |(name, _)| (name, &line[name.len()..]));
    if !options.split_whitespace().all(is_hash) {
        return Err(format!("`{line}` has an option that is not taken here, only {HASH}… is"));
    }
    match is_requirement(requirement.trim()) {
        true => Ok(()),
        false => Err(format!("`{line}` is no name of a package with its versions")),
    }
}

fn first_word(line: &str) -> &str {
    line.split([' ', '=']).next().unwrap_or(line)
}

fn is_option(line: &str) -> bool {
    if SWITCHES.contains(&line) {
        return true;
    }
    let Some((option, address)) = line.split_once([' ', '=']) else { return false };
    INDEXES.contains(&option) && is_address(address.trim())
}

/// An address of the network; installers put variables in the place of their names, which none needs here.
fn is_address(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'$';
    ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme)) && text.bytes().all(is_plain)
}

fn is_hash(word: &str) -> bool {
    let Some((algorithm, digest)) = word.strip_prefix(HASH).and_then(|hash| hash.split_once(':')) else { return false };
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain(algorithm) && is_plain(digest)
}

/// `name[extra, …] (>=1, <2); marker`, all but the name may be missing.
fn is_requirement(text: &str) -> bool {
    let (package, marker) = text.split_once(';').unwrap_or((text, ""));
    let name_end = package.find(|character| !is_of_name(character)).unwrap_or(package.len());
    let (name, rest) = package.split_at(name_end);
    let Some(versions) = after_extras(rest.trim()) else { return false };
    is_name(name) && are_versions(versions.trim()) && is_marker(marker)
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

fn is_name(name: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let lower = name.to_ascii_lowercase();
    is_edge(name.as_bytes().first())
        && is_edge(name.as_bytes().last())
        && !ARCHIVES.iter().any(|ending| lower.ends_with(ending))
}

/// What follows the extras; `None`: they have no end, or are no names.
fn after_extras(text: &str) -> Option<&str> {
    let Some(inside) = text.strip_prefix('[') else { return Some(text) };
    let (extras, rest) = inside.split_once(']')?;
    extras.split(',').all(|extra| extra.trim().is_empty() || is_name(extra.trim())).then_some(rest)
}

fn are_versions(text: &str) -> bool {
    let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    inside.is_empty() || inside.split(',').all(|part| part.trim().is_empty() || is_version(part.trim()))
}

fn is_version(part: &str) -> bool {
    let Some(version) = COMPARISONS.iter().find_map(|comparison| part.strip_prefix(comparison)) else { return false };
    let is_of_version = |character: char| is_of_name(character) || matches!(character, '*' | '+' | '!');
    let version = version.trim();
    !version.is_empty() && version.chars().all(is_of_version)
}

/// Conditions such as `python_version < "3.11" and sys_platform == 'linux'`.
fn is_marker(text: &str) -> bool {
    text.chars().all(|character| is_of_name(character) || " <>=!~()'\",+*".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_versions_and_conditions_are_taken() {
        for line in [
            "requests",
            "requests==2.32",
            "pandas    >=2",
            "ruamel.yaml~=0.18",
            "uvicorn[standard, extra] >=0.30,<1 ; python_version < \"3.13\" and sys_platform == 'linux'",
            "numpy (>=1.26, !=2.0.*)",
            "torch===2.4.1+cpu",
            "attrs==24.2.0 --hash=sha256:5cfb1b9148b5 --hash=sha256:81921eb96de3",
            "--index-url https://packages.example/simple",
            "--extra-index-url=http://10.0.0.7:3141/simple",
            "-i https://user:word@packages.example/simple",
            "--pre",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn what_opens_files_or_runs_code_is_not() {
        for line in [
            "",
            "-c /etc/shadow",
            "-c/etc/shadow",
            "-r/etc/shadow",
            "--requirement=/etc/shadow",
            "--constraint /etc/shadow",
            "-e .",
            "--editable=.",
            "--no-binary :all:",
            "--no-binary=attrs",
            "--find-links /root",
            "-f file:///root",
            "--index-url file:///root",
            "--index-url https://other.example/${PIP_INDEX_URL}",
            "--index-url https://a.example -c /etc/shadow",
            "--trusted-host other.example",
            "/run/evil",
            "./evil",
            "../evil",
            "evil/",
            "evil.whl",
            "evil-1.0.tar.gz",
            "evil @ file:///run/evil.tar.gz",
            "evil@https://other.example/evil-1-py3-none-any.whl",
            "git+https://other.example/evil",
            "https://other.example/evil.tar.gz",
            "attrs --config-settings=a=b",
            "attrs==1 --hash=sha256:../../x",
            "attrs==1; python_version<'3' @ file:///x",
            "attrs==$HOME",
            "attrs\n-c /etc/shadow",
            "attrs==1\n-c /etc/shadow",
            "attrs; a\n-c /etc/shadow",
            "attrs >= 2 3/4",
            "attrs[x",
        ] {
            assert!(check(line).is_err(), "{line:?}");
        }
    }
}
