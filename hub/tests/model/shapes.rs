//! Scripts that the model test submits: chains, several inputs, loops, nested loops, results of outer blocks.

use std::collections::HashMap;

use protocol::{Backoff, Digest, FileEntry, Manifest, Plan};

/// A loop's source, its variable, and how many jobs a pass has.
type Loop = (&'static str, &'static str, i64);

/// Steps are named by their pipe's letter and their place in it: so it is known how many follow.
const SHAPES: &[(&[&str], &str, &[Loop])] = &[
    (&["a0", "a1 !retries 3,!backoff 100ms..250ms", "a2 !scope s1"], "p = a0 | a1 | a2\np()\n", &[]),
    (
        &["a0 !priority 2", "b0", "b1 !scope s1,!retries 2", "c0 !timeout 1"],
        "p = | a0\nq = b0 | b1\nr = | c0\nv = p()\nw = q(v)\nr(v, w, v)\nq(w)\n",
        &[],
    ),
    (
        &["a0", "a1", "b0 !retries 1", "b1 !priority 1"],
        "p = a0 | a1\nq = b0 | b1\nfor x in p():\n    q(x)\n",
        &[("a1", "x", 2)],
    ),
    (
        &["a0", "b0 !scope s1", "c0 !scope s2", "d0", "d1", "e0 !priority 3"],
        "p = | a0\nq = | b0\nr = | c0\ns = d0 | d1\nt = | e0\n\
         v = r()\nfor x in p():\n    w = q(x, v)\n    for y in s(w):\n        t(y, v, x)\n        q(y, w)\n",
        &[("a0", "x", 3), ("d1", "y", 2)],
    ),
];

pub struct Shape {
    pub text: String,
    pub digest: Digest,
    pub manifest: Manifest,
    pub plan: Plan,
    followers: HashMap<String, u64>,
    loops: &'static [Loop],
}

impl Shape {
    pub fn followers(&self, name: &str) -> u64 {
        self.followers.get(name).copied().unwrap_or(0)
    }

    /// Jobs in each pass of the loop that a job of this name feeds, or that an item of this name is of.
    pub fn jobs_of_pass(&self, name: &str) -> i64 {
        let variable = name.split('_').next().unwrap();
        let of = self.loops.iter().find(|(source, own, _)| *source == name || *own == variable);
        of.map_or(0, |(.., jobs)| *jobs)
    }

    /// The backoff that a step names for itself.
    pub fn backoff(&self, name: &str) -> Option<Backoff> {
        self.plan.steps.iter().find(|step| step.name == name)?.settings.backoff
    }
}

struct OneFile;

impl language::Files for OneFile {
    fn has(&self, path: &str) -> bool {
        path == "model.bue"
    }

    fn paths(&self) -> Vec<String> {
        vec!["model.bue".to_owned()]
    }
}

pub fn all() -> Vec<Shape> {
    SHAPES.iter().map(|(steps, rest, loops)| shape(steps, rest, loops)).collect()
}

fn shape(steps: &[&str], rest: &str, loops: &'static [Loop]) -> Shape {
    let text = crate::rig::script(steps, rest);
    let compiled = language::compile("model.bue", text.as_bytes(), &OneFile);
    let plan = compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    let names: Vec<&str> = steps.iter().map(|step| step.split(' ').next().unwrap()).collect();
    let of_pipe = |letter: &str| names.iter().filter(|name| name.starts_with(letter)).count() as u64;
    let place = |name: &str| name[1..].parse::<u64>().unwrap();
    let followers = names.iter().map(|name| ((*name).to_owned(), of_pipe(&name[..1]) - place(name) - 1)).collect();
    let digest = Digest::of(text.as_bytes());
    let file = FileEntry { path: "model.bue".into(), digest, bytes: text.len() as u64 };
    Shape { manifest: Manifest::new(vec![file]), digest, plan, followers, loops, text }
}
