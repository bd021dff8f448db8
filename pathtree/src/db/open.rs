//! Opens the node database: the one place where pragmas are set.

use std::{
    cell::Cell,
    ffi::OsString,
    fmt::Write as _,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
};

use rusqlite::{Connection, OpenFlags};

use super::{
    COMMITS_PER_WAL_CHECK, Db, DbError, DbSettings, Doing as _, LostNames, OpenError, PAGE_BYTES,
    Schema, Synchronous, UnstoredActor, WAL_FORCED_FACTOR, Wake, Writer, migrate, outbox,
    readers::Readers, tx::Reservation,
};
use crate::{
    clock::{Clock, HybridClock},
    id::{ActorNumber, Hlc, Ino},
    identity::DeviceId,
};

/// Statements each connection keeps prepared: more than the crates have.
const STATEMENTS_CACHED: usize = 256;

/// Directories whose lost names are remembered: some 5 MB.
const LOST_NAMES_MAX: usize = 100_000;

impl Db {
    /// Opens the database at `path`, creates it if it is not there, and brings its tables up to
    /// date; the run gets a new actor of `device`.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a database from a newer release, a damaged one and a file that is no
    /// database are left untouched.
    pub fn open(
        path: &Path,
        schemas: &[Schema],
        settings: &DbSettings,
        clock: Clock,
        device: DeviceId,
    ) -> Result<Self, OpenError> {
        inspect(path, schemas)?;
        let failed = |err| OpenError::from_db(path, err);
        let conn = open_writer(path, settings).map_err(failed)?;
        migrate::migrate(&conn, schemas).map_err(failed)?;
        let last = greatest_reading(&conn).map_err(failed)?;
        let number = next_actor(&conn).map_err(failed)?;
        let reservation = Reservation::stored(&conn).map_err(failed)?;
        let event_waits = outbox::prepare(&conn).map_err(failed)?;
        let mut actor = [0; 16];
        getrandom::fill(&mut actor).map_err(OpenError::NoRandomness)?;
        Ok(Self {
            path: path.into(),
            writer: Mutex::new(Writer {
                conn,
                inos: Cell::new(reservation),
                actor_unstored: Some(UnstoredActor { device, actor }),
                event_waits,
                commits: COMMITS_PER_WAL_CHECK - 1,
                left_open: Cell::new(None),
            }),
            readers: Readers::new(path, settings),
            clock: HybridClock::starting_above(clock, last),
            actor: number,
            synchronous: settings.synchronous,
            wal_bytes_max: u64::from(settings.wal_pages_max) * PAGE_BYTES * WAL_FORCED_FACTOR,
            changed: Wake::default(),
            is_left_open: AtomicBool::new(false),
            room: OnceLock::new(),
            losses: AtomicU64::new(0),
            lost_names: Arc::new(LostNames::starting(last, LOST_NAMES_MAX)),
        })
    }
}

/// Looks at an existing file without changing a byte of it.
fn inspect(path: &Path, schemas: &[Schema]) -> Result<(), OpenError> {
    let size_bytes = fs::metadata(path).map_or(0, |meta| meta.len());
    let log_bytes = fs::metadata(log_of(path)).map_or(0, |meta| meta.len());
    let damaged = |found: String| Err(OpenError::Damaged { path: path.into(), found });
    match (size_bytes, log_bytes) {
        (0, 0) => return Ok(()),
        // SQLite would take it for new and throw the log away.
        (0, _) => return damaged(format!("it is empty, its log has {log_bytes} bytes")),
        _ => {}
    }
    let failed = |err| OpenError::from_db(path, err);
    let conn = open_to_look(path, log_bytes > 0).map_err(failed)?;
    let pages: i64 = conn
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .doing("counting pages")
        .map_err(failed)?;
    let page_bytes: i64 = conn
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .doing("asking for the size of pages")
        .map_err(failed)?;
    let whole_bytes = u64::try_from(pages * page_bytes).unwrap_or(0);
    // With a log, the newest pages may be in that alone.
    if log_bytes == 0 && size_bytes < whole_bytes {
        return damaged(format!("it has {size_bytes} bytes and should have {whole_bytes}"));
    }
    migrate::refuse_foreign(&conn, path, schemas)
}

/// Opens a connection that leaves the file, its log and its folder as they are.
///
/// Without a log the file is opened as one that nobody changes: SQLite then takes no lock and
/// makes no file beside it. With one it has to be read as it is, through the log.
fn open_to_look(path: &Path, has_log: bool) -> Result<Connection, DbError> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02x}").expect("a string takes everything");
        }
    }
    if !has_log {
        uri.push_str("?immutable=1");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags).doing("opening it to look")
}

/// Where SQLite keeps the write-ahead log of a database.
pub(super) fn log_of(path: &Path) -> OsString {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log
}

fn open_writer(path: &Path, settings: &DbSettings) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).doing("opening it to write")?;
    conn.busy_timeout(settings.busy_timeout).doing("setting the busy timeout")?;
    let synchronous = match settings.synchronous {
        Synchronous::Normal => "NORMAL",
        Synchronous::Full => "FULL",
    };
    // auto_vacuum only takes before the first table exists, journal_mode only outside of a
    // transaction.
    conn.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         PRAGMA wal_autocheckpoint = {};
         PRAGMA journal_size_limit = {};",
        settings.wal_pages_max,
        u64::from(settings.wal_pages_max) * PAGE_BYTES,
    ))
    .doing("setting pragmas")?;
    set_common(&conn, settings)?;
    Ok(conn)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path, settings: &DbSettings) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).doing("opening it to read")?;
    conn.busy_timeout(settings.busy_timeout).doing("setting the busy timeout")?;
    set_common(&conn, settings)?;
    Ok(conn)
}

fn set_common(conn: &Connection, settings: &DbSettings) -> Result<(), DbError> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    conn.execute_batch(&format!(
        "PRAGMA cache_size = -{};
         PRAGMA mmap_size = {};
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;",
        settings.cache_kib, settings.mmap_bytes,
    ))
    .doing("setting pragmas")
}

/// Returns the greatest clock reading that any table keeps.
///
/// The log of changes alone is not enough: a purged or withdrawn version leaves it, while the
/// operation that made it, and the cursor of a consumer that read it, stay.
fn greatest_reading(conn: &Connection) -> Result<Hlc, DbError> {
    conn.query_row(
        "SELECT max(
             coalesce((SELECT max((SELECT c.hlc FROM change AS c WHERE c.branch = b.number
                                   ORDER BY c.hlc DESC LIMIT 1)) FROM branches AS b), 0),
             coalesce((SELECT max(id) FROM operations), 0),
             coalesce((SELECT max(born) FROM branches), 0),
             coalesce((SELECT max(hlc) FROM cursors), 0),
             coalesce((SELECT max(since) FROM settings), 0))",
        [],
        |row| row.get(0),
    )
    .doing("reading the newest stamp")
}

fn next_actor(conn: &Connection) -> Result<ActorNumber, DbError> {
    conn.query_row("SELECT coalesce(max(number), 0) + 1 FROM actors", [], |row| row.get(0))
        .doing("numbering this run's actor")
}

impl Reservation {
    fn stored(conn: &Connection) -> Result<Self, DbError> {
        let reserved: Ino = conn
            .query_row("SELECT ino_reserved FROM node WHERE one = 1", [], |row| row.get(0))
            .doing("reading the reserved inode numbers")?;
        Ok(Self { next: reserved, end: reserved })
    }
}
