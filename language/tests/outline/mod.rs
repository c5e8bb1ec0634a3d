//! A plan in short, for snapshots.

use std::fmt::Write as _;

use protocol::{Argument, Call, Plan, Source, Statement};

/// The plan's steps and calls, a line each.
pub fn of(plan: &Plan) -> String {
    let mut text = String::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let source = match &plan.sources[step.source as usize] {
            Source::File(path) => format!("file {path:?}"),
            Source::Code { text, line } => format!("code {text:?} from line {line}"),
        };
        let settings = &step.settings;
        let _ = write!(
            text,
            "step {number} {:?} line {}: {} {:?} in {source}; scope {:?} priority {} timeout {} ms retries {}",
            step.name,
            step.line,
            step.language.as_str(),
            step.function,
            settings.scope,
            settings.priority,
            settings.timeout_ms,
            settings.retries
        );
        if let Some(backoff) = settings.backoff {
            let _ = write!(text, " backoff {}..{} ms", backoff.first_ms, backoff.longest_ms);
        }
        if !settings.runtime.is_default() {
            let _ = write!(text, " {}", serde_json::to_string(&settings.runtime).expect("it is plain data"));
        }
        text.push('\n');
    }
    block(&plan.body, 0, &mut text);
    text
}

fn block(statements: &[Statement], depth: usize, text: &mut String) {
    for statement in statements {
        let _ = write!(text, "{}", "  ".repeat(depth));
        match statement {
            Statement::Call(of) => {
                let _ = writeln!(text, "{}", call(of));
            }
            Statement::Loop(of) => {
                let source = call(&of.source);
                let _ = writeln!(text, "loop {} {:?} line {} over {source}", of.id.0, of.variable, of.line);
                block(&of.body, depth + 1, text);
            }
        }
    }
}

fn call(call: &Call) -> String {
    let arguments: Vec<String> = call.arguments.iter().map(argument).collect();
    let variable = call.variable.as_ref().map_or(String::new(), |variable| format!(" -> {variable:?}"));
    let captured = if call.captured { " captured" } else { "" };
    let (id, pipe, steps, line) = (call.id.0, &call.pipe, &call.steps, call.line);
    format!("call {id} {pipe:?} line {line}: steps {steps:?} of [{}]{variable}{captured}", arguments.join(", "))
}

fn argument(argument: &Argument) -> String {
    match argument {
        Argument::Call(id) => format!("call {}", id.0),
        Argument::Item(id) => format!("item {}", id.0),
    }
}
