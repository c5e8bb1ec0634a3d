//! The few places in SQL code that are filled in before it runs.
//!
//! `{{uuid|name}}` and `{{uuid:name}}` become one fresh id for each name and attempt; `{{scope}}`, `{{priority}}`,
//! `{{timeout}}` and `{{retries}}` the step's settings. All other braces stay as they are.

use std::collections::HashMap;

use protocol::plan::Settings;

/// `code` with its places filled in. `fresh_id` makes a new id each time.
pub(crate) fn fill(code: &str, settings: &Settings, mut fresh_id: impl FnMut() -> String) -> String {
    let mut ids: HashMap<&str, String> = HashMap::new();
    let mut filled = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find("{{") {
        filled.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let Some(length) = inside.find("}}") else {
            rest = &rest[start..];
            break;
        };
        let place = &inside[..length];
        if let Some(name) = id_name(place) {
            filled.push_str(ids.entry(name).or_insert_with(&mut fresh_id));
        } else if let Some(value) = setting(place.trim(), settings) {
            filled.push_str(&value);
        } else {
            // One brace only: `{{{scope}}` has its place one further on.
            filled.push('{');
            rest = &rest[start + 1..];
            continue;
        }
        rest = &inside[length + 2..];
    }
    filled.push_str(rest);
    filled
}

fn id_name(place: &str) -> Option<&str> {
    let rest = place.trim().strip_prefix("uuid")?.trim_start();
    let name = rest.strip_prefix('|').or_else(|| rest.strip_prefix(':'))?.trim();
    (!name.is_empty()).then_some(name)
}

fn setting(name: &str, settings: &Settings) -> Option<String> {
    match name {
        "scope" => Some(settings.scope.clone()),
        "priority" => Some(settings.priority.to_string()),
        "timeout" => Some((settings.timeout_ms as f64 / 1_000.0).to_string()),
        "retries" => Some(settings.retries.to_string()),
        _ => None,
    }
}

/// A random id in the usual form of a version 4 UUID.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    // RFC 9562, section 5.4: the version and the variant.
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = bytes.map(|byte| format!("{byte:02x}")).concat();
    Ok([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(code: &str) -> String {
        let settings =
            Settings { scope: "heavy".to_owned(), priority: -3, timeout_ms: 1_500, retries: 2, ..Settings::default() };
        let mut count = 0;
        fill(code, &settings, || {
            count += 1;
            format!("id{count}")
        })
    }

    #[test]
    fn one_id_for_each_name() {
        assert_eq!(filled("{{uuid|a}} {{uuid:b}} {{ uuid | a }}"), "id1 id2 id1");
    }

    #[test]
    fn settings_are_filled_in() {
        assert_eq!(filled("'{{scope}}' {{priority}} {{timeout}} {{ retries }}"), "'heavy' -3 1.5 2");
    }

    #[test]
    fn other_braces_stay() {
        for code in ["{{name}}", "{{", "{ {scope} }", "}}{{uuid}}", "{{uuid|}}", "'{\"a\":{}}'", "{{ü"] {
            assert_eq!(filled(code), code);
        }
        assert_eq!(filled("{{{scope}}}"), "{heavy}");
        assert_eq!(filled("{{a {{scope}}"), "{{a heavy");
    }

    #[test]
    fn a_random_id_has_the_form_of_a_uuid() {
        let id = random_id().unwrap();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert_ne!(id, random_id().unwrap());
    }
}
