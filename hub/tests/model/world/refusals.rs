//! A database that refuses what a request would write: the request fails, nothing has changed, and it can be repeated.

use bue_hub::QueueError;

use super::burst::Request;
use super::{Place, World};
use crate::rig;

/// The table that takes no new rows for a while.
#[derive(Clone, Copy)]
enum Table {
    Attempts,
    Leases,
    Runs,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Leases => "leases",
            Self::Runs => "runs",
        }
    }
}

impl World {
    pub(super) async fn refuse(&mut self) {
        if matches!(self.place, Place::Database(_)) && !self.chance.once_in(20) {
            return;
        }
        match self.chance.below(3) {
            0 => self.refuse_settlements().await,
            1 => self.refuse_leases().await,
            _ => self.refuse_a_run().await,
        }
    }

    async fn refuse_settlements(&mut self) {
        let (request, deeds) = self.settle_request();
        self.refuse_rows(Table::Attempts).await;
        let refused = self.store().settle(request.clone(), self.now_ms).await;
        self.accept_rows(Table::Attempts).await;
        let writes = request.settlements.iter().any(|settlement| self.model.is_held(settlement.job, settlement.token));
        let answers = match refused {
            Err(error) => {
                assert!(writes);
                self.check_refusal(&error);
                self.store().settle(request.clone(), self.now_ms).await.unwrap()
            }
            Ok(answers) => {
                assert!(!writes, "it was written: {answers:?}");
                answers
            }
        };
        let requests = [Request::Settle(request.clone(), deeds.clone())];
        self.learn_all(&requests).await;
        self.check_settlements(&request, &deeds, &answers);
        self.read_drawn_times().await;
    }

    async fn refuse_leases(&mut self) {
        let (request, share) = self.lease_request();
        self.refuse_rows(Table::Leases).await;
        let refused = self.store().lease(request.clone(), share, self.now_ms).await;
        self.accept_rows(Table::Leases).await;
        let given = match refused {
            Err(error) => {
                self.check_refusal(&error);
                self.store().lease(request.clone(), share, self.now_ms).await.unwrap()
            }
            Ok(given) => {
                assert!(given.leases.is_empty(), "they were written: {given:?}");
                given
            }
        };
        let may_end_early = self.may_be_barren();
        let newest = self.learn_all(&[]).await;
        let may_end_early = may_end_early || self.may_be_barren();
        self.check_leases(&request, share, &given, newest, may_end_early);
    }

    async fn refuse_a_run(&mut self) {
        let shape = self.chance.below(self.shapes.len());
        let submission = self.submission(shape, Some("refused".to_owned()));
        let (script, manifest) = (submission.plan.script.clone(), submission.manifest.clone());
        self.refuse_rows(Table::Runs).await;
        let refused = self.store().submit(submission).await;
        self.accept_rows(Table::Runs).await;
        match refused {
            Err(QueueError::MissingFiles(_)) => {}
            Err(error) => self.check_refusal(&error),
            Ok((run, _)) => panic!("{run} was written"),
        }
        assert_eq!(self.store().run_of_key("refused".to_owned(), script, manifest).await.unwrap(), None);
    }

    fn check_refusal(&mut self, error: &QueueError) {
        assert!(matches!(error, QueueError::Store { .. } | QueueError::Unwritten(_)), "{error}");
        self.note("refusals");
    }

    async fn refuse_rows(&self, table: Table) {
        let name = table.name();
        let on_sqlite = format!("INSERT INTO refused (name) VALUES ('{name}')");
        let on_postgres = format!("ALTER TABLE bue.{name} ADD CONSTRAINT refuse CHECK (false) NOT VALID");
        self.change(&on_sqlite, &on_postgres).await;
    }

    async fn accept_rows(&self, table: Table) {
        let on_postgres = format!("ALTER TABLE bue.{} DROP CONSTRAINT refuse", table.name());
        self.change("DELETE FROM refused", &on_postgres).await;
    }

    async fn change(&self, on_sqlite: &str, on_postgres: &str) {
        match (&self.place, &self.side_door) {
            (Place::Database(url), _) => rig::postgres::change(url, on_postgres).await,
            (Place::Folder(_), Some(file)) => file.execute_batch(on_sqlite).unwrap(),
            (Place::Folder(_), None) => unreachable!("it is opened with the world"),
        }
    }
}

/// A connection that changes SQLite's file behind the hub's back. What refuses rows is made once, and asks a table: a schema that
/// changes would have each statement compiled again.
pub(super) fn side_door(place: &Place) -> Option<rusqlite::Connection> {
    let Place::Folder(folder) = place else { return None };
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    file.pragma_update(None, "synchronous", "OFF").unwrap();
    file.execute_batch("CREATE TABLE refused (name TEXT)").unwrap();
    for table in [Table::Attempts, Table::Leases, Table::Runs] {
        let name = table.name();
        file.execute_batch(&format!(
            "CREATE TRIGGER refuse_{name} BEFORE INSERT ON {name} WHEN EXISTS (SELECT 1 FROM refused WHERE name = '{name}')
            BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ))
        .unwrap();
    }
    Some(file)
}
