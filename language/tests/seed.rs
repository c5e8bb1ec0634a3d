//! The first example of the language compiles as it stands.

use bue_language::{Files, compile};

struct Beside;

impl Files for Beside {
    fn has(&self, path: &str) -> bool {
        path == "example.py"
    }

    fn paths(&self) -> Vec<String> {
        vec!["example.py".to_owned()]
    }
}

#[test]
fn the_first_example_compiles_as_it_stands() {
    let compiled = compile("example.bue", include_bytes!("scripts/seed.bue"), &Beside);
    assert_eq!(compiled.diagnostics, []);
    let plan = compiled.plan.expect("a plan");
    let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["accounts", "request", "status", "download", "manipulate_data", "py_transform", "upload"]);
    assert_eq!((plan.sources.len(), plan.body.len()), (2, 1));
}
