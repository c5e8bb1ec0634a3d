//! Other versions of Python on this machine.

use std::path::Path;

use super::EnvironmentError;
use crate::python::{Python, VERSION_MIN, find_python};

/// The newest minor version of Python 3 that is looked for.
const MINOR_MAX: u32 = 30;

/// An interpreter that fits `wanted`, a version (`3.12`) or bounds (`>=3.11,<3.14`): the worker's own, or one on the `PATH`.
pub(super) fn find(wanted: &str, own: &Python) -> Result<Python, EnvironmentError> {
    let bounds = Bounds::parse(wanted).ok_or_else(|| {
        EnvironmentError::Wrong(format!(
            "`{wanted}` is no version of Python: expected one such as 3.12, or bounds such as >=3.11"
        ))
    })?;
    let own_fits = bounds.fit(&own.version);
    if own_fits {
        return Ok(own.clone());
    }
    let mut here = vec![own.version.clone()];
    for minor in (VERSION_MIN.1..=MINOR_MAX).rev() {
        let Ok(found) = find_python(Some(Path::new(&format!("python3.{minor}")))) else { continue };
        if bounds.fit(&found.version) {
            return Ok(found);
        }
        if !here.contains(&found.version) {
            here.push(found.version);
        }
    }
    Err(EnvironmentError::NoPython { wanted: wanted.to_owned(), here: here.join(", ") })
}

/// Bounds of a version, all of which it must keep.
struct Bounds(Vec<(String, Vec<u32>)>);

impl Bounds {
    fn parse(text: &str) -> Option<Self> {
        text.split(',').map(|part| bound(part.trim())).collect::<Option<_>>().map(Self)
    }

    fn fit(&self, version: &str) -> bool {
        let Some(version) = numbers(version) else { return false };
        self.0.iter().all(|(operator, bound)| keeps(operator, bound, &version))
    }
}

fn bound(text: &str) -> Option<(String, Vec<u32>)> {
    let digits = text.find(|character: char| character.is_ascii_digit())?;
    let operator = match text[..digits].trim() {
        "" => "==",
        operator @ (">=" | "<=" | "==" | "!=" | "~=" | ">" | "<") => operator,
        _ => return None,
    };
    Some((operator.to_owned(), numbers(text[digits..].trim_end_matches(".*"))?))
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// A bound with fewer numbers stands for all versions that begin with them.
fn keeps(operator: &str, bound: &[u32], version: &[u32]) -> bool {
    let begins = version.starts_with(bound);
    match operator {
        "==" => begins,
        "!=" => !begins,
        ">=" => version >= bound,
        "<=" => version <= bound || begins,
        ">" => version > bound && !begins,
        "<" => version < bound,
        _ => version >= bound && version.starts_with(&bound[..bound.len().saturating_sub(1).max(1)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_fits_its_bounds() {
        for (bounds, version, fits) in [
            ("3.12", "3.12.4", true),
            ("3.12", "3.1.2", false),
            (">=3.11", "3.11.0", true),
            (">=3.11, <3.13", "3.13.0", false),
            ("~=3.11", "3.14.1", true),
            ("==3.11.*", "3.11.7", true),
            ("!=3.11.*", "3.11.7", false),
            (">3.11", "3.11.7", false),
            ("<=3.11", "3.11.7", true),
        ] {
            assert_eq!(Bounds::parse(bounds).unwrap().fit(version), fits, "{bounds} {version}");
        }
        for bounds in ["", "x", "=3.1", "3.x", ">=3.11,"] {
            assert!(Bounds::parse(bounds).is_none(), "{bounds}");
        }
    }

    #[test]
    fn the_workers_own_interpreter_is_taken_where_it_fits() {
        let own = find_python(None).unwrap();
        assert_eq!(find(">=3.9", &own).unwrap(), own);
        let error = find("2.7", &own).unwrap_err().to_string();
        assert!(error.contains("2.7") && error.contains(&own.version), "{error}");
    }
}
