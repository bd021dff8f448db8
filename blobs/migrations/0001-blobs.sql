-- A blob is immutable bytes that something in the node names by number. Several rows may hold the
-- same bytes; rows whose bytes are a file then share that one file, which lives as long as any
-- row names its hash. Numbers are handed out by the process, always above every number it saw.
CREATE TABLE blobs (
    number          INTEGER NOT NULL PRIMARY KEY,
    -- Where the bytes are: 0 inline (in `data`), 1 draft (the file drafts/<draft>, not hashed
    -- yet), 2 local (the file blobs/<hh>/<hash>), 3 absent (nowhere on this node), 4 damaged
    -- (moved to quarantine/).
    state           INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
    size_bytes      INTEGER NOT NULL CHECK (size_bytes >= 0),
    refs            INTEGER NOT NULL CHECK (refs >= 0),  -- how many places name this row
    settled         INTEGER NOT NULL CHECK (settled IN (0, 1)),  -- 1: the bytes survive a power cut
    hash            BLOB    CHECK (length(hash) = 32),   -- BLAKE3; NULL until it is known
    draft           INTEGER CHECK ((draft IS NOT NULL) = (state = 1)),
    unreferenced_ns INTEGER CHECK ((unreferenced_ns IS NOT NULL) = (refs = 0)),  -- Unix ns
    -- When the whole file was last found to be these bytes, and its mtime and ctime then. As long
    -- as they are unchanged the kernel may read the file without us.
    checked_ns      INTEGER,
    mtime_ns        INTEGER,
    ctime_ns        INTEGER,
    data            BLOB    CHECK (data IS NULL OR state IN (0, 4))
) STRICT;

-- Used by: which rows share a file, and whether a new file's bytes are here already. Files only.
CREATE INDEX blobs_by_hash ON blobs (hash) WHERE data IS NULL AND hash IS NOT NULL;

-- Used by: what is to be sealed, and which row names a draft file. Empty when all is sealed.
CREATE INDEX blobs_by_draft ON blobs (draft) WHERE draft IS NOT NULL;

-- Used by: gc. Holds what nothing names any more.
CREATE INDEX blobs_unreferenced ON blobs (unreferenced_ns) WHERE unreferenced_ns IS NOT NULL;

-- Used by: what to make durable, and what a power cut may have taken. Empty when all is settled.
CREATE INDEX blobs_unsettled ON blobs (number) WHERE settled = 0;

-- Used by: the report of damage. Normally empty.
CREATE INDEX blobs_damaged ON blobs (number) WHERE state = 4;

-- A draft that must be found again after a crash: the file drafts/<number>, and how its bytes lie
-- over those of its base.
CREATE TABLE drafts (
    number     INTEGER NOT NULL PRIMARY KEY,  -- of the file drafts/<number>
    ino        INTEGER NOT NULL,
    branch     INTEGER NOT NULL,
    base       INTEGER,                       -- blobs.number it lies over; counted in its refs
    base_hlc   INTEGER,                       -- stamp of the version the writers started from
    base_actor INTEGER,
    size_bytes INTEGER NOT NULL,
    layout     BLOB    NOT NULL,              -- postcard: whole, or an overlay and its ranges
    durable    INTEGER NOT NULL CHECK (durable IN (0, 1)),  -- 1: fsync answered for these bytes
    name       BLOB                           -- a name to show, when the inode is not there
) STRICT;

-- Used by: gc and recount, for what drafts hold.
CREATE INDEX drafts_by_base ON drafts (base) WHERE base IS NOT NULL;
