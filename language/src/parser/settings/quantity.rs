//! Quantities with a unit: durations as `90s`, sizes as `512MB`.

/// Units of time and their milliseconds, in the order in which messages name them.
const DURATIONS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 24 * 3_600_000)];

/// Units of size and their bytes.
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A duration in milliseconds: a number and `ms`, `s`, `m`, `h` or `d`.
pub fn duration_ms(written: &str) -> Option<u64> {
    quantity(written, |unit| find(&DURATIONS, |name| name == unit))
}

/// A size in bytes: a number and `KB`, `MB`, `GB`, or `KiB`, `MiB`, `GiB`; the case of its letters is free.
pub fn size_bytes(written: &str) -> Option<u64> {
    quantity(written, |unit| find(&SIZES, |name| name.eq_ignore_ascii_case(unit)))
}

fn find(units: &[(&str, u64)], is_it: impl Fn(&str) -> bool) -> Option<u64> {
    units.iter().find(|(name, _)| is_it(name)).map(|(_, factor)| *factor)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn quantity(written: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let unit_at = written.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = written.split_at(unit_at);
    let factor = factor(unit.trim_start_matches([' ', '\t']))?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let number: f64 = number.parse().ok()?;
    let product = (number * factor as f64).round();
    (product < u64::MAX as f64).then_some(product as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(duration_ms("1s"), Some(1_000));
        assert_eq!(duration_ms("250ms"), Some(250));
        assert_eq!(duration_ms("1.5 m"), Some(90_000));
        assert_eq!(duration_ms("2h"), Some(7_200_000));
        for wrong in ["", "1", "s", "1 S", "-1s", "1..2s", "1s2", "99999999999999999999999d"] {
            assert_eq!(duration_ms(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_size_is_in_powers_of_1000_or_of_1024() {
        assert_eq!(size_bytes("512MB"), Some(512_000_000));
        assert_eq!(size_bytes("512 mib"), Some(512 << 20));
        assert_eq!(size_bytes("1.5GB"), Some(1_500_000_000));
        for wrong in ["512", "512M", "MB", "-1MB", "1,5GB", "99999999999GB"] {
            assert_eq!(size_bytes(wrong), None, "{wrong:?}");
        }
    }
}
