//! No text hangs the compiler or makes it take more than its share.

use bue_language::limits::*;
use bue_language::{Compiled, Files, compile};

struct Anything;

impl Files for Anything {
    fn has(&self, _: &str) -> bool {
        true
    }

    fn paths(&self) -> Vec<String> {
        Vec::new()
    }
}

const STEP: &str = "a:\n    python\n    f\n    a.py\np = | a\n";

fn of(text: &str) -> Compiled {
    compile("script.bue", text.as_bytes(), &Anything)
}

fn messages(text: &str) -> Vec<String> {
    of(text).diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
}

#[test]
fn a_script_that_is_too_large_is_one_error() {
    let text = "#".repeat(SCRIPT_BYTES_MAX + 1);
    let compiled = of(&text);
    assert!(compiled.plan.is_none());
    assert_eq!(compiled.diagnostics.len(), 1);
    assert!(compiled.diagnostics[0].message.contains(&SCRIPT_BYTES_MAX.to_string()));
    assert!(of(&text[1..]).plan.is_some());
}

#[test]
fn of_too_many_errors_the_first_ones_are_reported_and_the_rest_is_counted() {
    let text = format!("{STEP}{}", "p(x)\n".repeat(10 * DIAGNOSTICS_MAX));
    let diagnostics = of(&text).diagnostics;
    assert_eq!(diagnostics.len(), DIAGNOSTICS_MAX + 1);
    assert_eq!((diagnostics[0].line, diagnostics[DIAGNOSTICS_MAX - 1].line), (6, 105));
    let last = &diagnostics[DIAGNOSTICS_MAX];
    assert_eq!(last.message, format!("{} more problems are not shown", 9 * DIAGNOSTICS_MAX));
}

#[test]
fn a_first_error_is_reported_however_many_warnings_come_before_it() {
    let steps: String = (0..20_000).map(|number| format!("s{number}:\n    python\n    f\n    a.py\n")).collect();
    let diagnostics = of(&format!("{steps}{STEP}p(x)\n")).diagnostics;
    assert_eq!(diagnostics.len(), DIAGNOSTICS_MAX + 1);
    assert!(diagnostics.iter().any(|diagnostic| diagnostic.message == "variable `x` is not defined"));
}

#[test]
fn loops_inside_loops_are_limited() {
    let nested = |depth: usize| {
        let loops: String = (0..depth).map(|level| format!("{}for x in p():\n", "    ".repeat(level))).collect();
        format!("{STEP}{loops}{}p(x)\n", "    ".repeat(depth))
    };
    let plan = of(&nested(LOOP_DEPTH_MAX)).plan.expect("as deep as is allowed");
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<protocol::Plan>(&json).unwrap(), plan);
    assert_eq!(messages(&nested(LOOP_DEPTH_MAX + 1)), [format!("more than {LOOP_DEPTH_MAX} loops inside loops")]);
    assert!(of(&nested(2_000)).plan.is_none());
}

#[test]
fn brackets_inside_brackets_are_limited() {
    for open in ["p(", "p = (", "import python (a !timeout ", "!timeout ", "for x in p("] {
        let deep = format!("{STEP}{open}{}1{}\n", "(".repeat(100_000), ")".repeat(100_001));
        assert!(of(&deep).plan.is_none());
    }
}

#[test]
fn the_number_of_steps_is_limited() {
    let items: String = (0..=STEPS_MAX).map(|number| format!("s{number},\n")).collect();
    let text = format!("{STEP}p()\nimport python (\n{items}) a.py\n");
    let found = messages(&text);
    assert!(found.contains(&format!("a script defines at most {STEPS_MAX} steps")));
}

#[test]
fn the_jobs_of_a_plan_are_limited() {
    let pipe = "a | ".repeat(1_000);
    let text = |calls: usize| format!("{STEP}q = {pipe}\n{}", "q()\n".repeat(calls));
    assert!(of(&text(PLANNED_JOBS_MAX / 1_000)).plan.is_some());
    let found = messages(&text(PLANNED_JOBS_MAX / 1_000 + 50));
    let expected = format!("the calls of the script make more than {PLANNED_JOBS_MAX} jobs");
    assert_eq!(found.iter().filter(|message| **message == expected).count(), 1);
}

#[test]
fn the_length_of_a_name_is_limited() {
    let text = |length: usize| format!("{STEP}{} = p()\n", "ü".repeat(length));
    assert!(of(&text(NAME_CHARS_MAX)).plan.is_some());
    assert!(of(&text(NAME_CHARS_MAX + 1)).plan.is_none());
}

#[test]
fn what_repeats_takes_linear_time() {
    let started = std::time::Instant::now();
    for line in ["p(\n", "p = (\n", "import python (\n", "a:\n    (\n", "p(`\n", "`\n", "!timeout (\n", "for x in p(\n"]
    {
        of(&line.repeat(20_000));
    }
    for run in ["(", ")", "`", "` ", "` a", " ", "ü", "{", "{\"a\":", "[", "x,", "a ", "\u{a0}", "a\r"] {
        of(&run.repeat(200_000 / run.len()));
        of(&format!("a:\n    {}", run.repeat(200_000 / run.len())));
        of(&format!("{{\"a\":{}", run.repeat(200_000 / run.len())));
    }
    let settings = "!9 ".repeat(100_000);
    assert!(bue_language::format(&settings).is_ok_and(|formatted| formatted.len() == settings.len()));
    of(&format!("p({}", "a,".repeat(100_000)));
    of(&format!("p = {}", "a|".repeat(100_000)));
    of(&format!("{} = | a", "word ".repeat(50_000)));
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
}
