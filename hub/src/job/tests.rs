//! What is stored reads back, what cannot be is refused, and each transition leads where the table says.

use protocol::{LeaseToken, SessionId};

use super::*;

const HELD: Held = Held { token: LeaseToken([1; 16]), session: SessionId([2; 8]), scope: 3, since_ms: 4, time_ms: 5 };

const TALLY: Tally = Tally { failures: 1, pendings: 2, losses: 3 };

fn columns(state: State) -> Columns {
    Columns {
        state: state as i64,
        open_parents: u32::from(state == State::Waiting),
        attempts: 7,
        tally: TALLY,
        from_ms: (state == State::Parked).then_some(6),
        held: (state == State::Leased).then_some(HELD),
    }
}

fn stored(state: State) -> Standing {
    Standing::stored(columns(state)).unwrap()
}

fn all() -> impl Iterator<Item = State> {
    (0..7).filter_map(State::from_number)
}

#[test]
fn every_state_reads_back_as_it_was_stored() {
    for state in all() {
        let standing = stored(state);
        let again = Columns {
            state: standing.state() as i64,
            open_parents: standing.open_parents(),
            attempts: standing.attempts(),
            tally: standing.tally(),
            from_ms: standing.from_ms(),
            held: standing.held().copied(),
        };
        assert_eq!(again, columns(state));
    }
}

#[test]
fn columns_that_cannot_be_are_refused() {
    let refused = |columns| Standing::stored(columns).unwrap_err();
    assert_eq!(refused(Columns { state: 7, ..columns(State::Ready) }), Impossible::NoState(7));
    assert_eq!(refused(Columns { open_parents: 0, ..columns(State::Waiting) }), Impossible::WaitsForNothing);
    assert_eq!(refused(Columns { from_ms: None, ..columns(State::Parked) }), Impossible::NoTime);
    assert_eq!(refused(Columns { held: None, ..columns(State::Leased) }), Impossible::NoLease);
    for state in all().filter(|state| *state != State::Parked) {
        assert_eq!(refused(Columns { from_ms: Some(1), ..columns(state) }), Impossible::Time(state));
    }
    for state in all().filter(|state| *state != State::Leased) {
        assert_eq!(refused(Columns { held: Some(HELD), ..columns(state) }), Impossible::Lease(state));
    }
}

#[test]
fn parents_left_open_in_a_state_that_waits_for_none_are_no_matter() {
    for state in all().filter(|state| *state != State::Waiting) {
        assert!(Standing::stored(Columns { open_parents: 2, ..columns(state) }).is_ok(), "{state:?}");
    }
}

#[test]
fn a_new_job_waits_for_those_parents_that_have_not_succeeded() {
    let submitted = |parents: &[State]| Standing::submitted(parents.iter().copied());
    assert_eq!(submitted(&[]).state(), State::Ready);
    assert_eq!(submitted(&[State::Succeeded]).state(), State::Ready);
    let waiting = submitted(&[State::Succeeded, State::Failed, State::Leased]);
    assert_eq!((waiting.state(), waiting.open_parents()), (State::Waiting, 2));
    assert_eq!(submitted(&[State::Ready, State::Cancelled]).state(), State::Cancelled);
}

#[test]
fn the_last_parent_makes_a_job_ready() {
    let waiting = Waiting::try_from(Standing::submitted([State::Ready, State::Ready])).unwrap();
    let waiting = Waiting::try_from(waiting.parent_succeeded()).unwrap();
    assert_eq!(waiting.parent_succeeded().state(), State::Ready);
}

#[test]
fn a_lease_counts_an_attempt_and_forgets_nothing() {
    let leased = Ready::try_from(stored(State::Ready)).unwrap().lease(HELD);
    assert_eq!((leased.attempt(), leased.held()), (8, &HELD));
    let again = Standing::from(leased.give_back());
    assert_eq!((again.state(), again.attempts(), again.tally()), (State::Ready, 8, TALLY));
}

#[test]
fn what_is_parked_is_brought_forward_and_never_put_off() {
    let parked = Parked::try_from(stored(State::Parked)).unwrap();
    assert_eq!(parked.clone().bring_forward(2).from_ms(), 2);
    assert_eq!(parked.clone().bring_forward(9).from_ms(), 6);
    assert_eq!(Standing::from(parked.wake()).state(), State::Ready);
}

#[test]
fn what_has_not_ended_can_be_cancelled_and_what_has_stays() {
    for state in all() {
        let open = matches!(state, State::Waiting | State::Ready | State::Parked | State::Leased);
        assert_eq!(stored(state).cancel().is_some(), open, "{state:?}");
    }
}

#[test]
fn whatever_state_it_is_in_a_job_starts_over_with_all_its_retries() {
    for state in all() {
        let over = stored(state).start_over(0);
        assert_eq!((over.state(), over.attempts(), over.tally()), (State::Ready, 7, Tally::default()), "{state:?}");
        assert_eq!(stored(state).start_over(2).open_parents(), 2);
    }
}
