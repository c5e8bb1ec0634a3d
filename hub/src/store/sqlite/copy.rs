//! Copies of the queue's file: made while a hub runs, and put in its place while none does.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::open::{self, SCHEMA};
use crate::error::HubError;

/// Writes a consistent copy of the queue in `folder` to `file`. A hub may be running on it, in any process; it is not held up.
///
/// # Errors
/// There is no queue, `file` exists, or it cannot be written.
pub fn backup(folder: &Path, file: &Path) -> Result<(), HubError> {
    let path = folder.join(open::FILE);
    let source = || open_reader(&path);
    let in_target = |source| HubError::DataDir { path: file.to_owned(), source };
    if file.exists() {
        let source = "it exists already: name another file, or remove it".into();
        return Err(HubError::Copy { path: file.to_owned(), source });
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    remove(partial).map_err(in_target)?;
    let text = partial.to_str().ok_or_else(|| in_target(std::io::ErrorKind::InvalidFilename.into()))?;
    let copied = source()?.execute("VACUUM INTO ?1", [text]);
    if let Err(error) = copied {
        remove(partial).map_err(in_target)?;
        return Err(HubError::Copy { path: file.to_owned(), source: Box::new(error) });
    }
    File::open(partial).and_then(|copy| copy.sync_all()).map_err(in_target)?;
    std::fs::rename(partial, file).map_err(in_target)?;
    sync_folder(file).map_err(in_target)
}

/// Puts a copy made by [`backup`] in place of the queue in `folder`. No hub may be running on it.
///
/// # Errors
/// A hub is running, or `file` is no such copy; then nothing was changed.
pub fn restore(folder: &Path, file: &Path) -> Result<(), HubError> {
    check(file)?;
    let in_folder = |source| HubError::DataDir { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(in_folder)?;
    let _lock = open::lock(folder)?;
    let path = folder.join(open::FILE);
    let partial = folder.join("queue.db.partial");
    std::fs::copy(file, &partial).map_err(in_folder)?;
    File::open(&partial).and_then(|copy| copy.sync_all()).map_err(in_folder)?;
    fold_log(&path);
    for log in ["queue.db-wal", "queue.db-shm"] {
        remove(&folder.join(log)).map_err(in_folder)?;
    }
    sync_folder(&path).map_err(in_folder)?;
    std::fs::rename(&partial, &path).map_err(in_folder)?;
    sync_folder(&path).map_err(in_folder)
}

/// Brings what a queue's log holds into its file. The log must go before the copy comes, for it would be taken for the copy's; who stops in
/// between then still has the queue of before, whole. One that cannot be opened has nothing to lose by it.
fn fold_log(path: &Path) {
    if !path.exists() {
        return;
    }
    let folded =
        Connection::open(path).and_then(|old| old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    if let Err(error) = folded {
        tracing::warn!(%error, "the queue that is replaced cannot be read");
    }
}

fn open_reader(path: &Path) -> Result<Connection, HubError> {
    if !path.exists() {
        return Err(HubError::NoQueue { path: path.to_owned() });
    }
    open::reader(path).map_err(|source| open::failed(path, source))
}

/// A copy must be whole, a queue, and none of a newer version.
fn check(file: &Path) -> Result<(), HubError> {
    let wrong = |source| HubError::Copy { path: file.to_owned(), source };
    let opened = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let connection = opened.map_err(|error| wrong(Box::new(error)))?;
    let read = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    let state = read("PRAGMA quick_check(1)").map_err(|error| wrong(Box::new(error)))?;
    if state != "ok" {
        return Err(wrong(format!("it is damaged: {state}").into()));
    }
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let found = number("PRAGMA user_version").map_err(|error| wrong(Box::new(error)))?;
    let runs =
        number("SELECT count(*) FROM sqlite_master WHERE name = 'runs'").map_err(|error| wrong(Box::new(error)))?;
    if found == 0 || runs == 0 {
        return Err(wrong("it is no copy of a queue".into()));
    }
    if found > SCHEMA {
        return Err(HubError::Newer { path: file.display().to_string(), found, known: SCHEMA });
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A renamed file stays so only when its folder is on disk.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_whose_log_was_folded_in_is_whole_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, crashed) = (folder.path().join("queue.db"), folder.path().join("crashed.db"));
        let live = Connection::open(&path).unwrap();
        live.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7);").unwrap();
        std::fs::copy(&path, &crashed).unwrap();
        std::fs::copy(folder.path().join("queue.db-wal"), folder.path().join("crashed.db-wal")).unwrap();
        fold_log(&crashed);
        for log in ["crashed.db-wal", "crashed.db-shm"] {
            remove(&folder.path().join(log)).unwrap();
        }
        let found = Connection::open(&crashed).unwrap().query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0));
        assert_eq!(found.unwrap(), 7);
        drop(live);
    }
}
