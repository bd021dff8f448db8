//! Asking SQLite whether the database file is sound.

use super::{Db, DbError, Doing as _};

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckDepth {
    /// The structure of every page.
    Quick,
    /// Also that every index agrees with its table.
    Full,
}

/// Findings after which there is no point in looking on.
const FINDINGS_MAX: usize = 100;

impl Db {
    /// Returns what is wrong with the file, one line each; nothing when it is sound.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn check(&self, depth: CheckDepth) -> Result<Vec<String>, DbError> {
        let sql = match depth {
            CheckDepth::Quick => "PRAGMA quick_check",
            CheckDepth::Full => "PRAGMA integrity_check",
        };
        self.read(|conn| {
            let mut statement = conn.prepare_cached(sql).doing("checking the database")?;
            let lines = statement
                .query_map([], |row| row.get::<_, String>(0))
                .doing("checking the database")?;
            let mut findings = Vec::new();
            for line in lines.take(FINDINGS_MAX) {
                let line = line.doing("checking the database")?;
                if line != "ok" {
                    findings.push(line);
                }
            }
            Ok(findings)
        })
    }
}
