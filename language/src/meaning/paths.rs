//! Paths of step files: written beside the script, meant from the bundle's root.

/// Why a path cannot be that of a file in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It begins at the root of a machine.
    #[error("is absolute")]
    Absolute,
    /// It leads out of the bundle.
    #[error("leads out of the script's bundle")]
    Outside,
    /// It ends in a folder.
    #[error("names a folder")]
    Folder,
}

/// The bundle path of a file that is written in a script.
pub fn resolve(script: &str, written: &str) -> Result<String, PathError> {
    let bytes = written.as_bytes();
    let drive =
        bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'/' | b'\\');
    if written.starts_with('/') || written.starts_with('~') || drive {
        return Err(PathError::Absolute);
    }
    let mut parts: Vec<&str> = folder(script).split('/').filter(|part| !part.is_empty()).collect();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or(PathError::Outside)?;
            }
            _ => parts.push(part),
        }
    }
    let last = written.rsplit('/').next().unwrap_or("");
    if parts.is_empty() || matches!(last, "" | "." | "..") { Err(PathError::Folder) } else { Ok(parts.join("/")) }
}

/// A bundle path as it would be written in a script.
pub fn beside(script: &str, path: &str) -> String {
    let (mut from, mut to) = (parts(folder(script)), parts(path));
    let shared = from.iter().zip(&to).take_while(|(left, right)| left == right).count();
    let climbs = from.split_off(shared).len();
    let rest = to.split_off(shared);
    std::iter::repeat_n("..", climbs).chain(rest).collect::<Vec<_>>().join("/")
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

fn folder(script: &str) -> &str {
    script.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_file_is_found_beside_the_script() {
        assert_eq!(resolve("x.bue", "a.py").unwrap(), "a.py");
        assert_eq!(resolve("jobs/x.bue", "a.py").unwrap(), "jobs/a.py");
        assert_eq!(resolve("jobs/x.bue", "./steps//a b.py").unwrap(), "jobs/steps/a b.py");
        assert_eq!(resolve("jobs/x.bue", "../lib/a.py").unwrap(), "lib/a.py");
    }

    #[test]
    fn a_path_that_leaves_the_bundle_is_an_error() {
        assert_eq!(resolve("x.bue", "../a.py"), Err(PathError::Outside));
        assert_eq!(resolve("x.bue", "/etc/a.py"), Err(PathError::Absolute));
        assert_eq!(resolve("x.bue", "C:\\a.py"), Err(PathError::Absolute));
        assert_eq!(resolve("jobs/x.bue", ".."), Err(PathError::Folder));
        assert_eq!(resolve("x.bue", "steps/"), Err(PathError::Folder));
    }

    #[test]
    fn a_bundle_path_is_shown_as_it_is_written_in_the_script() {
        assert_eq!(beside("jobs/x.bue", "jobs/a.py"), "a.py");
        assert_eq!(beside("jobs/x.bue", "lib/a.py"), "../lib/a.py");
        assert_eq!(beside("x.bue", "lib/a.py"), "lib/a.py");
    }
}
