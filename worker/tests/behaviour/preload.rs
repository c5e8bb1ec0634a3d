//! Modules that are loaded before the processes of steps are forked: steps find what they would have found without it.

use std::time::{Duration, Instant};

use crate::fake_hub::{Fleet, Work, python};

/// A step that imports something and returns whether it was there already.
const HAD: &str =
    "import sys\nhad = 'xml.dom.minidom' in sys.modules\nimport xml.dom.minidom\ndef step():\n    return had\n";

/// Runs a step again and again until it returns this.
async fn returned_at_last(fleet: &Fleet, work: impl Fn() -> Work, value: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = fleet.value(work()).await;
        if found == value {
            return;
        }
        assert!(Instant::now() < deadline, "it still returns {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_steps_import_is_loaded_before_they_are_forked() {
    let fleet = Fleet::start();
    assert_eq!(fleet.value(python(HAD)).await, "false");
    returned_at_last(&fleet, || python(HAD), "true").await;
    let other = "import sys\ndef step():\n    return 'xml.dom' in sys.modules\n";
    for _ in 0..5 {
        assert_eq!(fleet.value(python(other)).await, "false", "a step that does not import it");
    }
}

#[tokio::test]
async fn a_step_with_little_memory_does_not_share_what_others_have_loaded() {
    let fleet = Fleet::start();
    returned_at_last(&fleet, || python(HAD), "true").await;
    let small = || python(HAD).set(|settings| settings.runtime.memory_bytes = Some(24 << 20));
    assert_eq!(fleet.value(small()).await, "false");
    assert_eq!(fleet.value(python(HAD)).await, "true");
}

#[tokio::test]
async fn nothing_is_loaded_where_the_settings_say_so() {
    let fleet = Fleet::with(|config| config.limits.preloads_max = 0);
    for _ in 0..5 {
        assert_eq!(fleet.value(python(HAD)).await, "false");
    }
}

#[tokio::test]
async fn a_module_of_the_bundle_hides_one_of_the_same_name_also_from_what_is_loaded() {
    let fleet = Fleet::start();
    // `xml.dom.minidom` has need of `xml.dom`; `quopri` is the bundle's own, and `email.encoders` would take another one.
    let code = "import sys\nhad = 'email.encoders' in sys.modules, 'wave' in sys.modules\nimport wave, quopri\nimport email.encoders\n\
         def step():\n    return [*had, quopri.WORD]\n";
    let work = || python(code).file("quopri.py", "WORD = 'ours'\nencodestring = None\n");
    returned_at_last(&fleet, work, r#"[false,true,"ours"]"#).await;
}

#[tokio::test]
async fn a_module_that_cannot_be_loaded_is_the_steps_own_matter() {
    let fleet = Fleet::start();
    let code = "import sys\nhad = 'wave' in sys.modules\nimport wave\ntry:\n    import there_is_none\nexcept ImportError as error:\n    missing = error.name\n\
         def step():\n    return [had, missing]\n";
    returned_at_last(&fleet, || python(code), r#"[true,"there_is_none"]"#).await;
}

#[tokio::test]
async fn random_numbers_differ_between_forks() {
    let fleet = Fleet::start();
    let code = "import sys\nhad = 'random' in sys.modules and 'statistics' in sys.modules\nimport random, statistics\n\
         def step():\n    return [had, random.random()]\n";
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let value = fleet.value(python(code)).await;
        if value.starts_with("[true") {
            assert!(!seen.contains(&value), "{value} twice");
            seen.push(value);
        }
        assert!(Instant::now() < deadline, "only {} of them", seen.len());
    }
}

#[tokio::test]
async fn what_a_step_does_to_a_loaded_module_is_not_seen_by_the_next_one() {
    let fleet = Fleet::start();
    let code = "import sys\nhad = 'wave' in sys.modules\nimport wave\n\
         def step():\n    found = getattr(wave, 'mark', None)\n    wave.mark = 1\n    return [had, found]\n";
    returned_at_last(&fleet, || python(code), "[true,null]").await;
    for _ in 0..3 {
        assert_eq!(fleet.value(python(code)).await, "[true,null]");
    }
}
