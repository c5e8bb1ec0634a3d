//! Names in `.env` that look like settings and are none: most often a slip of the pen.

/// Beginnings of names that are ours alone.
const PREFIXES: &[&str] = &["BUE_", "PIPE"];
/// Letters that may differ in a name that was meant.
const DISTANCE_MAX: usize = 3;
/// Its tables name every setting, which a test of [`super::table`] sees to.
const DOCUMENTATION: &str = include_str!("../../docs/settings.md");

/// What to tell the user of `name`, where it is no setting.
pub fn warning(name: &str) -> Option<String> {
    let is_connection = name.starts_with(protocol::secret::CONNECTION_PREFIX);
    if is_connection || !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || known().any(|known| known == name) {
        return None;
    }
    let nearest = known().map(|known| (distance(known, name), known)).min();
    Some(match nearest {
        Some((distance, known)) if distance <= DISTANCE_MAX => {
            format!("`{name}` is no setting and is not used: did you mean `{known}`?")
        }
        _ => format!("`{name}` is no setting and is not used: docs/settings.md shows all"),
    })
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
            assert_eq!(warning(name), None);
        }
    }
}
