//! What statements of a SQLite step may not do, and what they are told then.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

/// Pragmas that tell something and change nothing outside of this database.
const PRAGMAS: [&str; 7] =
    ["table_info", "table_xinfo", "table_list", "index_list", "index_info", "case_sensitive_like", "function_list"];
/// The same, that full-text and range tables use.
const PRAGMAS_OF_TABLES: [&str; 2] = ["data_version", "page_size"];
/// Functions that other programs with SQLite in them have, and that touch files.
const FUNCTIONS_OF_FILES: [&str; 5] = ["readfile", "writefile", "edit", "fsdir", "lsdir"];

/// Keeps statements within their database, and remembers what it refused.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard(Arc<Mutex<Option<Refused>>>);

/// What a statement wanted to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// To reach another database, or to leave one.
    Attach,
    /// To write itself into a file, or anew.
    Vacuum,
    /// To load a library.
    LoadExtension,
    /// To use a pragma of this name.
    Pragma(String),
    /// To use a function of this name that reads or writes files.
    FileFunction(String),
    /// To do what nobody has thought of.
    Other,
}

impl Guard {
    /// From here on statements touch this database and nothing else: no file, no other database, no library.
    pub(super) fn set(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        let refused = Arc::clone(&self.0);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let Some(wanted) = forbidden(&context.action) else { return Authorization::Allow };
            *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
            Authorization::Deny
        }))
    }

    /// What was refused last: whatever has failed since then has failed for it.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn forbidden(action: &AuthAction<'_>) -> Option<Refused> {
    match action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some(Refused::Attach),
        AuthAction::Unknown { .. } => Some(Refused::Other),
        AuthAction::Function { function_name } if function_name.eq_ignore_ascii_case("load_extension") => {
            Some(Refused::LoadExtension)
        }
        // Virtual tables that SQLite brings along ask for these themselves.
        AuthAction::Pragma { pragma_name, pragma_value: None } if PRAGMAS_OF_TABLES.contains(pragma_name) => None,
        AuthAction::Pragma { pragma_name, .. } if !PRAGMAS.contains(&pragma_name.to_ascii_lowercase().as_str()) => {
            Some(Refused::Pragma((*pragma_name).to_owned()))
        }
        _ => None,
    }
}

impl Refused {
    /// What an error means that says so: SQLite has no such functions here.
    pub(super) fn of_message(message: &str) -> Option<Self> {
        let name = message.strip_prefix("no such function: ")?;
        let is_of_files = FUNCTIONS_OF_FILES.iter().any(|known| known.eq_ignore_ascii_case(name));
        is_of_files.then(|| Self::FileFunction(name.to_owned()))
    }

    /// The same, by the first word of the statement where that tells more.
    pub(super) fn by_first_word(self, word: &str) -> Self {
        // SQLite attaches what it vacuums into.
        if self == Self::Attach && word == "vacuum" { Self::Vacuum } else { self }
    }

    /// Whether a statement that begins with this word can have wanted it.
    pub(super) fn fits(&self, word: &str) -> bool {
        match self {
            Self::Attach => matches!(word, "attach" | "detach"),
            Self::Vacuum => word == "vacuum",
            Self::Pragma(_) => word == "pragma",
            Self::LoadExtension | Self::FileFunction(_) | Self::Other => true,
        }
    }

    /// What was refused.
    pub(super) fn what(&self) -> String {
        let what = match self {
            Self::Attach => "ATTACH and DETACH are",
            Self::Vacuum => "VACUUM is",
            Self::LoadExtension => "load_extension() is",
            Self::Pragma(name) => return format!("PRAGMA {name} is not allowed in an sqlite3 step"),
            Self::FileFunction(name) => return format!("there is no {name}() in an sqlite3 step"),
            Self::Other => "this statement is",
        };
        format!("{what} not allowed in an sqlite3 step")
    }

    /// Why, and what to do instead.
    pub(super) fn way_out(&self) -> String {
        let instead = match self {
            Self::Attach => {
                "pass the rows of another step on to this one, or have a Python step before it read the database and return them"
            }
            Self::Vacuum => {
                "leave it out: the tables are in memory; what the last statement returns is the step's value"
            }
            Self::LoadExtension => "do in a Python step what the library does",
            Self::FileFunction(_) => {
                "have a Python step before it read the file and return its rows, or one after it write what this step returns"
            }
            Self::Pragma(_) => {
                return format!("{REACH}; leave it out: of PRAGMAs there are {}", PRAGMAS.join(", "));
            }
            Self::Other => "use a Python step",
        };
        format!("{REACH}; {instead}")
    }
}

const REACH: &str = "its statements reach nothing but its own tables, no file, no other database and no library";
