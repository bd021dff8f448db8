//! How long the common changes take, and how large a file's rows are.
//!
//! `cargo test --release -p tesfs-pathtree --test database measure -- --ignored --nocapture`;
//! `FILES=10000,200000` chooses the sizes, `TMPDIR` the disk.

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tesfs_pathtree::{
    Clock, Db, DeviceId, Doing as _, Ino, OperationId, SCHEMA, Stamp, Tx,
    tree::{self as core, Inode, TreeError, View},
};

use crate::tree::{bucket, content, name, new, settings};

const FILES_PER_DIRECTORY: usize = 20;
/// How many times each thing is done at a given size.
const ROUNDS: usize = 4000;

/// A tree that grows, and what is in it.
pub(crate) struct Growing {
    pub(crate) db: Db,
    pub(crate) view: View,
    pub(crate) operation: OperationId,
    /// Directory, its number of files, name of the file, its inode.
    pub(crate) files: Vec<(Ino, String, Ino)>,
    directory: Option<Inode>,
    /// How many were ever created.
    made: usize,
    random: u64,
}

impl Growing {
    pub(crate) fn new(db: Db, view: View) -> Self {
        let mut tree = Self {
            db,
            view,
            operation: OperationId(0),
            files: vec![],
            directory: None,
            made: 0,
            random: 88_172_645_463_325_252,
        };
        tree.operation = begin(&tree);
        tree
    }

    fn write<T>(&self, change: impl FnOnce(&Tx<'_>) -> Result<T, TreeError>) -> T {
        self.db.write(change).unwrap()
    }

    /// The directory that the next file goes to.
    fn directory(&mut self) -> Ino {
        if self.made.is_multiple_of(FILES_PER_DIRECTORY) || self.directory.is_none() {
            let text = format!("d{}", self.made / FILES_PER_DIRECTORY);
            let (view, operation) = (&self.view, self.operation);
            let made = self.write(|tx| {
                let root = core::inode(tx, view, view.root)?.expect("a root");
                core::create(tx, view, operation, &root, &name(&text), &new(core::S_IFDIR))
            });
            self.directory = Some(made);
        }
        self.directory.as_ref().expect("just made").ino
    }

    /// Creates a file and, where `publish` says so, its first bytes in the same transaction.
    pub(crate) fn create(&mut self, publish: bool) {
        let (directory, text) = self.next();
        let made = self.write(|tx| self.make(tx, directory, &text, publish));
        self.files.push((directory, text, made));
    }

    /// The same without bytes, in a transaction that the next one joins.
    fn create_ahead(&mut self) {
        let (directory, text) = self.next();
        let made = self.db.write_ahead(|tx| self.make(tx, directory, &text, false)).unwrap();
        self.files.push((directory, text, made));
    }

    fn next(&mut self) -> (Ino, String) {
        let place = (self.directory(), format!("IMG_{:06}.jpeg", self.made));
        self.made += 1;
        place
    }

    fn make(
        &self,
        tx: &Tx<'_>,
        directory: Ino,
        text: &str,
        publish: bool,
    ) -> Result<Ino, TreeError> {
        let (view, operation) = (&self.view, self.operation);
        let parent = core::inode(tx, view, directory)?.expect("a directory");
        let kind = new(core::S_IFREG | 0o644);
        let made = core::create(tx, view, operation, &parent, &name(text), &kind)?;
        if publish {
            let new = content(i64::try_from(self.made).expect("a small number"));
            core::publish(tx, view, operation, made.ino, &new, Some(made.content))?;
        }
        Ok(made.ino)
    }

    pub(crate) fn any(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % self.files.len() as u64).expect("an index")
    }

    fn time(&mut self, what: &str, mut step: impl FnMut(&mut Self)) {
        let mut took: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                step(self);
                began.elapsed()
            })
            .collect();
        took.sort();
        let mean = took.iter().sum::<Duration>().as_secs_f64() * 1e6 / ROUNDS as f64;
        let median = took[ROUNDS / 2].as_secs_f64() * 1e6;
        println!("  {what:<36} {mean:>8.2} ({median:.2})");
    }
}

#[test]
#[ignore = "a measurement: takes long and proves nothing"]
fn measure() {
    let sizes = std::env::var("FILES").unwrap_or_else(|_| "10000,200000".into());
    for size in sizes.split(',').map(|size| size.parse::<usize>().unwrap()) {
        println!("{size} files: mean (median) in us");
        measure_at(size);
    }
}

fn measure_at(size: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let db = Db::open(&path, &[SCHEMA], &settings(), Clock::system(), DeviceId([7; 32])).unwrap();
    let view = View::main(&bucket(&db));
    let empty_bytes = bytes(&db);
    let mut tree = Growing::new(db, view);
    while tree.files.len() + 3 * ROUNDS < size {
        tree.create(true);
    }
    measure_publishing(&mut tree);
    measure_looking(&mut tree);
    print_sizes(&tree);
    let per_file = (bytes(&tree.db) - empty_bytes) / tree.files.len() as u64;
    println!("  bytes per file in the database       {per_file:>8}");
    measure_moving(&mut tree);
}

fn measure_publishing(tree: &mut Growing) {
    tree.time("create", |tree| tree.create(false));
    let mut at = tree.files.len() - ROUNDS;
    tree.time("publish (just created)", |tree| {
        publish(tree, tree.files[at].2, true);
        at += 1;
    });
    tree.time("create + publish, one transaction", |tree| tree.create(true));
    tree.time("create + publish, two transactions", |tree| {
        tree.create(false);
        let (_, _, ino) = *tree.files.last().expect("just made");
        publish(tree, ino, true);
    });
    tree.time("create left open + publish", |tree| {
        tree.create_ahead();
        let (_, _, ino) = *tree.files.last().expect("just made");
        publish(tree, ino, true);
    });
    tree.operation = begin(tree);
    tree.time("overwrite (random)", |tree| {
        let at = tree.any();
        publish(tree, tree.files[at].2, false);
    });
    tree.time("chmod (random)", |tree| {
        let ino = tree.any();
        let ino = tree.files[ino].2;
        let edit =
            core::AttributeEdit { permissions: Some(0o600), ..core::AttributeEdit::default() };
        let (view, operation) = (&tree.view, tree.operation);
        tree.write(|tx| core::set_attributes(tx, view, operation, ino, &edit));
    });
}

fn measure_looking(tree: &mut Growing) {
    tree.time("lookup (hit)", |tree| {
        let at = tree.any();
        let (parent, text, _) = &tree.files[at];
        let (parent, text) = (*parent, name(text));
        let found = tree.db.read(|conn| core::lookup(conn, &tree.view, parent, &text));
        assert!(black_box(found.unwrap()).is_some());
    });
    tree.time("lookup (miss)", |tree| {
        let at = tree.any();
        let (parent, text) = (tree.files[at].0, name("missing"));
        let found = tree.db.read(|conn| core::lookup(conn, &tree.view, parent, &text));
        assert!(black_box(found.unwrap()).is_none());
    });
    tree.time("attributes", |tree| {
        let at = tree.any();
        let ino = tree.files[at].2;
        black_box(tree.db.read(|conn| core::inode(conn, &tree.view, ino)).unwrap());
    });
    tree.time("list 20", |tree| {
        let at = tree.any();
        let directory = tree.files[at].0;
        black_box(tree.db.read(|conn| core::list(conn, &tree.view, directory)).unwrap());
    });
}

fn measure_moving(tree: &mut Growing) {
    tree.time("rename (random, same directory)", |tree| {
        let at = tree.any();
        let (parent, old, ino) = tree.files[at].clone();
        let text = format!("{old}~");
        rename(tree, (parent, &old), (parent, &text));
        tree.files[at] = (parent, text, ino);
    });
    tree.time("rename (random, other directory)", |tree| {
        let (from, to) = (tree.any(), tree.any());
        let (parent, old, ino) = tree.files[from].clone();
        let text = format!("{ino}");
        let into = tree.files[to].0;
        rename(tree, (parent, &old), (into, &text));
        tree.files[from] = (into, text, ino);
    });
    tree.time("unlink (random, older operation)", |tree| {
        let at = tree.any();
        let (parent, text, _) = tree.files.swap_remove(at);
        unlink(tree, parent, &text);
    });
    tree.operation = begin(tree);
    tree.time("create + unlink (transient)", |tree| {
        tree.create(false);
        let (parent, text, _) = tree.files.pop().expect("just made");
        unlink(tree, parent, &text);
    });
}

pub(crate) fn begin(tree: &Growing) -> OperationId {
    let new = core::NewOperation { who: "uid 1000 session 7", what: "mount" };
    tree.db.write(|tx| core::store_operation(tx, &tree.view, tx.next_stamp(), &new)).unwrap()
}

pub(crate) fn publish(tree: &Growing, ino: Ino, by_creator: bool) {
    let (view, operation) = (&tree.view, tree.operation);
    tree.write(|tx| {
        let own = match by_creator {
            true => core::inode(tx, view, ino)?.map(|inode| inode.content),
            false => None::<Stamp>,
        };
        core::publish(tx, view, operation, ino, &content(1), own)
    });
}

fn rename(tree: &Growing, from: (Ino, &str), to: (Ino, &str)) {
    let (view, operation) = (&tree.view, tree.operation);
    tree.write(|tx| {
        let parent = core::inode(tx, view, to.0)?.expect("a directory");
        let (old, new) = (name(from.1), name(to.1));
        core::rename(tx, view, operation, (from.0, &old), (&parent, &new))
    });
}

pub(crate) fn unlink(tree: &Growing, parent: Ino, text: &str) {
    let (view, operation) = (&tree.view, tree.operation);
    tree.write(|tx| core::unlink(tx, view, operation, parent, &name(text), |_| false));
}

/// Shows which tables and indexes have the bytes.
fn print_sizes(tree: &Growing) {
    let sizes: Vec<(String, i64)> = tree
        .db
        .read(|conn| {
            conn.prepare_cached(
                "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 9",
            )
            .and_then(|mut stmt| {
                stmt.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .doing("measuring tables")
        })
        .unwrap();
    for (table, bytes) in sizes {
        let per_file = bytes as f64 / tree.files.len() as f64;
        println!("  bytes per file in {table:<18} {per_file:>8.1}");
    }
}

/// Bytes of the database, whether they are in its file or still in its log.
fn bytes(db: &Db) -> u64 {
    let pages = db.read(|conn| {
        conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).doing("counting pages")
    });
    pages.unwrap().cast_unsigned() * 4096
}
