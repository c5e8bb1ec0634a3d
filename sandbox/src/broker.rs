//! The broker: first process of the cell of a warm interpreter, and maker of a cell for each attempt.
//!
//! ```text
//! worker → broker     fork NUMBER NAME    with the step's input, output and errors; NAME is its folder
//! broker → warm       fork NUMBER NAME PID
//!                     with the same, the first process PID of a cell, and where that says it is ready
//! broker → worker     refused NUMBER REASON
//!                     broken REASON       there will be no warm interpreter
//! ```
//!
//! All else is between the worker and the warm interpreter. When either is gone the broker ends, and with it all that is in
//! its namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::attempt_cell;
use crate::cell::Identity;
use crate::error::{Context, Result};
use crate::messages::{self, Message};
use crate::namespaces::{self, Side};

/// Serves until the worker or the warm interpreter is gone.
pub(crate) fn serve(orders: &OwnedFd, warm: &OwnedFd) -> Result {
    loop {
        let mut ready = [PollFd::new(orders.as_fd(), PollFlags::POLLIN), PollFd::new(warm.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            answered => answered.to("wait for orders")?,
        };
        let [order, warm_gone] = ready.map(|descriptor| descriptor.any().unwrap_or(false));
        if warm_gone {
            // It never says anything: this is its end.
            return Ok(());
        }
        if order {
            match messages::receive(orders.as_fd()).to("take an order")? {
                Some(message) => carry_out(message, orders.as_fd(), warm.as_fd())?,
                None => return Ok(()),
            }
        }
    }
}

fn carry_out(message: Message, orders: BorrowedFd<'_>, warm: BorrowedFd<'_>) -> Result {
    let mut words = message.text.split(' ');
    let (Some("fork"), Some(number), Some(name)) = (words.next(), words.next(), words.next()) else {
        return Ok(());
    };
    match make_cell(name, number, &message, warm) {
        Ok(()) => Ok(()),
        Err(error) => messages::send(orders, &format!("refused {number} {error}"), &[]).to("refuse an order"),
    }
}

fn make_cell(name: &str, number: &str, message: &Message, warm: BorrowedFd<'_>) -> io::Result<()> {
    if !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(io::Error::other(format!("`{name}` is no folder of an attempt")));
    }
    let (listener, ready) = io::pipe()?;
    let identity = Identity::own();
    match namespaces::child_in(namespaces::CELL)? {
        Side::Child => attempt_cell::hold(name, identity, ready),
        Side::Parent(pid, first) => {
            let mut descriptors: Vec<BorrowedFd<'_>> = message.descriptors.iter().map(AsFd::as_fd).collect();
            descriptors.extend([first.as_fd(), listener.as_fd()]);
            messages::send(warm, &format!("fork {number} {name} {pid}"), &descriptors)
        }
    }
}
