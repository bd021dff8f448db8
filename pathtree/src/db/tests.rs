//! The database: opening and refusing, transactions, those left open, numbers, the outbox, the bounded log.

mod ahead;
mod log;
mod opening;
mod outbox;
mod transactions;

use std::{path::Path, time::Duration};

use super::{Db, DbError, DbSettings, Doing as _, Migration, OpenError, Schema, Synchronous};
use crate::{bucket::Owner, clock::Clock, identity::DeviceId};

/// 2023-11-14, in Unix nanoseconds.
const NOW_NS: i64 = 1_700_000_000_000_000_000;
const DEVICE: DeviceId = DeviceId([7; 32]);
const OWNER: Owner = Owner { uid: 0, gid: 0 };

fn settings() -> DbSettings {
    DbSettings::SMALL
}

fn open(path: &Path) -> Result<Db, OpenError> {
    open_at(path, Clock::manual(NOW_NS))
}

fn open_at(path: &Path, clock: Clock) -> Result<Db, OpenError> {
    Db::open(path, &[crate::SCHEMA], &settings(), clock, DEVICE)
}

/// A database in a folder of its own, gone with it.
struct Scratch {
    dir: tempfile::TempDir,
    db: Db,
}

impl Scratch {
    fn new() -> Self {
        Self::with(&settings())
    }

    fn with(settings: &DbSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.db");
        let db =
            Db::open(&path, &[crate::SCHEMA], settings, Clock::manual(NOW_NS), DEVICE).unwrap();
        Self { dir, db }
    }

    /// Closes the database and opens it again, at a wall time of `now_ns`.
    fn reopen_at(self, now_ns: i64) -> Self {
        let Self { dir, db } = self;
        drop(db);
        let db = open_at(&dir.path().join("node.db"), Clock::manual(now_ns)).unwrap();
        Self { dir, db }
    }

    /// Runs a query that gives one number.
    fn number(&self, sql: &str) -> i64 {
        self.db.read(|conn| number(conn, sql)).unwrap()
    }
}

fn number(conn: &rusqlite::Connection, sql: &str) -> Result<i64, DbError> {
    conn.query_row(sql, [], |row| row.get(0)).doing("asking for a number")
}
