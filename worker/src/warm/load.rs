//! Modules that an interpreter loads before it is forked, for the steps that import them: then they need not be loaded by each.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Warm;
use super::link::MESSAGE_BYTES_MAX;
use crate::environments::Imports;

/// Longest time for all modules; what takes longer is loaded by each attempt.
const LOAD_MAX: Duration = Duration::from_secs(120);
/// Modules that may turn out unfit: each of them costs a start.
const UNFIT_MAX: usize = 8;

/// What an interpreter says of modules.
#[derive(Debug)]
pub(super) enum Loaded {
    /// They are there, so many of them.
    Modules(u32),
    /// One of them is not to be there when a process is forked; one that is late may be loaded by a process that waits for its step.
    Unfit { module: String, reason: String, is_late: bool },
}

/// Why modules are not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is no interpreter, or it ended.
    #[error("{0}")]
    NoInterpreter(#[from] io::Error),
    /// It did not come to an end.
    #[error("it did not come to an end in {} s", LOAD_MAX.as_secs())]
    TooSlow,
    /// One after another must not be there in a fork.
    #[error("{UNFIT_MAX} of them cannot be there when a process is forked")]
    Unfit,
}

impl Warm {
    /// Has the interpreter load modules, in no more than `data_bytes_max` of memory; answers with how many there are now
    /// that were not there before. One that does not suit a process that is forked is left out, with a word in the log; where that is
    /// for its threads alone, it is loaded by each process that waits for a step.
    pub(crate) async fn load(&self, imports: &Imports, data_bytes_max: u64) -> Result<u32, LoadError> {
        let mut unfit = BTreeMap::new();
        while unfit.len() < UNFIT_MAX {
            let link = self.link().await?;
            let loading = async { link.load(&orders(imports, data_bytes_max, &unfit)).await.await.map_err(ended) };
            match tokio::time::timeout(LOAD_MAX, loading).await {
                Ok(Ok(Loaded::Modules(count))) => {
                    *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&link);
                    return Ok(count);
                }
                Ok(Ok(Loaded::Unfit { module, reason, is_late })) => {
                    if is_late {
                        tracing::info!("the module {module} {reason}: each process imports it that waits for a step");
                    } else {
                        tracing::warn!(
                            "the module {module} {reason}: it is imported by each attempt of its own, not beforehand for all of them"
                        );
                    }
                    self.give_up_interpreter().await;
                    unfit.insert(module, is_late);
                }
                Ok(Err(error)) => {
                    self.give_up_interpreter().await;
                    return Err(error.into());
                }
                Err(_) => {
                    self.give_up_interpreter().await;
                    return Err(LoadError::TooSlow);
                }
            }
        }
        Err(LoadError::Unfit)
    }

    /// Memory for data of the interpreter, where it runs and has loaded what it was told to.
    pub(crate) fn loaded_bytes(&self) -> Option<u64> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?.loaded_bytes()
    }

    /// Ends the interpreter: what it was told made it useless, which is no reason to wait with the next one.
    async fn give_up_interpreter(&self) {
        self.running.lock().await.interpreter = None;
    }
}

/// The orders, one for each module; the bound and the names that must not be taken come before. Of those that are unfit it is said
/// whether they are to be loaded late.
fn orders(imports: &Imports, data_bytes_max: u64, unfit: &BTreeMap<String, bool>) -> Vec<String> {
    let mut orders = vec![format!("bound {data_bytes_max}"), "own".to_owned()];
    for name in &imports.own {
        if orders.last().is_none_or(|order| order.len() + 1 + name.len() > MESSAGE_BYTES_MAX) {
            orders.push("own".to_owned());
        }
        if let Some(order) = orders.last_mut() {
            order.push(' ');
            order.push_str(name);
        }
    }
    let order = |module: &String| match unfit.get(module) {
        None => Some(format!("load {module}")),
        Some(true) => Some(format!("late {module}")),
        Some(false) => None,
    };
    orders.extend(imports.modules.iter().filter_map(order));
    orders.push("loaded".to_owned());
    orders
}

fn ended<E>(_: E) -> io::Error {
    io::Error::other("the interpreter ended while it loaded them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_each_module_and_fit_into_messages() {
        let own = (0..300).map(|number| format!("name_{number:03}")).collect();
        let modules = ["json", "numpy", "polars"].map(str::to_owned).to_vec();
        let unfit = BTreeMap::from([("numpy".to_owned(), false), ("polars".to_owned(), true)]);
        let orders = orders(&Imports { modules, own }, 1 << 30, &unfit);
        assert!(orders.iter().all(|order| order.len() <= MESSAGE_BYTES_MAX), "{orders:?}");
        let names: usize =
            orders.iter().filter_map(|order| order.strip_prefix("own ")).map(|o| o.split(' ').count()).sum();
        assert_eq!(names, 300);
        assert_eq!(orders[orders.len() - 3..], ["load json", "late polars", "loaded"]);
    }
}
