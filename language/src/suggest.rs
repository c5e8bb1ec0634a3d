//! "Did you mean": the name nearest to a misspelt one.

/// Longest name that is compared, in characters.
const COMPARED_CHARS_MAX: usize = 64;

/// The nearest of these names, where one is near enough to be meant.
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted: Vec<char> = word.to_lowercase().chars().take(COMPARED_CHARS_MAX).collect();
    let allowed = (wanted.len() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for name in names {
        let within = best.map_or(allowed, |(distance, _)| distance.saturating_sub(1));
        if name.chars().count().abs_diff(wanted.len()) > within || name == word {
            continue;
        }
        let candidate: Vec<char> = name.to_lowercase().chars().take(COMPARED_CHARS_MAX).collect();
        let distance = distance(&wanted, &candidate);
        if distance <= within && distance < wanted.len() {
            best = Some((distance, name));
        }
        if distance == 0 {
            break;
        }
    }
    best.map(|(_, name)| name)
}

/// Inserted, removed, changed characters and swapped neighbours (optimal string alignment).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let changed = above[column] + usize::from(a != b);
            let mut cost = changed.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *a == right[column - 1] && left[row - 1] == *b {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let names = ["download", "upload", "status"];
        assert_eq!(nearest("downlaod", names), Some("download"));
        assert_eq!(nearest("Status", names), Some("status"));
        assert_eq!(nearest("statsu", names), Some("status"));
    }

    #[test]
    fn a_different_word_finds_nothing() {
        assert_eq!(nearest("transform", ["download", "upload", "a"]), None);
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest("", ["a"]), None);
    }

    #[test]
    fn the_nearest_one_wins() {
        assert_eq!(nearest("report_1", ["report_22", "report_2", "report_12"]), Some("report_2"));
    }
}
