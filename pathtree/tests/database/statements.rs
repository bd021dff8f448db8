//! No statement of this crate reads a whole table without a reason.

use std::path::Path;

use crate::{plans, tree};

const ALLOWED: &[plans::Allowed] = &[
    ("SELECT count(*) FILTER (WHERE mode", "the counts of `status` are of every row of a branch"),
    ("FROM past WHERE branch = ?1 AND facet = 2", "as above"),
    ("SELECT e.id FROM inodes AS e WHERE e.branch = ?1 AND e.parent > 0 AND NOT", "`verify`"),
    ("SELECT blob, sum(versions) FROM (", "one page of the blobs in use, in their order"),
    ("SELECT i.blob FROM inodes AS i JOIN branches", "counting all references again"),
    ("SELECT id, parent FROM inodes WHERE branch = ?1 AND parent > 0", "`verify`"),
    ("FROM branches WHERE bucket = ?1 AND coalesce", "branches are few, and all are listed"),
    ("WITH RECURSIVE seen", "branches and merges are few, and all of them pin something"),
    ("CROSS JOIN conflicts AS f", "branches are few, and each is asked for its conflicts"),
    ("WHERE o.pruned = 1", "one page of an index that holds what was pruned"),
    ("SELECT b.number FROM branches AS b JOIN buckets", "branches and merges are few"),
    ("SELECT EXISTS (SELECT 1 FROM branches WHERE bucket = ?1)", "branches are few"),
    ("SELECT id FROM operations WHERE branch = ?1 LIMIT", "only of what is forgotten for good"),
    ("SELECT number FROM buckets WHERE removed_ns", "buckets are few"),
    ("DELETE FROM buckets", "as above, and what refers to them is few"),
    ("DELETE FROM merges WHERE from_branch", "merges are few"),
    ("DELETE FROM mount_points WHERE b", "mount points are few"),
    ("FROM branches AS b CROSS JOIN change", "as above: one look into the log of each"),
    ("ORDER BY b.name, b.number", "buckets are few, and all of them are listed"),
    ("SELECT count(*) FROM buckets", "buckets are few, and one is created rarely"),
    ("FROM cursors AS r WHERE EXISTS", "cursors are few: consumers times branches"),
    (
        "SELECT p.id FROM past AS p WHERE p.parent = ?1 AND p.parent",
        "sorts one directory's history",
    ),
    ("SELECT parent, until FROM past", "the names lost since a fork, so many at most"),
    ("FROM schema_versions", "one row per crate, at the start"),
    ("FROM sqlite_schema", "at the start"),
];

#[test]
fn no_statement_reads_a_whole_table_without_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let db = tree::open(&dir.path().join("node.db")).unwrap();
    plans::watch(&db);
    let bucket = tree::grow(&db);
    tree::branch_out(&db, &bucket);
    tree::ask(&db, &bucket);
    tree::ask_branches(&db, &bucket);
    tree::maintain(&db, &bucket);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let problems = plans::problems(&db, &[&sources], ALLOWED);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_statement_that_reads_a_whole_table_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let db = tree::open(&dir.path().join("node.db")).unwrap();
    let sources = dir.path().join("src");
    std::fs::create_dir(&sources).unwrap();
    let bad = [
        "SELECT id FROM inodes WHERE size = ?1",
        "SELECT id FROM inodes WHERE parent = ?1",
        "SELECT id FROM past WHERE until = ?1",
        "DELETE FROM change WHERE id = ?1",
        "UPDATE inodes SET size = 1 WHERE branch = ?1",
        "SELECT id FROM inodes WHERE parent = ?1 AND parent > 0 ORDER BY size",
        "SELECT id FROM inodes WHERE parent > 0 AND size = ?1",
        " FROM inodes WHERE nobody ran this",
    ];
    for statement in bad {
        std::fs::write(sources.join("a.rs"), format!("run(\"{statement}\")")).unwrap();
        let problems = plans::problems(&db, &[&sources], &[]);
        assert_eq!(problems.len(), 1, "{statement}: {problems:?}");
    }
    std::fs::write(sources.join("a.rs"), "run(\"SELECT size FROM inodes WHERE id = ?1\")").unwrap();
    assert_eq!(plans::problems(&db, &[&sources], &[]), [""; 0]);
    assert_eq!(plans::problems(&db, &[&sources], &[("nothing", "no reason")]).len(), 1);
}
