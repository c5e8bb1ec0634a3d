//! The worker: leases jobs, runs each step in a child process, settles what came of it.
