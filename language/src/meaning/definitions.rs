//! The steps and pipes of a script, by name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use protocol::Settings;

use super::unread::UnreadWords;
use super::{Context, effect};
use crate::finding::{Finding, Findings, quote};
use crate::limits::{STEPS_MAX, SUGGESTIONS_MAX};
use crate::suggest;
use crate::text::Span;
use crate::tree::{Import, Item, Pipe, Script, Setting, Statement, Step, Work};

/// A step.
#[derive(Debug)]
pub struct StepDefinition {
    /// Its name.
    pub name: Span,
    /// What it runs; `None` where that could not be read.
    pub work: Option<Work>,
    /// Its settings, those of the margin included.
    pub settings: Settings,
    /// Whether a pipe holds it.
    in_a_pipe: bool,
}

/// A pipe.
#[derive(Debug)]
pub struct PipeDefinition {
    /// Its name.
    pub name: Span,
    /// Its steps; `None` where one of them is unknown.
    pub steps: Option<Vec<u32>>,
    /// Whether it is called.
    pub called: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Definitions<'t> {
    /// In order of definition.
    pub steps: Vec<StepDefinition>,
    pipes: HashMap<&'t str, PipeDefinition>,
    pipe_order: Vec<Span>,
    step_names: HashMap<&'t str, u32>,
    unread: UnreadWords<'t>,
    suggestions: usize,
}

impl<'t> Definitions<'t> {
    /// Those of a script; says what is defined twice and which steps of pipes are unknown.
    pub fn collect(context: &Context<'t>, tree: &Script, findings: &mut Findings) -> Self {
        let mut all = Self { unread: UnreadWords::of(context.text, &tree.unread), ..Self::default() };
        let mut margin = Settings::default();
        for item in &tree.items {
            match item {
                Item::Settings(settings) => effect::apply(context, settings, &mut margin, findings),
                Item::Step(step) => all.add_step(context, step, &margin, findings),
                Item::Import(import) => all.add_import(context, import, &margin, findings),
                Item::Statement(_) => {}
            }
        }
        for pipe in pipes_of(tree) {
            all.add_pipe(context, pipe, findings);
        }
        all
    }

    /// Whether no pipe is defined.
    pub fn has_no_pipes(&self) -> bool {
        self.pipes.is_empty()
    }

    /// The pipe that a call names, which is called from now on.
    pub fn call(&mut self, context: &Context<'t>, name: Span, findings: &mut Findings) -> Option<&[u32]> {
        let written = name.of(context.text);
        if !self.pipes.contains_key(written) {
            self.no_such_pipe(context, written, name, findings);
            return None;
        }
        let pipe = self.pipes.get_mut(written)?;
        pipe.called = true;
        pipe.steps.as_deref()
    }

    /// Whether a pipe has this name.
    pub fn is_pipe(&self, name: &str) -> bool {
        self.pipes.contains_key(name)
    }

    /// Whether a step has this name.
    pub fn is_step(&self, name: &str) -> bool {
        self.step_names.contains_key(name)
    }

    /// Whether a name stands in what could not be read.
    pub fn may_be_unread(&self, name: &str) -> bool {
        self.unread.may_hold(name)
    }

    /// Whether one more near name may be looked for: that is slow where there are many names.
    pub fn may_suggest(&mut self) -> bool {
        self.suggestions += 1;
        self.suggestions <= SUGGESTIONS_MAX
    }

    fn add_step(&mut self, context: &Context<'t>, step: &Step, margin: &Settings, findings: &mut Findings) {
        self.define(context, step.name, step.work, &step.settings, margin, findings);
    }

    fn add_import(&mut self, context: &Context<'t>, import: &Import, margin: &Settings, findings: &mut Findings) {
        for item in &import.items {
            let work = import.language.zip(import.source).map(|((language, language_span), source)| Work {
                language,
                language_span,
                function: item.function,
                source,
            });
            self.define(context, item.name(), work, &item.settings, margin, findings);
        }
    }

    fn define(
        &mut self,
        context: &Context<'t>,
        name: Span,
        work: Option<Work>,
        own: &[Setting],
        margin: &Settings,
        findings: &mut Findings,
    ) {
        let number = self.steps.len();
        if number >= STEPS_MAX {
            if number == STEPS_MAX {
                findings.add(Finding::syntax(name, format!("a script defines at most {STEPS_MAX} steps")));
            }
            return;
        }
        let written = name.of(context.text);
        match self.step_names.entry(written) {
            Entry::Occupied(first) => {
                let first = self.steps[*first.get() as usize].name;
                findings.add(twice("step", written, first, name));
            }
            Entry::Vacant(place) => {
                place.insert(u32::try_from(number).unwrap_or(u32::MAX));
            }
        }
        let mut settings = margin.clone();
        effect::apply(context, own, &mut settings, findings);
        if let Some(work) = work {
            effect::warn_of_idle(work.language, own, findings);
        }
        warn_of_repeated(own, findings);
        self.steps.push(StepDefinition { name, work, settings, in_a_pipe: false });
    }

    fn add_pipe(&mut self, context: &Context<'t>, pipe: &Pipe, findings: &mut Findings) {
        let written = pipe.name.of(context.text);
        let mut steps = Some(Vec::with_capacity(pipe.steps.len())).filter(|_| !pipe.steps.is_empty());
        for name in &pipe.steps {
            match self.step_names.get(name.of(context.text)) {
                Some(number) => {
                    self.steps[*number as usize].in_a_pipe = true;
                    if let Some(steps) = &mut steps {
                        steps.push(*number);
                    }
                }
                None => {
                    steps = None;
                    self.no_such_step(context, pipe, *name, findings);
                }
            }
        }
        match self.pipes.entry(written) {
            Entry::Occupied(first) => findings.add(twice("pipe", written, first.get().name, pipe.name)),
            Entry::Vacant(place) => {
                self.pipe_order.push(pipe.name);
                place.insert(PipeDefinition { name: pipe.name, steps, called: false });
            }
        }
    }

    fn no_such_step(&mut self, context: &Context<'t>, pipe: &Pipe, name: Span, findings: &mut Findings) {
        let written = name.of(context.text);
        if self.unread.may_hold(written) {
            return;
        }
        let is_pipe = written == pipe.name.of(context.text) || self.pipes.contains_key(written);
        let hint = if is_pipe {
            Some(format!("{} is a pipe; a pipe holds steps", quote(written)))
        } else {
            self.nearest_step(context, written)
        };
        findings.add(Finding::name(name, format!("step {} is not defined", quote(written))).hint(hint));
    }

    fn no_such_pipe(&mut self, context: &Context<'t>, written: &str, name: Span, findings: &mut Findings) {
        if self.unread.may_hold(written) {
            return;
        }
        let python = written.contains(' ').then(|| crate::parser::python_hint(written)).flatten();
        let hint = if let Some(python) = python {
            Some(python.to_owned())
        } else if self.step_names.contains_key(written) {
            Some(format!(
                "{} is a step; a pipe of it is made by {}",
                quote(written),
                quote(&format!("p = | {written}"))
            ))
        } else {
            self.nearest_pipe(context, written)
        };
        findings.add(Finding::name(name, format!("pipe {} is not defined", quote(written))).hint(hint));
    }

    /// The step that is probably meant counts as used: it is not worth a warning.
    fn nearest_step(&mut self, context: &Context<'t>, written: &str) -> Option<String> {
        if !self.may_suggest() {
            return None;
        }
        let near = suggest::nearest(written, self.steps.iter().map(|step| step.name.of(context.text)))?;
        if let Some(number) = self.step_names.get(near) {
            self.steps[*number as usize].in_a_pipe = true;
        }
        Some(did_you_mean(near))
    }

    /// The pipe that is probably meant counts as called.
    fn nearest_pipe(&mut self, context: &Context<'t>, written: &str) -> Option<String> {
        if !self.may_suggest() {
            return None;
        }
        let near = suggest::nearest(written, self.pipe_order.iter().map(|name| name.of(context.text)))?;
        if let Some(pipe) = self.pipes.get_mut(near) {
            pipe.called = true;
        }
        Some(did_you_mean(near))
    }

    /// Warns of steps that no pipe holds and of pipes that are never called.
    pub fn warn_of_unused(&self, context: &Context<'t>, findings: &mut Findings) {
        let mut warn = |kind: &str, name: Span, what: &str| {
            let written = name.of(context.text);
            if !self.unread.may_hold(written) {
                findings.add(Finding::name(name, format!("{kind} {} is never {what}", quote(written))).warning());
            }
        };
        for step in self.steps.iter().filter(|step| !step.in_a_pipe) {
            let first = self.step_names.get(step.name.of(context.text)).map(|first| self.steps[*first as usize].name);
            if first == Some(step.name) {
                warn("step", step.name, "used");
            }
        }
        let mut uncalled: Vec<Span> = self.pipes.values().filter(|pipe| !pipe.called).map(|pipe| pipe.name).collect();
        uncalled.sort_by_key(|name| name.start());
        for name in uncalled {
            warn("pipe", name, "called");
        }
    }
}

/// The hint that names what is probably meant.
pub fn did_you_mean(near: &str) -> String {
    format!("did you mean {}?", quote(near))
}

fn twice(kind: &str, name: &str, first: Span, second: Span) -> Finding {
    Finding::name(second, format!("{kind} {} is defined twice", quote(name))).related(first, "first defined here")
}

fn warn_of_repeated(settings: &[Setting], findings: &mut Findings) {
    for (place, setting) in settings.iter().enumerate() {
        let same = |other: &&Setting| std::mem::discriminant(&other.value) == std::mem::discriminant(&setting.value);
        if let Some(later) = settings[place + 1..].iter().find(same) {
            let message = format!("`!{}` is set again below, which counts", setting.value.word());
            findings.add(Finding::syntax(setting.span, message).related(later.span, "set again here").warning());
        }
    }
}

/// All pipes of a script, those in loops included, in order.
fn pipes_of(tree: &Script) -> Vec<&Pipe> {
    fn add<'s>(statement: &'s Statement, pipes: &mut Vec<&'s Pipe>) {
        match statement {
            Statement::Pipe(pipe) => pipes.push(pipe),
            Statement::Call(_) => {}
            Statement::Loop(of) => of.body.iter().for_each(|statement| add(statement, pipes)),
        }
    }
    let mut pipes = Vec::new();
    for item in &tree.items {
        if let Item::Statement(statement) = item {
            add(statement, &mut pipes);
        }
    }
    pipes
}
