//! Names in `.env` and in the environment that look like settings and are none: most often a slip of the pen.

/// Beginnings of names that are ours alone.
const PREFIXES: &[&str] = &["BUE_", "PIPE"];
/// Letters that may differ in a name that was meant.
const DISTANCE_MAX: usize = 3;
/// Variables that are ours and no settings: what steps get, and what tests, measurements and scripts go by.
const OTHERS: &[&str] = &[
    "BUE_ATTEMPT",
    "BUE_ATTEMPT_KEY",
    "BUE_ATTEMPT_MARK",
    "BUE_AWS",
    "BUE_BIN",
    "BUE_DUCKDB_CACHE",
    "BUE_JOB",
    "BUE_RUN",
    "BUE_UV",
    "BUE_WEED",
];
/// Beginnings of the names of such variables.
const OTHER_PREFIXES: &[&str] =
    &[protocol::secret::CONNECTION_PREFIX, "BUE_BENCH_", "BUE_FAULTS_", "BUE_MODEL_", "BUE_PRACTICE", "BUE_TEST_"];
/// Its tables name every setting, which a test of [`super::table`] sees to.
const DOCUMENTATION: &str = include_str!("../../docs/settings.md");

/// What to tell the user of `name`, where it is no setting.
pub fn warning(name: &str) -> Option<String> {
    if !is_unknown(name) {
        return None;
    }
    Some(meant(name).unwrap_or_else(|| format!("`{name}` is no setting and is not used: docs/settings.md shows all")))
}

/// The same of a name in the environment, where other programs have theirs: of those that do not begin as ours alone do
/// (`PIPENV_ACTIVE`) only what was meant is told.
pub fn warning_of_environment(name: &str) -> Option<String> {
    if name.starts_with("BUE_") { warning(name) } else { meant(name).filter(|_| is_unknown(name)) }
}

fn is_unknown(name: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    begins(PREFIXES) && !begins(OTHER_PREFIXES) && !OTHERS.contains(&name) && known().all(|known| known != name)
}

/// The question whether the nearest known name was meant, where one is near.
fn meant(name: &str) -> Option<String> {
    let (distance, known) = known().map(|known| (distance(known, name), known)).min()?;
    (distance <= DISTANCE_MAX).then(|| format!("`{name}` is no setting and is not used: did you mean `{known}`?"))
}

fn known() -> impl Iterator<Item = &'static str> {
    DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next())
}

/// How many letters must be put in, taken out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, other_letter) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other_letter);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_meant_is_offered() {
        assert_eq!(
            warning("PIPELINE_PROT").unwrap(),
            "`PIPELINE_PROT` is no setting and is not used: did you mean `PIPELINE_PORT`?"
        );
        assert!(warning("BUE_WORKER_PATIENC").unwrap().contains("`BUE_WORKER_PATIENCE`"));
        assert!(warning("BUE_SOMETHING_ELSE_ALTOGETHER").unwrap().contains("docs/settings.md"));
    }

    #[test]
    fn settings_and_names_of_others_are_left_alone() {
        for name in [
            "PIPELINE_PORT",
            "BUE_TOKEN",
            "BUE_LAPSE",
            "PIPE_WORKER_SCOPES",
            "BUE_CONNECTION_WAREHOUSE",
            "DATABASE_URL",
            "PATH",
        ] {
            assert_eq!((warning(name), warning_of_environment(name)), (None, None));
        }
    }

    #[test]
    fn of_the_environment_names_of_other_programs_are_left_alone_too() {
        for name in ["PIPENV_ACTIVE", "PIPELINE_WORKSPACE", "BUE_TEST_VENV", "BUE_ATTEMPT_KEY", "BUE_RUN"] {
            assert_eq!(warning_of_environment(name), None);
        }
        assert!(warning_of_environment("PIPELINE_PROT").unwrap().contains("`PIPELINE_PORT`"));
        assert!(warning_of_environment("BUE_NOSUCH").unwrap().contains("docs/settings.md"));
    }
}
