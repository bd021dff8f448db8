//! What holds for every tree at every time, as queries that must find nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::params;

use super::*;

/// Every version of every facet: row, facet's bit, since, actor, until (`NULL` = current), born.
const VERSIONS: &str = "
    SELECT id, 1 AS bit, iif(e_since = 0, born, e_since) AS since,
           iif(e_since = 0, born_actor, e_actor) AS actor, NULL AS until, born, '' AS of
    FROM inodes WHERE branch = ?1
    UNION ALL
    SELECT id, 2, iif(a_since = 0, born, a_since), iif(a_since = 0, born_actor, a_actor), NULL,
           born, '' FROM inodes WHERE branch = ?1 AND target IS NULL
    UNION ALL
    SELECT id, 4, iif(c_since = 0, born, c_since), iif(c_since = 0, born_actor, c_actor), NULL,
           born, '' FROM inodes WHERE branch = ?1 AND target IS NULL
    UNION ALL
    SELECT p.id, 1 << p.facet, p.since, p.actor, p.until, i.born, ''
    FROM past AS p LEFT JOIN inodes AS i ON i.id = p.id AND i.branch = p.branch
    WHERE p.branch = ?1
    UNION ALL
    SELECT id, 2, since, actor, NULL, 0, hex(name) FROM xattrs WHERE branch = ?1
    UNION ALL
    SELECT id, 2, since, actor, until, 0, hex(name) FROM past_xattrs WHERE branch = ?1";

/// What must not be, and a query for it; `versions` and `edges` are there to ask.
const RULES: &[(&str, &str)] = &[
    (
        "a live edge hangs in a live directory",
        "SELECT e.row FROM edges AS e LEFT JOIN inodes AS d ON d.id = e.parent AND d.branch = ?1
         WHERE coalesce(d.mode & 61440 = 16384 AND d.nlink > 0, 0) = 0",
    ),
    (
        "a live edge leads to an inode",
        "SELECT e.row FROM edges AS e LEFT JOIN inodes AS i ON i.id = e.ino AND i.branch = ?1
         WHERE i.mode IS NULL",
    ),
    (
        "two live edges of one directory have two names",
        "SELECT min(row) FROM edges GROUP BY parent, name HAVING count(*) > 1",
    ),
    (
        "nlink of a file is the number of its live edges",
        "SELECT id FROM inodes AS i WHERE branch = ?1 AND target IS NULL AND mode & 61440 <> 16384
         AND nlink <> (SELECT count(*) FROM edges WHERE ino = i.id)",
    ),
    (
        "nlink of a live directory is two and its directories",
        "SELECT id FROM inodes AS i WHERE branch = ?1 AND mode & 61440 = 16384
         AND (parent > 0 OR id = ?2)
         AND nlink <> 2 + (SELECT count(*) FROM edges AS e JOIN inodes AS c
                           ON c.id = e.ino AND c.branch = ?1
                           WHERE e.parent = i.id AND c.mode & 61440 = 16384)",
    ),
    (
        "a removed directory has no links and no edges",
        "SELECT id FROM inodes AS i WHERE branch = ?1 AND mode & 61440 = 16384
         AND parent = 0 AND id <> ?2
         AND (nlink <> 0 OR EXISTS (SELECT 1 FROM edges WHERE parent = i.id))",
    ),
    ("a past version shows for some time", "SELECT id FROM versions WHERE until <= since"),
    (
        "of the versions of a facet each begins where the one before ends",
        "SELECT id FROM (SELECT id, until, lead(since) OVER
             (PARTITION BY id, bit, of ORDER BY since, actor) AS next FROM versions)
         WHERE until IS NOT next",
    ),
    (
        "a facet has one current version",
        "SELECT id FROM versions GROUP BY id, bit, of HAVING count(*) - count(until) <> 1",
    ),
    (
        "the first edge and the first attributes are as old as the row",
        "SELECT id FROM versions WHERE of = '' AND since < born",
    ),
    (
        "every version has its bit in the log",
        "SELECT v.id FROM versions AS v LEFT JOIN change AS c
         ON c.branch = ?1 AND c.hlc = v.since AND c.actor = v.actor AND c.id = v.id
         WHERE coalesce(c.what & v.bit, 0) = 0",
    ),
    (
        "every bit in the log has its version",
        "SELECT c.id FROM change AS c JOIN (SELECT 1 AS bit UNION SELECT 2 UNION SELECT 4) AS b
         WHERE c.branch = ?1 AND c.what & b.bit AND NOT EXISTS
             (SELECT 1 FROM versions AS v WHERE v.id = c.id AND v.bit = b.bit
              AND v.since = c.hlc AND v.actor = c.actor)",
    ),
    (
        "what was created is in the log under its birth, and nothing else is",
        "SELECT id FROM (
             SELECT i.id, i.born AS hlc, i.born_actor AS actor FROM inodes AS i WHERE i.branch = ?1
             AND NOT EXISTS (SELECT 1 FROM change AS c WHERE c.branch <> ?1 AND c.hlc = i.born
                             AND c.actor = i.born_actor AND c.id = i.id AND c.what & 8)
             UNION ALL SELECT id, hlc, actor FROM change WHERE branch = ?1 AND what & 8)
         GROUP BY id, hlc, actor HAVING count(*) <> 2",
    ),
    ("the log says nothing empty", "SELECT id FROM change WHERE what = 0 OR what & ~15 <> 0"),
    (
        "every change belongs to an operation of its branch",
        "SELECT c.id FROM change AS c LEFT JOIN operations AS o
         ON o.id = c.operation AND o.branch = c.branch WHERE o.id IS NULL",
    ),
    (
        "a base is a version of that file, older than what is based on it",
        "SELECT i.id FROM inodes AS i WHERE branch = ?1 AND base IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM past AS p WHERE p.id = i.id AND p.branch = ?1 AND p.facet = 2
              AND p.since = i.base AND p.actor = i.base_actor AND p.since < i.c_since)",
    ),
    (
        "symbolic links and targets belong together",
        "SELECT id FROM (SELECT id FROM symlinks
             UNION ALL SELECT DISTINCT id FROM inodes WHERE mode & 61440 = 40960)
         GROUP BY id HAVING count(*) <> 2",
    ),
    (
        "an extended attribute belongs to an inode",
        "SELECT x.id FROM xattrs AS x LEFT JOIN inodes AS i ON i.id = x.id AND i.branch = x.branch
         WHERE i.mode IS NULL",
    ),
    (
        "what is past belongs to a row",
        "SELECT p.id FROM past AS p LEFT JOIN inodes AS i ON i.id = p.id AND i.branch = p.branch
         WHERE i.id IS NULL",
    ),
];

/// Looks at a whole branch; panics with every rule that is broken.
pub(super) fn check(db: &Db, view: &View) {
    let broken = db.read(|conn| {
        let mut broken = Vec::new();
        for (rule, sql) in RULES {
            let sql = format!(
                "WITH versions AS MATERIALIZED ({VERSIONS}),
                 edges AS MATERIALIZED (SELECT id AS row, parent, name, coalesce(target, id) AS ino
                           FROM inodes WHERE branch = ?1 AND parent > 0),
                 used AS (SELECT ?2)
                 {sql}"
            );
            let ids: Vec<i64> = conn
                .prepare_cached(&sql)
                .and_then(|mut stmt| {
                    stmt.query_map(params![view.branch, view.root], |row| row.get(0))?.collect()
                })
                .doing("checking an invariant")?;
            if !ids.is_empty() {
                broken.push(format!("not so: {rule}: {ids:?}"));
            }
        }
        Ok::<_, crate::db::DbError>(broken)
    });
    let mut broken = broken.unwrap();
    let strays = db.read(|conn| stray_edges(conn, view)).unwrap();
    if !strays.is_empty() {
        broken.push(format!("stray edges: {strays:?}"));
    }
    broken.extend(unreachable(db, view));
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Every live directory is below the root: no move made a cycle.
fn unreachable(db: &Db, view: &View) -> Option<String> {
    let sql = "WITH RECURSIVE below (ino) AS
            (SELECT ?2 UNION SELECT e.id FROM inodes AS e JOIN below ON e.parent = below.ino
             WHERE e.branch = ?1 AND e.parent > 0 AND e.mode & 61440 = 16384)
        SELECT (SELECT count(*) FROM inodes WHERE branch = ?1 AND mode & 61440 = 16384
                AND nlink > 0) - (SELECT count(*) FROM below)";
    let lost: i64 = db
        .read(|conn| {
            conn.query_row(sql, params![view.branch, view.root], |row| row.get(0))
                .doing("counting what is below the root")
        })
        .unwrap();
    (lost != 0).then(|| format!("{lost} directories are not below the root"))
}

#[test]
fn a_broken_tree_is_noticed() {
    let breaks = [
        "UPDATE inodes SET nlink = nlink + 1 WHERE name = x'66'",
        "UPDATE inodes SET nlink = 3 WHERE name = x'64'",
        "UPDATE inodes SET parent = 0 WHERE name = x'64'",
        "UPDATE inodes SET parent = id WHERE name = x'64'",
        "UPDATE inodes SET name = x'66'",
        "UPDATE change SET what = what & ~4 WHERE what = 4",
        "UPDATE change SET what = what | 2 WHERE what = 4",
        "DELETE FROM change WHERE what & 8",
        "DELETE FROM past WHERE facet = 2",
        "DELETE FROM operations",
        "UPDATE past SET until = until - 1",
        "DELETE FROM symlinks",
    ];
    for sql in breaks {
        let scratch = Scratch::new();
        let directory = scratch.directory(scratch.root, "d");
        let file = scratch.written(directory, "f", 1);
        scratch.publish(file, 2, None);
        let target: &[u8] = b"d/f";
        let link = NewInode { symlink: Some(target), ..new(S_IFLNK | 0o777) };
        scratch.create(scratch.root, "l", &link).unwrap();
        check(scratch.db(), &scratch.view);
        scratch.db().write(|tx| tx.execute(sql, []).doing("breaking a tree")).unwrap();
        scratch.broken.set(true);
        let look = AssertUnwindSafe(|| check(scratch.db(), &scratch.view));
        assert!(catch_unwind(look).is_err(), "{sql}");
    }
}
