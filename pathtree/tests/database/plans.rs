//! Asks SQLite how it would run every statement of a crate, and refuses what reads whole tables.
//!
//! Nothing has to be registered. The statements are the string literals of the crate's sources
//! that are SQL, and whatever a workload ran while it was watched. A literal that is only a part
//! of a statement (a `concat!`) is covered when the workload ran a statement that contains it;
//! one that nobody ran is a problem, too. So a new statement can not be forgotten.
//!
//! Other crates include this file by its path.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use rusqlite::{
    Connection,
    trace::{TraceEvent, TraceEventCodes},
};
use tesfs_pathtree::{Db, DbError, Doing as _};

/// A statement that may read a whole table: how it begins, or another part of it, and why.
pub(crate) type Allowed = (&'static str, &'static str);

/// What watched connections ran. SQLite tells a function, not a closure, hence a static.
static RAN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Watches the writer of `db` and one reader: open it with `readers_max: 1`, and before any query.
pub(crate) fn watch(db: &Db) {
    let events = TraceEventCodes::SQLITE_TRACE_STMT;
    let attach = |conn: &Connection| {
        conn.trace_v2(events, Some(note));
        Ok::<_, DbError>(())
    };
    db.write(|tx| attach(tx)).expect("an empty transaction");
    db.read(attach).expect("no query at all");
}

fn note(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(stmt, _) = event {
        RAN.lock().unwrap_or_else(PoisonError::into_inner).insert(one_line(&stmt.sql()));
    }
}

/// Returns what is wrong with the statements in `sources` (folders) and with those that ran.
pub(crate) fn problems(db: &Db, sources: &[&Path], allowed: &[Allowed]) -> Vec<String> {
    let ran = RAN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut problems = Vec::new();
    let mut statements = ran.clone();
    for (file, literal) in sources.iter().flat_map(|folder| literals(folder)) {
        if plan(db, &literal).is_ok() {
            statements.insert(literal);
        } else if !literal.split(['{', '}']).step_by(2).all(|part| is_part(&ran, part)) {
            problems.push(format!("{file}: nobody ran a statement with: {literal}"));
        }
    }
    let mut used = BTreeSet::new();
    for statement in &statements {
        // What SQLite and honker run for themselves can not be explained, or is not ours.
        let Ok(plan) = plan(db, statement) else { continue };
        let slow: Vec<&String> = plan.iter().filter(|step| is_slow(step)).collect();
        if slow.is_empty() {
            continue;
        }
        match allowed.iter().find(|(part, _)| statement.contains(part)) {
            Some((part, _)) => drop(used.insert(*part)),
            None => problems.push(format!("{slow:?} in: {statement}")),
        }
    }
    for (part, _) in allowed.iter().filter(|(part, _)| !used.contains(part)) {
        problems.push(format!("allowed and not needed: {part}"));
    }
    problems
}

fn is_part(ran: &BTreeSet<String>, part: &str) -> bool {
    ran.iter().any(|statement| statement.contains(part.trim()))
}

/// A step that reads every row of a table or index, or every row beyond some value, sorts what it
/// found, or builds an index of its own to avoid worse. Reading all of a subquery is no such step.
fn is_slow(step: &str) -> bool {
    let scan = step.strip_prefix("SCAN ").is_some_and(|what| {
        !(what == "CONSTANT ROW" || what.starts_with('(') || what.contains("CONSTANT ROW"))
    });
    let bounded = step.contains("=?") || (step.contains(">?") && step.contains("<?"));
    let open_range = step.starts_with("SEARCH ") && step.ends_with("?)") && !bounded;
    scan || open_range || step.starts_with("USE TEMP B-TREE") || step.contains("AUTOMATIC")
}

/// Returns the steps of a statement's plan. None of its parameters has a value.
fn plan(db: &Db, statement: &str) -> Result<Vec<String>, DbError> {
    db.write(|tx| {
        let explain = || {
            let mut stmt = tx.prepare_cached(&format!("EXPLAIN QUERY PLAN {statement}"))?;
            let mut rows = stmt.raw_query();
            let mut steps = Vec::new();
            while let Some(row) = rows.next()? {
                steps.push(row.get(3)?);
            }
            Ok(steps)
        };
        explain().doing("explaining a statement")
    })
}

/// Returns the literals with SQL of every source file below `folder`, tests left out.
fn literals(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a readable entry").path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(literals(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            let sql = strings(code).into_iter().filter(|literal| is_sql(literal));
            found.extend(sql.map(|literal| (path.display().to_string(), one_line(&literal))));
        }
    }
    found
}

fn is_sql(literal: &str) -> bool {
    let words: Vec<&str> = literal.split_whitespace().collect();
    let verb = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];
    words.first().is_some_and(|first| verb.contains(first))
        || words.iter().any(|word| ["FROM", "WHERE", "JOIN"].contains(word))
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the values of the string literals in Rust code.
fn strings(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (token, tail) = rest[at..].split_at(1);
        rest = match token {
            "/" if tail.starts_with('/') => tail.split_once('\n').map_or("", |(_, next)| next),
            // A quote as a character, escaped or not; other apostrophes are lifetimes.
            "'" if tail.starts_with("\"'") => &tail[2..],
            "'" if tail.starts_with("\\\"'") => &tail[3..],
            "\"" => {
                let (literal, next) = string(tail);
                found.push(literal);
                next
            }
            _ => tail,
        };
    }
    found
}

/// Reads a literal behind its opening quote; returns it and what follows.
fn string(code: &str) -> (String, &str) {
    let mut literal = String::new();
    let mut chars = code.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (literal, &code[at + 1..]),
            '\\' => match chars.next() {
                // A continued line: its indentation is skipped, here by one_line.
                Some((_, '\n')) => literal.push(' '),
                Some((_, 'n')) => literal.push('\n'),
                Some((_, other)) => literal.push(other),
                None => break,
            },
            other => literal.push(other),
        }
    }
    (literal, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_where_they_are() {
        let code = r#"
            // a "comment"
            let quote = '"'; let escaped = '\"'; fn f<'a>() {}
            run("SELECT a \
                 FROM b", "no\"t");
        "#;
        let found: Vec<String> = strings(code).iter().map(|literal| one_line(literal)).collect();
        assert_eq!(found, ["SELECT a FROM b", "no\"t"]);
        assert!(is_sql("SELECT a FROM b") && is_sql(", c FROM b") && !is_sql("select a from b"));
    }
}
