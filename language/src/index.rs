//! What an editor asks of a script: what is defined where, what a word refers to, which names fit at a place.

use std::collections::HashMap;

use protocol::Language;

use crate::finding::Findings;
use crate::text::Span;
use crate::tree::{Call, Import, Item, Script, SettingValue, SourceText, Statement, Step};

/// Kinds of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A step.
    Step,
    /// A pipe.
    Pipe,
    /// A variable, that of a loop included.
    Variable,
}

/// Something with a name.
#[derive(Debug, Clone)]
pub struct Symbol {
    /// What it is.
    pub kind: NameKind,
    /// Its name.
    pub name: Span,
    /// All of its definition.
    pub span: Span,
    /// What a step runs.
    pub work: Option<SymbolWork>,
    /// The settings of a step that are its own: their words and how they are written.
    pub settings: Vec<Span>,
}

impl Symbol {
    /// Whether it is a step of an import, whose item says where it is and no more.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        self.work.is_some_and(|work| work.function.start() == self.span.start())
    }
}

/// What a step runs.
#[derive(Debug, Clone, Copy)]
pub struct SymbolWork {
    /// Its language.
    pub language: Language,
    /// The function, or the name of the first table.
    pub function: Span,
    /// The path of its file, or its code.
    pub source: WorkSource,
}

/// Where a step's code is.
#[derive(Debug, Clone, Copy)]
pub enum WorkSource {
    /// The path of a file, as it is written.
    File(Span),
    /// The code between the backticks.
    Code(Span),
}

/// A name in use.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// Where it is used.
    pub span: Span,
    /// What kind of name is meant.
    pub kind: NameKind,
    /// Number of the symbol that it refers to; `None` where there is none.
    pub target: Option<usize>,
}

/// All names of a script.
#[derive(Debug, Default)]
pub struct Index {
    /// What is defined, in order.
    pub symbols: Vec<Symbol>,
    /// What is used.
    pub references: Vec<Reference>,
    /// Settings, with the word for each.
    pub settings: Vec<(Span, &'static str)>,
}

/// What is at a place.
#[derive(Debug, Clone, Copy)]
pub enum Found<'i> {
    /// A name, used or defined.
    Symbol(&'i Symbol),
    /// The function of a step.
    Function(&'i Symbol),
    /// The path of a step's file.
    File(&'i Symbol),
    /// A setting, by its word.
    Setting(&'static str),
}

impl Index {
    /// The names of a script, as far as it can be read.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let tree = crate::parser::parse(text, &mut Findings::default());
        let mut indexing =
            Indexing { text, index: Self::default(), names: HashMap::new(), blocks: vec![HashMap::new()] };
        indexing.definitions(&tree);
        indexing.uses(&tree);
        indexing.index
    }

    /// What is at a byte of the script, with the span that it covers.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<(Span, Found<'_>)> {
        let reference = self.references.iter().find(|reference| reference.span.touches(place));
        if let Some(reference) = reference {
            return Some((reference.span, Found::Symbol(self.symbols.get(reference.target?)?)));
        }
        if let Some((span, word)) = self.settings.iter().find(|(span, _)| span.touches(place)) {
            return Some((*span, Found::Setting(word)));
        }
        self.symbols.iter().find_map(|symbol| {
            if symbol.name.touches(place) {
                return Some((symbol.name, Found::Symbol(symbol)));
            }
            let work = symbol.work.as_ref()?;
            match work.source {
                _ if work.function.touches(place) => Some((work.function, Found::Function(symbol))),
                WorkSource::File(path) if path.touches(place) => Some((path, Found::File(symbol))),
                _ => None,
            }
        })
    }
}

struct Indexing<'t> {
    text: &'t str,
    index: Index,
    /// Steps and pipes: the first definition counts.
    names: HashMap<(NameKind, &'t str), usize>,
    /// Variables of the script and of every open loop.
    blocks: Vec<HashMap<&'t str, usize>>,
}

impl<'t> Indexing<'t> {
    fn define(&mut self, symbol: Symbol) -> usize {
        let number = self.index.symbols.len();
        if symbol.kind != NameKind::Variable {
            self.names.entry((symbol.kind, symbol.name.of(self.text))).or_insert(number);
        }
        self.index.symbols.push(symbol);
        number
    }

    fn definitions(&mut self, tree: &Script) {
        for item in &tree.items {
            match item {
                Item::Settings(settings) => self.settings(settings.iter().map(|setting| (setting.span, setting.value))),
                Item::Step(step) => self.step(step),
                Item::Import(import) => self.import(import),
                Item::Statement(statement) => self.pipes(statement),
            }
        }
    }

    fn settings(&mut self, settings: impl Iterator<Item = (Span, SettingValue)>) {
        self.index.settings.extend(settings.map(|(span, value)| (span, value.word())));
    }

    fn step(&mut self, step: &Step) {
        self.settings(step.settings.iter().map(|setting| (setting.span, setting.value)));
        let work = step.work.map(|work| SymbolWork {
            language: work.language,
            function: work.function,
            source: source(work.source),
        });
        let settings = step.settings.iter().map(|setting| setting.span).collect();
        self.define(Symbol { kind: NameKind::Step, name: step.name, span: step.span, work, settings });
    }

    fn import(&mut self, import: &Import) {
        for item in &import.items {
            self.settings(item.settings.iter().map(|setting| (setting.span, setting.value)));
            let work = import.language.zip(import.source).map(|((language, _), from)| SymbolWork {
                language,
                function: item.function,
                source: source(from),
            });
            let settings: Vec<Span> = item.settings.iter().map(|setting| setting.span).collect();
            let end = settings.last().copied().unwrap_or(item.name()).end();
            let span = Span::new(item.function.start(), end);
            self.define(Symbol { kind: NameKind::Step, name: item.name(), span, work, settings });
        }
    }

    fn pipes(&mut self, statement: &Statement) {
        match statement {
            Statement::Pipe(pipe) => {
                self.define(Symbol {
                    kind: NameKind::Pipe,
                    name: pipe.name,
                    span: pipe.span,
                    work: None,
                    settings: Vec::new(),
                });
            }
            Statement::Call(_) => {}
            Statement::Loop(of) => of.body.iter().for_each(|statement| self.pipes(statement)),
        }
    }

    fn uses(&mut self, tree: &Script) {
        for item in &tree.items {
            if let Item::Statement(statement) = item {
                self.statement(statement);
            }
        }
    }

    fn refer(&mut self, kind: NameKind, span: Span) {
        let name = span.of(self.text);
        let target = match kind {
            NameKind::Variable => self.blocks.iter().rev().find_map(|block| block.get(name)).copied(),
            _ => self.names.get(&(kind, name)).copied(),
        };
        self.index.references.push(Reference { span, kind, target });
    }

    fn assign(&mut self, name: Span, span: Span) {
        let symbol = Symbol { kind: NameKind::Variable, name, span, work: None, settings: Vec::new() };
        let number = self.define(symbol);
        if let Some(block) = self.blocks.last_mut() {
            block.insert(name.of(self.text), number);
        }
    }

    fn call(&mut self, call: &Call) {
        self.refer(NameKind::Pipe, call.pipe);
        call.arguments.iter().for_each(|argument| self.refer(NameKind::Variable, *argument));
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Pipe(pipe) => pipe.steps.iter().for_each(|step| self.refer(NameKind::Step, *step)),
            Statement::Call(call) => {
                self.call(call);
                if let Some(variable) = call.variable {
                    self.assign(variable, call.span);
                }
            }
            Statement::Loop(of) => {
                self.call(&of.source);
                self.blocks.push(HashMap::new());
                self.assign(of.variable, of.span);
                of.body.iter().for_each(|statement| self.statement(statement));
                self.blocks.pop();
            }
        }
    }
}

fn source(source: SourceText) -> WorkSource {
    match source {
        SourceText::File(path) => WorkSource::File(path),
        SourceText::Code(code) => WorkSource::Code(code),
    }
}
