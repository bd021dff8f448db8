//! docs/SCHEMA.md is what the migrations lead to, in the words that stand beside them.
//!
//! `cargo test -p tesfs-tests --test schema write_it -- --ignored` brings it up to date.

#![expect(clippy::unwrap_used, reason = "what a test builds on fails like the test itself")]

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use tesfs_pathtree::{Clock, Db, DbError, DbSettings, DeviceId, Doing as _, Schema};

const SCHEMAS: [Schema; 2] = [tesfs_pathtree::SCHEMA, tesfs_blobs::SCHEMA];

const INTRODUCTION: &str = "\
# The node database

<!-- Written by tests/tests/schema.rs from the migrations: change those, then run
     cargo test -p tesfs-tests --test schema write_it -- --ignored -->

`node.db` in the data directory is one SQLite database with everything a node knows: of all its
buckets, in all their versions, and where the bytes are. Bytes up to 16 KiB are in it, larger ones
are files beside it. It is written by one process, under its lock; whoever wants to look inside
opens it read-only (`sqlite3 -readonly`), at any time.

It is in WAL mode, with pages of 4 KiB and incremental vacuum. All tables are STRICT. Those that are
only ever found by their key have no rowid. Times are nanoseconds since 1970 and end in `_ns`,
sizes are bytes. `hlc` is a reading of the hybrid logical clock: 48 bits of milliseconds since 1970,
then 16 bits of counter. A stamp is (hlc, actor); `since` and `until` are readings, too.

Each crate owns its tables and brings them up to date at the start, all crates in one transaction.
`schema_versions` says how far each has come. A release refuses a database in which any of them is
newer than it knows, before it has changed a byte. Steps that were released are never edited, and
`pathtree/tests/fixtures` keeps a database of each version.

Tables whose names begin with `_honker` belong to the library of that name; of these only
`_honker_stream` and `_honker_stream_consumers` ever have rows, hardly more than one each.
";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/SCHEMA.md")
}

/// The statement that made each table and index of ours, by name.
fn statements() -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let db =
        Db::open(&path, &SCHEMAS, &DbSettings::SMALL, Clock::manual(0), DeviceId([0; 32])).unwrap();
    db.read(|conn| {
        conn.prepare_cached(
            "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL
             AND name NOT LIKE '\\_honker%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'",
        )
        .and_then(|mut stmt| stmt.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .doing("reading the schema")
        .map_err(|err: DbError| err)
    })
    .unwrap()
}

/// Every table and index of a crate in the order of its steps, with the comment above it.
fn objects(schema: &Schema) -> Vec<(String, String)> {
    let mut objects: Vec<(String, String)> = Vec::new();
    for step in schema.migrations {
        let mut comment = String::new();
        for line in step.sql.lines() {
            if let Some(words) = line.strip_prefix("--") {
                comment.push_str(words.trim());
                comment.push('\n');
            } else if let Some(name) = created(line) {
                objects.retain(|(known, _)| *known != name);
                objects.push((name, std::mem::take(&mut comment)));
            } else {
                comment.clear();
            }
        }
    }
    objects
}

/// The name of the table or index that a line creates.
fn created(line: &str) -> Option<String> {
    let rest = line.strip_prefix("CREATE ")?;
    let rest = rest.strip_prefix("UNIQUE ").unwrap_or(rest);
    let rest = rest.strip_prefix("TABLE ").or_else(|| rest.strip_prefix("INDEX "))?;
    rest.split_whitespace().next().map(str::to_owned)
}

fn generated() -> String {
    let mut statements = statements();
    let mut text = INTRODUCTION.to_owned();
    let versions = statements.remove("schema_versions").expect("every database has it");
    describe(&mut text, "schema_versions", "How far each crate has come.\n", &versions);
    for schema in SCHEMAS {
        writeln!(text, "\n## Tables of {}", schema.owner).unwrap();
        for (name, comment) in objects(&schema) {
            // A later step may have dropped it again.
            let Some(sql) = statements.remove(&name) else { continue };
            assert!(!comment.is_empty(), "{name} says in a comment what it is for");
            describe(&mut text, &name, &comment, &sql);
        }
    }
    assert!(statements.is_empty(), "nobody's: {statements:?}");
    text
}

fn describe(text: &mut String, name: &str, comment: &str, sql: &str) {
    writeln!(text, "\n### {name}\n\n{comment}\n```sql\n{sql};\n```").unwrap();
}

#[test]
fn the_page_is_what_the_migrations_lead_to() {
    let written = fs::read_to_string(page()).unwrap_or_default();
    let expected = generated();
    let same = written.lines().zip(expected.lines()).take_while(|(one, other)| one == other);
    let line = same.count();
    assert!(
        written == expected,
        "docs/SCHEMA.md differs from the migrations at line {}: {:?} should be {:?}\n\
         (cargo test -p tesfs-tests --test schema write_it -- --ignored)",
        line + 1,
        written.lines().nth(line),
        expected.lines().nth(line),
    );
}

#[test]
#[ignore = "writes docs/SCHEMA.md"]
fn write_it() {
    fs::write(page(), generated()).unwrap();
}
