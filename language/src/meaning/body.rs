//! Calls and loops in program order, with every variable resolved to the call or loop that it names.

use std::collections::HashMap;

use protocol::{Argument, Call, CallId, Loop, LoopId, Statement};

use super::Context;
use super::definitions::{Definitions, did_you_mean};
use crate::finding::{Finding, Findings, quote};
use crate::limits::PLANNED_JOBS_MAX;
use crate::suggest;
use crate::text::Span;
use crate::tree::{self, Item, Script};

/// The statements of a script. Steps are numbered by their definitions.
pub fn lower<'t>(
    context: &Context<'t>,
    tree: &Script,
    definitions: &mut Definitions<'t>,
    findings: &mut Findings,
) -> Vec<Statement> {
    let mut lowering = Lowering {
        context,
        tree,
        definitions,
        findings,
        blocks: vec![HashMap::new()],
        captured: Vec::new(),
        loops: 0,
        jobs: 0,
        assigned: None,
    };
    let statements = tree.items.iter().filter_map(|item| match item {
        Item::Statement(statement) => Some(statement),
        _ => None,
    });
    let mut body = Vec::new();
    for statement in statements {
        body.extend(lowering.statement(statement));
    }
    let captured = lowering.captured;
    mark_captured(&mut body, &captured);
    body
}

struct Lowering<'a, 't> {
    context: &'a Context<'t>,
    tree: &'a Script,
    definitions: &'a mut Definitions<'t>,
    findings: &'a mut Findings,
    /// Variables of the script and of every open loop; `None` stands for a value that could not be worked out.
    blocks: Vec<HashMap<&'t str, Option<Argument>>>,
    /// By call.
    captured: Vec<bool>,
    loops: u32,
    jobs: usize,
    /// Every assignment of the script, by name; made when a name is not found.
    assigned: Option<HashMap<&'t str, Assignment>>,
}

/// Where a variable gets its value.
#[derive(Debug, Clone, Copy)]
struct Assignment {
    name: Span,
    in_loop: bool,
}

impl<'t> Lowering<'_, 't> {
    fn statement(&mut self, statement: &tree::Statement) -> Option<Statement> {
        match statement {
            tree::Statement::Pipe(_) => None,
            tree::Statement::Call(call) => {
                let lowered = self.call(call);
                if let Some(variable) = call.variable {
                    self.assign(variable, lowered.as_ref().map(|call| Argument::Call(call.id)));
                }
                lowered.map(Statement::Call)
            }
            tree::Statement::Loop(of) => self.for_loop(of).map(Statement::Loop),
        }
    }

    fn assign(&mut self, variable: Span, value: Option<Argument>) {
        let name = variable.of(self.context.text);
        if let Some(block) = self.blocks.last_mut() {
            block.insert(name, value);
        }
    }

    fn call(&mut self, call: &tree::Call) -> Option<Call> {
        let arguments: Vec<Option<Argument>> = call.arguments.iter().map(|name| self.argument(*name)).collect();
        let steps = self.definitions.call(self.context, call.pipe, self.findings)?.to_vec();
        let arguments = arguments.into_iter().collect::<Option<Vec<_>>>()?;
        self.count_jobs(call, steps.len())?;
        let id = CallId(u32::try_from(self.captured.len()).unwrap_or(u32::MAX));
        self.captured.push(false);
        let text = self.context.text;
        Some(Call {
            id,
            pipe: call.pipe.of(text).to_owned(),
            variable: call.variable.map(|variable| variable.of(text).to_owned()),
            steps,
            arguments,
            captured: false,
            line: self.context.lines.line(call.span.start()),
        })
    }

    fn count_jobs(&mut self, call: &tree::Call, jobs: usize) -> Option<()> {
        let before = self.jobs;
        self.jobs = self.jobs.saturating_add(jobs);
        if self.jobs <= PLANNED_JOBS_MAX {
            return Some(());
        }
        if before <= PLANNED_JOBS_MAX {
            let message = format!("the calls of the script make more than {PLANNED_JOBS_MAX} jobs");
            let hint = "a loop makes its jobs once for every item: `for item in pipe():`".to_owned();
            self.findings.add(Finding::syntax(call.span, message).hint(hint));
        }
        None
    }

    fn for_loop(&mut self, of: &tree::Loop) -> Option<Loop> {
        let source = self.call(&of.source);
        let id = LoopId(self.loops);
        self.loops += 1;
        let variable = of.variable.of(self.context.text);
        self.blocks.push(HashMap::from([(variable, Some(Argument::Item(id)))]));
        let body: Vec<Statement> = of.body.iter().filter_map(|statement| self.statement(statement)).collect();
        self.blocks.pop();
        if of.body.is_empty() {
            self.assign(of.variable, None);
        }
        let line = self.context.lines.line(of.span.start());
        source.map(|source| Loop { id, variable: variable.to_owned(), source, body, line })
    }

    fn argument(&mut self, name: Span) -> Option<Argument> {
        let written = name.of(self.context.text);
        let found = self.blocks.iter().rposition(|block| block.contains_key(written));
        let Some(depth) = found else {
            self.no_such_variable(written, name);
            return None;
        };
        let value = self.blocks[depth].get(written).copied().flatten();
        if let Some(Argument::Call(call)) = value
            && depth + 1 < self.blocks.len()
        {
            self.captured[call.0 as usize] = true;
        }
        value
    }

    fn no_such_variable(&mut self, written: &'t str, name: Span) {
        if self.definitions.may_be_unread(written) {
            return;
        }
        if is_literal(written) {
            self.findings.add(crate::parser::literal(self.context.text, name));
            return;
        }
        let finding = Finding::name(name, format!("variable {} is not defined", quote(written)));
        let assigned = self.assignments();
        let finding = match assigned.get(written).copied() {
            Some(Assignment { name: place, in_loop: true }) if place.start() < name.start() => {
                let hint = "what is assigned in a loop is visible in it only, once for every item".to_owned();
                finding.hint(hint).related(place, "assigned in this loop")
            }
            Some(Assignment { name: place, .. }) => {
                finding.hint("statements take effect in their order".to_owned()).related(place, "assigned here, later")
            }
            None => finding.hint(self.other_meaning(written)),
        };
        self.findings.add(finding);
    }

    fn other_meaning(&mut self, written: &str) -> Option<String> {
        if self.definitions.is_pipe(written) {
            return Some(format!(
                "{} is a pipe; its result is a variable: {}",
                quote(written),
                quote(&format!("v = {written}()"))
            ));
        }
        if self.definitions.is_step(written) {
            return Some(format!("{} is a step; variables hold results of calls", quote(written)));
        }
        if !self.definitions.may_suggest() {
            return None;
        }
        let mut visible: Vec<&str> = self.blocks.iter().flat_map(|block| block.keys().copied()).collect();
        visible.sort_unstable();
        suggest::nearest(written, visible).map(did_you_mean)
    }

    fn assignments(&mut self) -> &HashMap<&'t str, Assignment> {
        let (tree, text) = (self.tree, self.context.text);
        self.assigned.get_or_insert_with(|| {
            let mut all = HashMap::new();
            for item in &tree.items {
                if let Item::Statement(statement) = item {
                    add_assignments(statement, text, false, &mut all);
                }
            }
            all
        })
    }
}

fn add_assignments<'t>(
    statement: &tree::Statement,
    text: &'t str,
    in_loop: bool,
    all: &mut HashMap<&'t str, Assignment>,
) {
    let mut add = |name: Span, in_loop: bool| {
        all.entry(name.of(text)).or_insert(Assignment { name, in_loop });
    };
    match statement {
        tree::Statement::Pipe(_) => {}
        tree::Statement::Call(call) => call.variable.iter().for_each(|name| add(*name, in_loop)),
        tree::Statement::Loop(of) => {
            add(of.variable, true);
            of.body.iter().for_each(|statement| add_assignments(statement, text, true, all));
        }
    }
}

fn is_literal(written: &str) -> bool {
    let digits = written.strip_prefix('-').unwrap_or(written);
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    number || matches!(written, "True" | "False" | "None" | "true" | "false" | "null")
}

fn mark_captured(body: &mut [Statement], captured: &[bool]) {
    let mark = |call: &mut Call| call.captured = captured.get(call.id.0 as usize).copied().unwrap_or(false);
    for statement in body {
        match statement {
            Statement::Call(call) => mark(call),
            Statement::Loop(of) => {
                mark(&mut of.source);
                mark_captured(&mut of.body, captured);
            }
        }
    }
}
