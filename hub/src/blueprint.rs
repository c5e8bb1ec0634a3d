//! What one pass over a block of a script makes: its jobs, who waits for whom, and the loops in it. Pure.
//!
//! A block is the script itself or the body of a loop. It is worked out once and then stamped out as often as
//! the loop has items, so that a million passes cost a million times a few inserts and nothing else.

use std::collections::{HashMap, HashSet};

use protocol::{Argument, Call, CallId, Loop, LoopId, Plan, Statement};

/// All blueprints of a plan.
#[derive(Debug)]
pub struct Blueprints {
    /// The script itself.
    pub root: Block,
    /// The bodies of its loops.
    pub bodies: HashMap<LoopId, Block>,
    /// Loop variables, for the names of items.
    pub variables: HashMap<LoopId, String>,
    /// Lines of the loops, for errors.
    pub lines: HashMap<LoopId, u32>,
    /// Calls that are sources of loops.
    pub sources: HashSet<CallId>,
    /// Calls whose results are arguments of others.
    pub arguments: HashSet<CallId>,
}

/// One block.
#[derive(Debug, Default)]
pub struct Block {
    /// Jobs in the order in which they get their ids; each call's jobs stand together.
    pub jobs: Vec<NewJob>,
    /// Loops whose source is in this block.
    pub loops: Vec<NewLoop>,
    /// Calls whose result deeper blocks use, with the place of their last job in `jobs`.
    pub captured: Vec<(CallId, usize)>,
    /// Where the block's work enters the queue: calls that take no result of the block itself, alike ones once.
    pub heads: Vec<Head>,
}

/// Calls of a block that can run as soon as results of the blocks around it are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The step of their first job: index into the plan's.
    pub step: u32,
    /// Calls of enclosing blocks whose results they take, in the order of their numbers, each once.
    pub outer: Vec<CallId>,
}

/// One job of a block.
#[derive(Debug)]
pub struct NewJob {
    /// The call it belongs to.
    pub call: CallId,
    /// Its place in the chain, from 0.
    pub position: u32,
    /// Jobs that follow it in the chain.
    pub followers: u32,
    /// Its step: index into the plan's.
    pub step: u32,
    /// Where its inputs come from, in order.
    pub parents: Vec<Parent>,
    /// The loop of this block (index into `loops`) that runs over its value.
    pub feeds: Option<usize>,
}

/// A loop of a block.
#[derive(Debug)]
pub struct NewLoop {
    /// Its number in the plan.
    pub id: LoopId,
}

/// Where an input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// A job of the same block: its place in `jobs`.
    Here(usize),
    /// The last job of a call of an enclosing block.
    Outer(CallId),
    /// The current item of an enclosing loop.
    Item(LoopId),
}

impl Blueprints {
    /// The blueprints of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut all = Self {
            root: Block::default(),
            bodies: HashMap::new(),
            variables: HashMap::new(),
            lines: HashMap::new(),
            sources: HashSet::new(),
            arguments: HashSet::new(),
        };
        all.root = all.block(&plan.body);
        all
    }

    fn block(&mut self, statements: &[Statement]) -> Block {
        let mut block = Block::default();
        let mut last_jobs = HashMap::new();
        for statement in statements {
            match statement {
                Statement::Call(call) => {
                    self.note_arguments(call);
                    block.add_call(call, &mut last_jobs);
                }
                Statement::Loop(of) => self.add_loop(of, &mut block, &mut last_jobs),
            }
        }
        block
    }

    fn note_arguments(&mut self, call: &Call) {
        self.arguments.extend(call.arguments.iter().filter_map(|argument| match argument {
            Argument::Call(call) => Some(*call),
            Argument::Item(_) => None,
        }));
    }

    fn add_loop(&mut self, of: &Loop, block: &mut Block, last_jobs: &mut HashMap<CallId, usize>) {
        self.note_arguments(&of.source);
        let last = block.add_call(&of.source, last_jobs);
        if let Some(job) = block.jobs.get_mut(last) {
            job.feeds = Some(block.loops.len());
        }
        block.loops.push(NewLoop { id: of.id });
        self.sources.insert(of.source.id);
        self.variables.insert(of.id, of.variable.clone());
        self.lines.insert(of.id, of.line);
        let body = self.block(&of.body);
        self.bodies.insert(of.id, body);
    }
}

impl Block {
    /// Adds a chain; answers with the place of its last job.
    fn add_call(&mut self, call: &Call, last_jobs: &mut HashMap<CallId, usize>) -> usize {
        let first = self.jobs.len();
        let count = call.steps.len();
        for (position, step) in call.steps.iter().enumerate() {
            let parents = if position == 0 {
                call.arguments.iter().map(|argument| parent(*argument, last_jobs)).collect()
            } else {
                vec![Parent::Here(first + position - 1)]
            };
            self.jobs.push(NewJob {
                call: call.id,
                position: u32::try_from(position).unwrap_or(u32::MAX),
                followers: u32::try_from(count - position - 1).unwrap_or(u32::MAX),
                step: *step,
                parents,
                feeds: None,
            });
        }
        if let Some(head) = self.jobs.get(first).and_then(head).filter(|head| !self.heads.contains(head)) {
            self.heads.push(head);
        }
        let last = self.jobs.len().saturating_sub(1);
        last_jobs.insert(call.id, last);
        if call.captured {
            self.captured.push((call.id, last));
        }
        last
    }
}

/// The head that a call's first job makes; `None` where it waits for another job of its block.
fn head(job: &NewJob) -> Option<Head> {
    let mut outer = Vec::new();
    for parent in &job.parents {
        match parent {
            Parent::Here(_) => return None,
            Parent::Outer(call) => outer.push(*call),
            Parent::Item(_) => {}
        }
    }
    outer.sort_unstable();
    outer.dedup();
    Some(Head { step: job.step, outer })
}

fn parent(argument: Argument, last_jobs: &HashMap<CallId, usize>) -> Parent {
    match argument {
        Argument::Item(of) => Parent::Item(of),
        Argument::Call(call) => last_jobs.get(&call).map_or(Parent::Outer(call), |place| Parent::Here(*place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u32, steps: &[u32], arguments: &[Argument], captured: bool) -> Call {
        Call {
            id: CallId(id),
            pipe: format!("p{id}"),
            variable: None,
            steps: steps.to_vec(),
            arguments: arguments.to_vec(),
            captured,
            line: 1,
        }
    }

    #[test]
    fn a_block_links_chains_arguments_items_and_outer_results() {
        let body = vec![
            Statement::Call(call(2, &[1], &[Argument::Item(LoopId(0)), Argument::Call(CallId(0))], false)),
            Statement::Call(call(3, &[2], &[Argument::Call(CallId(2)), Argument::Call(CallId(2))], false)),
        ];
        let of = Loop { id: LoopId(0), variable: "x".into(), source: call(1, &[0, 1], &[], false), body, line: 7 };
        let plan = Plan {
            script: "x.bue".into(),
            sources: vec![],
            steps: vec![],
            body: vec![Statement::Call(call(0, &[0], &[], true)), Statement::Loop(of)],
        };
        let all = Blueprints::of(&plan);
        assert_eq!(all.root.jobs.len(), 3);
        assert_eq!(all.root.jobs[2].parents, [Parent::Here(1)]);
        assert_eq!(all.root.jobs[2].feeds, Some(0));
        assert_eq!(all.root.captured, [(CallId(0), 0)]);
        let body = &all.bodies[&LoopId(0)];
        assert_eq!(body.jobs[0].parents, [Parent::Item(LoopId(0)), Parent::Outer(CallId(0))]);
        assert_eq!(body.jobs[1].parents, [Parent::Here(0), Parent::Here(0)]);
        assert_eq!(body.heads, [Head { step: 1, outer: vec![CallId(0)] }], "the second call waits for the first");
        assert_eq!(all.sources, HashSet::from([CallId(1)]));
        assert_eq!(all.arguments, HashSet::from([CallId(0), CallId(2)]));
    }
}
