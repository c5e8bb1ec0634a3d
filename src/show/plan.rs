//! A plan without a run: the jobs of one pass over every block, as JSON, as a tree, or drawn.

use std::collections::HashMap;
use std::fmt::Write as _;

use protocol::{Argument, Backoff, Call, CallId, LoopId, Plan, Runtime, Settings, Statement};
use serde::Serialize;

/// What a script would do.
#[derive(Debug, Serialize)]
pub struct PlanDocument {
    jobs: Vec<PlannedJob>,
    /// Nothing has run.
    results: [(); 0],
    loops: Vec<PlannedLoop>,
}

/// A job of one pass.
#[derive(Debug, Serialize)]
struct PlannedJob {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    item: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    build: bool,
    language: &'static str,
    scope: String,
    priority: i64,
    timeout: serde_json::Number,
    retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    #[serde(skip_serializing_if = "Runtime::is_default")]
    runtime: Runtime,
    status: &'static str,
    parents: Vec<String>,
}

/// A loop, with the jobs of one pass.
#[derive(Debug, Serialize)]
struct PlannedLoop {
    variable: String,
    pipe: String,
    line: u32,
    jobs: Vec<PlannedJob>,
    loops: Vec<PlannedLoop>,
}

impl PlanDocument {
    /// The jobs of a plan.
    pub fn of(plan: &Plan) -> Self {
        let (jobs, loops) =
            Planning { plan, jobs: 0, results: HashMap::new(), items: HashMap::new() }.block(&plan.body);
        Self { jobs, results: [], loops }
    }

    /// A tree for people.
    pub fn tree(&self) -> String {
        let mut text = String::new();
        tree(&self.jobs, &self.loops, 0, &mut text);
        if text.is_empty() { "no jobs\n".to_owned() } else { text }
    }

    /// A drawing in the language of Graphviz.
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph plan {\n    rankdir=LR;\n    node [shape=box];\n");
        let mut number = 0;
        dot_block(&self.jobs, &self.loops, 1, &mut number, &mut text);
        text.push_str("}\n");
        text
    }

    /// A drawing in the language of Mermaid.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let mut number = 0;
        mermaid_block(&self.jobs, &self.loops, 1, &mut number, &mut text);
        text
    }
}

struct Planning<'p> {
    plan: &'p Plan,
    jobs: usize,
    /// Last jobs of calls.
    results: HashMap<CallId, String>,
    /// Items of loops.
    items: HashMap<LoopId, String>,
}

impl Planning<'_> {
    fn block(&mut self, statements: &[Statement]) -> (Vec<PlannedJob>, Vec<PlannedLoop>) {
        let (mut jobs, mut loops) = (Vec::new(), Vec::new());
        for statement in statements {
            match statement {
                Statement::Call(call) => self.call(call, false, &mut jobs),
                Statement::Loop(of) => {
                    self.call(&of.source, true, &mut jobs);
                    let item = self.item(&of.variable, &of.source);
                    self.items.insert(of.id, item.id.clone());
                    let (mut inner, inner_loops) = self.block(&of.body);
                    inner.insert(0, item);
                    loops.push(PlannedLoop {
                        variable: of.variable.clone(),
                        pipe: of.source.pipe.clone(),
                        line: of.line,
                        jobs: inner,
                        loops: inner_loops,
                    });
                }
            }
        }
        (jobs, loops)
    }

    fn call(&mut self, call: &Call, build: bool, jobs: &mut Vec<PlannedJob>) {
        let mut parents: Vec<String> = call.arguments.iter().map(|argument| self.parent(argument)).collect();
        for step in &call.steps {
            let Some(step) = self.plan.steps.get(*step as usize) else { continue };
            let id = self.next_id();
            let parents = std::mem::replace(&mut parents, vec![id.clone()]);
            let job = planned(id, step.name.clone(), step.language.as_str(), &step.settings, parents);
            jobs.push(PlannedJob { build, ..job });
        }
        self.results.insert(call.id, parents.pop().unwrap_or_default());
    }

    /// The item of a pass: its settings are those of the source's last step.
    fn item(&mut self, variable: &str, source: &Call) -> PlannedJob {
        let step = source.steps.last().and_then(|step| self.plan.steps.get(*step as usize));
        let settings = step.map_or_else(Settings::default, |step| step.settings.clone());
        let job = planned(self.next_id(), format!("{variable}_0"), "python", &settings, Vec::new());
        PlannedJob { item: true, ..job }
    }

    fn next_id(&mut self) -> String {
        self.jobs += 1;
        format!("j{}", self.jobs)
    }

    fn parent(&self, argument: &Argument) -> String {
        let found = match argument {
            Argument::Call(id) => self.results.get(id),
            Argument::Item(id) => self.items.get(id),
        };
        found.cloned().unwrap_or_default()
    }
}

fn planned(id: String, name: String, language: &'static str, settings: &Settings, parents: Vec<String>) -> PlannedJob {
    PlannedJob {
        id,
        name,
        item: false,
        build: false,
        language,
        scope: settings.scope.clone(),
        priority: settings.priority,
        timeout: super::json::seconds(settings.timeout_ms),
        retries: settings.retries,
        backoff: settings.backoff,
        runtime: settings.runtime.clone(),
        status: if parents.is_empty() { "pending" } else { "queued" },
        parents,
    }
}

fn tree(jobs: &[PlannedJob], loops: &[PlannedLoop], depth: usize, text: &mut String) {
    let indentation = "    ".repeat(depth);
    for job in jobs {
        let after = if job.parents.is_empty() { String::new() } else { format!(" after {}", job.parents.join(", ")) };
        let kind = match (job.item, job.build) {
            (true, _) => "item",
            (_, true) => "loop source",
            _ => job.language,
        };
        let settings = format!("{}, priority {}, {} s, {} retries", job.scope, job.priority, job.timeout, job.retries);
        let _ = writeln!(text, "{indentation}{} {} ({kind}{after}): {settings}", job.id, job.name);
    }
    for of in loops {
        let _ = writeln!(text, "{indentation}for {} in {}: (line {})", of.variable, of.pipe, of.line);
        tree(&of.jobs, &of.loops, depth + 1, text);
    }
}

fn dot_block(jobs: &[PlannedJob], loops: &[PlannedLoop], depth: usize, number: &mut usize, text: &mut String) {
    let indentation = "    ".repeat(depth);
    for job in jobs {
        let shape = if job.item { " shape=ellipse" } else { "" };
        let label = job.name.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(text, "{indentation}{} [label=\"{label}\"{shape}];", job.id);
    }
    for of in loops {
        let label = format!("for {} in {}", of.variable, of.pipe).replace('"', "\\\"");
        let _ = writeln!(text, "{indentation}subgraph cluster_{number} {{\n{indentation}    label=\"{label}\";");
        *number += 1;
        dot_block(&of.jobs, &of.loops, depth + 1, number, text);
        let _ = writeln!(text, "{indentation}}}");
    }
    edges(jobs, loops, |from, to| {
        let _ = writeln!(text, "{indentation}{from} -> {to};");
    });
}

fn mermaid_block(jobs: &[PlannedJob], loops: &[PlannedLoop], depth: usize, number: &mut usize, text: &mut String) {
    let indentation = "    ".repeat(depth);
    for job in jobs {
        let (open, close) = if job.item { ("([", "])") } else { ("[", "]") };
        let _ = writeln!(text, "{indentation}{}{open}\"{}\"{close}", job.id, job.name.replace('"', "#quot;"));
    }
    for of in loops {
        let label = format!("for {} in {}", of.variable, of.pipe);
        let _ = writeln!(text, "{indentation}subgraph loop_{number} [\"{}\"]", label.replace('"', "#quot;"));
        *number += 1;
        mermaid_block(&of.jobs, &of.loops, depth + 1, number, text);
        let _ = writeln!(text, "{indentation}end");
    }
    edges(jobs, loops, |from, to| {
        let _ = writeln!(text, "{indentation}{from} --> {to}");
    });
}

/// From parents to children of this block, and from a loop's source to its item.
fn edges(jobs: &[PlannedJob], loops: &[PlannedLoop], mut draw: impl FnMut(&str, &str)) {
    for job in jobs {
        job.parents.iter().for_each(|parent| draw(parent, &job.id));
    }
    let sources = jobs.iter().enumerate().filter(|(place, job)| {
        let last = jobs.get(place + 1).is_none_or(|next| !next.build || next.parents.first() != Some(&job.id));
        job.build && last
    });
    for ((_, source), of) in sources.zip(loops) {
        if let Some(item) = of.jobs.first() {
            draw(&source.id, &item.id);
        }
    }
}
