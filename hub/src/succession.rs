//! Which step surely takes what another one returns: told to workers, who can get ready for it. Pure.

use std::collections::HashMap;

use protocol::{Argument, Call, CallId, Plan, Statement};

/// For each step of the plan the one that takes its result and nothing else, wherever it is used; `None` where there is none, or there
/// are several.
pub(crate) fn next_steps(plan: &Plan) -> Vec<Option<u32>> {
    let mut succession = Succession { last: HashMap::new(), next: vec![Next::Nobody; plan.steps.len()] };
    succession.block(&plan.body);
    let step = |next| match next {
        Next::Only(step) => Some(step),
        Next::Nobody | Next::Several => None,
    };
    succession.next.into_iter().map(step).collect()
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Nobody,
    Only(u32),
    Several,
}

struct Succession {
    /// The last step of each call so far.
    last: HashMap<CallId, u32>,
    next: Vec<Next>,
}

impl Succession {
    fn block(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::Call(call) => self.call(call),
                Statement::Loop(looped) => {
                    self.call(&looped.source);
                    self.block(&looped.body);
                }
            }
        }
    }

    fn call(&mut self, call: &Call) {
        let before = match call.arguments.as_slice() {
            [Argument::Call(before)] => self.last.get(before).copied(),
            _ => None,
        };
        let chain: Vec<u32> = before.into_iter().chain(call.steps.iter().copied()).collect();
        chain.windows(2).for_each(|pair| self.follows(pair[0], pair[1]));
        if let Some(last) = call.steps.last() {
            self.last.insert(call.id, *last);
        }
    }

    fn follows(&mut self, step: u32, next: u32) {
        let Some(known) = self.next.get_mut(step as usize) else { return };
        *known = match *known {
            Next::Nobody => Next::Only(next),
            Next::Only(only) if only == next => Next::Only(only),
            Next::Only(_) | Next::Several => Next::Several,
        };
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Language, Loop, LoopId, Settings, Step};

    use super::*;

    fn plan(steps: u32, body: Vec<Statement>) -> Plan {
        let step = |source| Step {
            name: format!("s{source}"),
            language: Language::Python,
            function: "f".to_owned(),
            source,
            settings: Settings::default(),
            line: 1,
        };
        Plan { script: "s.bue".to_owned(), sources: Vec::new(), steps: (0..steps).map(step).collect(), body }
    }

    fn call(id: u32, steps: &[u32], arguments: &[Argument]) -> Call {
        let (steps, arguments) = (steps.to_vec(), arguments.to_vec());
        Call { id: CallId(id), pipe: "p".to_owned(), variable: None, steps, arguments, captured: false, line: 1 }
    }

    #[test]
    fn in_a_chain_each_step_is_followed_by_the_next_one() {
        let body = vec![Statement::Call(call(0, &[2, 0, 1], &[]))];
        assert_eq!(next_steps(&plan(3, body)), [Some(1), None, Some(0)]);
    }

    #[test]
    fn the_one_argument_of_a_call_is_followed_by_its_first_step_and_one_of_several_is_not() {
        let body = vec![
            Statement::Call(call(0, &[0], &[])),
            Statement::Call(call(1, &[1], &[Argument::Call(CallId(0))])),
            Statement::Call(call(2, &[2], &[Argument::Call(CallId(1)), Argument::Call(CallId(0))])),
        ];
        assert_eq!(next_steps(&plan(3, body)), [Some(1), None, None]);
    }

    #[test]
    fn a_step_with_other_followers_elsewhere_has_none_for_sure() {
        let body = vec![
            Statement::Call(call(0, &[0, 1], &[])),
            Statement::Call(call(1, &[0, 1], &[])),
            Statement::Call(call(2, &[1, 2], &[])),
            Statement::Call(call(3, &[1, 0], &[])),
        ];
        assert_eq!(next_steps(&plan(3, body)), [Some(1), None, None]);
    }

    #[test]
    fn chains_in_loops_count_and_an_item_is_no_whole_result() {
        let (source, id) = (call(0, &[0], &[]), LoopId(0));
        let body = vec![Statement::Call(call(1, &[1, 2], &[Argument::Item(id)]))];
        let looped = Loop { id, variable: "x".to_owned(), source, body, line: 1 };
        assert_eq!(next_steps(&plan(3, vec![Statement::Loop(looped)])), [None, Some(2), None]);
    }
}
