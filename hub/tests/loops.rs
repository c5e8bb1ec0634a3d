//! What the queue promises about loops.

mod rig;

use std::collections::HashSet;
use std::time::Duration;

use protocol::api::Lease;
use protocol::{JobState, Outcome, Place, RunState, ValueKind, ValueRef};
use rig::{On, Rig, error, script, texts};

/// Settles everything with `answer` until nothing more comes.
async fn drain(rig: &Rig, answer: impl Fn(&str, &Lease) -> String) -> usize {
    let mut done = 0;
    loop {
        let leases = rig.lease(16).await;
        if leases.is_empty() {
            return done;
        }
        for lease in leases {
            let name = rig.name(&lease).await;
            rig.succeed(&lease, &answer(&name, &lease)).await;
            done += 1;
        }
    }
}

async fn a_list_that_is_not_as_long_as_it_claims_or_too_long_fails_its_source_and_nothing_else(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a", "b"], "p = | a\nq = | b\nfor x in p():\n    q(x)\n");
    let sha256 = protocol::Digest([0; 32]);
    let elsewhere =
        Place::Object { key: "runs/r/j1/1".into(), bytes: 7, format: protocol::Format::Json, sha256, pages: None };
    let inline = |text: &str| Place::Json(rig::json(text));
    for (length, place) in
        [(u64::MAX, elsewhere.clone()), (i64::MAX as u64, elsewhere), (3, inline("[1]")), (1, inline("7"))]
    {
        let run = rig.submit(&text).await;
        let value = ValueRef { kind: ValueKind::List, length: Some(length), place };
        rig.settle(&rig.next_of("a").await, Outcome::Success { value, priority: None }).await;
        let source = rig.jobs(&run).await.remove(0);
        assert_eq!((source.state, source.error.unwrap().kind), (JobState::Failed, protocol::ErrorKind::Loop));
        assert_eq!(rig.run(&run).await.state, RunState::Failed);
    }
    rig.submit(&text).await;
    rig.succeed(&rig.next_of("a").await, "[1]").await;
    rig.succeed(&rig.next_of("b").await, "1").await;
}

async fn each_element_is_an_item_and_makes_one_pass(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = | a\nq = | b\nfor x in p():\n    q(x)\n")).await;
    rig.succeed(&rig.next_of("a").await, r#"[10, {"k": [1]}, "s"]"#).await;
    let mut seen = Vec::new();
    for lease in rig.lease(10).await {
        seen.push(texts(&lease).join(","));
        rig.succeed(&lease, "0").await;
    }
    assert_eq!(seen, ["10", r#"{"k": [1]}"#, r#""s""#]);
    let jobs = rig.jobs(&run).await;
    let items: Vec<&str> = jobs.iter().filter(|job| job.item).map(|job| job.name.as_str()).collect();
    assert_eq!(items, ["x_0", "x_1", "x_2"]);
    assert!(jobs[0].build);
    let item = jobs.iter().find(|job| job.name == "x_1").unwrap();
    assert_eq!(item.state, JobState::Succeeded);
    assert_eq!(rig::text(item.value.as_ref().unwrap()), r#"{"k": [1]}"#);
    assert!(jobs.iter().filter(|job| job.name == "b").all(|job| job.parents.len() == 1));
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

async fn an_empty_list_makes_no_passes(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = | a\nq = | b\nfor x in p():\n    q(x)\n")).await;
    rig.succeed(&rig.next_of("a").await, "[]").await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

async fn a_value_that_is_no_list_fails_the_loop_at_its_line(on: On) {
    for (value, word) in [("{}", "a dict"), ("3", "a number"), ("null", "None"), (r#""ab""#, "a string")] {
        let rig = Rig::new(on).await;
        let text = script(&["a !retries 5", "b"], "p = | a\nq = | b\nfor x in p():\n    q(x)\n");
        let line = text.lines().position(|line| line.starts_with("for")).unwrap() + 1;
        let run = rig.submit(&text).await;
        rig.succeed(&rig.next_of("a").await, value).await;
        assert_eq!(rig.run(&run).await.state, RunState::Failed);
        let error = rig.jobs(&run).await[0].error.clone().unwrap();
        assert_eq!(error.kind, protocol::ErrorKind::Loop);
        assert!(error.message.contains(&format!("test.bue:{line}")) && error.message.contains(word), "{error:?}");
    }
}

async fn passes_of_a_long_loop_appear_as_they_are_claimed_and_the_totals_are_right_at_once(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n")).await;
    let source = rig.next_of("a").await;
    let place = Place::Object {
        key: "runs/x/j1/1".into(),
        format: protocol::Format::Json,
        bytes: 9,
        sha256: protocol::Digest::of(b""),
        pages: None,
    };
    let value = ValueRef { kind: ValueKind::List, length: Some(100_000), place };
    rig.settle(&source, Outcome::Success { value, priority: None }).await;
    let view = rig.run(&run).await;
    assert_eq!(view.counts.total(), 200_001);
    let mut elements = HashSet::new();
    for _ in 0..50 {
        for lease in rig.lease(10).await {
            if let Place::Element { index, .. } = &lease.inputs[0].place {
                elements.insert(*index);
            }
            rig.succeed(&lease, "0").await;
        }
    }
    assert!(elements.iter().all(|index| *index < 400), "in order of the list");
    let rows = rig.jobs(&run).await.len();
    assert!(rows < 3_000, "{rows} rows for 500 jobs done");
    let view = rig.run(&run).await;
    assert_eq!((view.counts.total(), view.counts.succeeded), (200_001, 501));
}

async fn passes_still_to_be_made_survive_a_restart(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = | a\nq = | b\nfor x in p():\n    q(x)\n")).await;
    let items: Vec<String> = (0..700).map(|number| number.to_string()).collect();
    rig.succeed(&rig.next_of("a").await, &format!("[{}]", items.join(","))).await;
    for lease in rig.lease(150).await {
        rig.succeed(&lease, "0").await;
    }
    let rig = rig.restart().await;
    assert_eq!(drain(&rig, |_, _| "0".into()).await, 550);
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.succeeded), (RunState::Succeeded, 701));
    rig.jobs(&run).await;
}

async fn nested_loops_see_outer_items_and_outer_results(on: On) {
    let rig = Rig::new(on).await;
    let text = script(
        &["outer", "inner", "base", "use"],
        "p = | outer\nq = | inner\nr = | base\ns = | use\nv = r()\nfor x in p():\n    w = r()\n    for y in q(x):\n        s(x, y, v, w)\n",
    );
    let run = rig.submit(&text).await;
    let answer = |name: &str, lease: &Lease| match name {
        "outer" => "[1, 2]".to_owned(),
        "inner" => format!("[{0}0, {0}1, {0}2]", texts(lease)[0]),
        "base" => "7".to_owned(),
        _ => format!("[{}]", texts(lease).join(", ")),
    };
    drain(&rig, answer).await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    let results = rig.queue.results(run.clone(), 0, 100).await.unwrap();
    let values: Vec<String> = results.results.iter().map(|entry| rig::text(entry.value.as_ref().unwrap())).collect();
    assert_eq!(
        values,
        [
            "7",
            "7",
            "[1, 10, 7, 7]",
            "[1, 11, 7, 7]",
            "[1, 12, 7, 7]",
            "7",
            "[2, 20, 7, 7]",
            "[2, 21, 7, 7]",
            "[2, 22, 7, 7]"
        ]
    );
    rig.jobs(&run).await;
    let all: Vec<String> = results.results.iter().map(|entry| entry.job.to_string()).collect();
    let mut found = Vec::new();
    for skip in (0..).step_by(2) {
        let some = rig.queue.results(run.clone(), skip, 2).await.unwrap();
        found.extend(some.results.iter().map(|entry| entry.job.to_string()));
        assert_eq!(some.truncated, found.len() < all.len());
        if !some.truncated {
            break;
        }
    }
    assert_eq!(found, all);
}

async fn a_pass_waits_for_an_outer_result_that_is_not_there_yet(on: On) {
    let rig = Rig::new(on).await;
    let text =
        script(&["a", "slow !scope later", "b"], "p = | a\nq = | slow\nr = | b\nv = q()\nfor x in p():\n    r(x, v)\n");
    let run = rig.submit(&text).await;
    rig.succeed(&rig.next_of("a").await, "[1, 2]").await;
    assert!(rig.lease(10).await.is_empty());
    let slow = rig.lease_as(rig::WORKER, &["later"], 1, Duration::ZERO).await;
    rig.succeed(&slow[0], "9").await;
    assert_eq!(drain(&rig, |_, _| "0".into()).await, 2);
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

async fn a_pass_that_fails_leaves_the_others_alone(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n")).await;
    rig.succeed(&rig.next_of("a").await, "[1, 2, 3]").await;
    let leases = rig.lease(3).await;
    rig.settle(&leases[1], error("RuntimeError: no")).await;
    rig.succeed(&leases[0], "0").await;
    rig.succeed(&leases[2], "0").await;
    assert_eq!(drain(&rig, |_, _| "0".into()).await, 2);
    let view = rig.run(&run).await;
    assert_eq!(
        (view.state, view.counts.failed, view.counts.succeeded, view.counts.waiting),
        (RunState::Failed, 1, 5, 1)
    );
}

async fn a_reset_in_a_pass_starts_its_pipe_over_and_keeps_the_item(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n")).await;
    rig.succeed(&rig.next_of("a").await, "[5, 6]").await;
    let leases = rig.lease(10).await;
    rig.succeed(&leases[0], "1").await;
    rig.succeed(&leases[1], "2").await;
    let c = rig.lease(10).await;
    rig.settle(&c[0], Outcome::Reset).await;
    rig.succeed(&c[1], "3").await;
    let b = rig.next_of("b").await;
    assert_eq!(texts(&b), ["5"]);
    rig.succeed(&b, "1").await;
    rig.succeed(&rig.next_of("c").await, "4").await;
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.succeeded), (RunState::Succeeded, 5));
    rig.jobs(&run).await;
}

async fn a_source_that_runs_again_after_a_reset_begins_no_new_passes(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a", "b", "c"], "p = | a\nq = | b\nr = | c\nv = p()\nfor x in q(v):\n    r(x, v)\n");
    let run = rig.submit(&text).await;
    rig.succeed(&rig.next_of("a").await, "1").await;
    rig.succeed(&rig.next_of("b").await, "[1, 2]").await;
    let c = rig.lease(10).await;
    rig.settle(&c[0], Outcome::Reset).await;
    rig.succeed(&rig.next_of("a").await, "2").await;
    let mut names = Vec::new();
    while let Some(lease) = rig.lease(1).await.pop() {
        let name = rig.name(&lease).await;
        if name == "c" {
            assert_eq!(texts(&lease)[1], "2", "the new value of the outer result");
        }
        rig.succeed(&lease, "[8, 9, 10]").await;
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["b", "c", "c"]);
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    rig.jobs(&run).await;
}

async fn a_cancelled_outer_result_cancels_the_passes_that_need_it(on: On) {
    let rig = Rig::new(on).await;
    let text = script(
        &["a", "gone !priority 1", "b", "c"],
        "p = | a\nq = | gone\nr = b | c\nv = q()\nfor x in p():\n    r(x, v)\n",
    );
    let run = rig.submit(&text).await;
    rig.settle(&rig.next_of("gone").await, Outcome::Cancel).await;
    rig.succeed(&rig.next_of("a").await, "[1, 2]").await;
    assert!(rig.lease(10).await.is_empty());
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.cancelled), (RunState::Succeeded, 5));
    rig.jobs(&run).await;
}

on_both_stores! {
    a_list_that_is_not_as_long_as_it_claims_or_too_long_fails_its_source_and_nothing_else,
    each_element_is_an_item_and_makes_one_pass,
    an_empty_list_makes_no_passes,
    a_value_that_is_no_list_fails_the_loop_at_its_line,
    passes_of_a_long_loop_appear_as_they_are_claimed_and_the_totals_are_right_at_once,
    passes_still_to_be_made_survive_a_restart,
    nested_loops_see_outer_items_and_outer_results,
    a_pass_waits_for_an_outer_result_that_is_not_there_yet,
    a_pass_that_fails_leaves_the_others_alone,
    a_reset_in_a_pass_starts_its_pipe_over_and_keeps_the_item,
    a_source_that_runs_again_after_a_reset_begins_no_new_passes,
    a_cancelled_outer_result_cancels_the_passes_that_need_it,
}
