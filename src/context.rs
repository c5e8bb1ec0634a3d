//! What every command starts from: the settings, the data folder, and ways to the hub and into async code.

use std::future::Future;
use std::path::PathBuf;

use crate::cli::HubPlace;
use crate::client::{Client, Patience};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::output;
use crate::secrets;
use crate::settings::{SettingError, Sources, places, table};

/// Settings and data folder of this call.
#[derive(Debug)]
pub struct Context {
    /// What the environment and `.env` say.
    pub sources: Sources,
    /// Where state is.
    pub data_dir: DataDir,
}

/// Name of the data folder where none is given.
const DATA_DIR: &str = ".bue";

impl Context {
    /// Reads the settings.
    pub fn load(data_dir: Option<PathBuf>) -> Result<Self> {
        let folder = std::env::current_dir()
            .map_err(|error| Error::machine(format_args!("cannot find the current folder: {error}")))?;
        let sources = Sources::load(&folder)?;
        sources.warnings().iter().for_each(|warning| output::note(&format!("warning: {warning}")));
        let path = match data_dir {
            Some(path) => path,
            None => sources.read(&table::BUE_DATA_DIR)?.unwrap_or_else(|| PathBuf::from(DATA_DIR)),
        };
        Ok(Self { sources, data_dir: DataDir::new(folder.join(path)) })
    }

    /// The hub that `place` or the settings name.
    pub fn client(&self, place: &HubPlace) -> Result<Client> {
        let address = places::hub_of_user(place.hub.as_ref(), &self.sources, &self.data_dir)?;
        let token = secrets::token_of_client(&self.sources, &self.data_dir)?;
        Ok(Client::new(address, token, Patience::OF_PEOPLE)?)
    }

    /// The interpreter that `flag` or the settings name, where one does.
    pub fn python(&self, flag: Option<&PathBuf>) -> Result<worker::Python> {
        let wanted = match flag {
            Some(flag) => Some(flag.clone()),
            None => self.sources.read(&table::BUE_PYTHON)?,
        };
        worker::find_python(wanted.as_deref()).map_err(|error| {
            Error::machine(error).hint("steps need Python 3.9 or later; --python or BUE_PYTHON names one")
        })
    }
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        let told = Self::usage(&error);
        match error {
            SettingError::Malformed { .. } | SettingError::Order { .. } => {
                told.hint("docs/settings.md says what each setting means, and what holds where it is not set")
            }
            SettingError::File { .. } => told,
        }
    }
}

/// Runs async work of a command that is over soon, on this thread.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(no_runtime)?.block_on(work)
}

/// Runs a service, on all cores.
pub fn block_on_all_cores<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(no_runtime)?.block_on(work)
}

fn no_runtime(error: std::io::Error) -> Error {
    Error::machine(format_args!("cannot start: {error}"))
}
