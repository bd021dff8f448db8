-- What the node remembers of itself; one row.
CREATE TABLE node (
    one          INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    -- Inode numbers below this may have been given out; the next start begins here, so that a
    -- number is never given to a second inode even when the first left no row behind.
    ino_reserved INTEGER NOT NULL,
    -- The boot under which the database was last opened for writing: a start under another one
    -- withdraws what a power cut may have taken.
    boot_id      TEXT    NOT NULL,
    -- Counts commits that waited for the disk: what changes nothing is not written, and what is
    -- not written can not be waited for.
    syncs        INTEGER NOT NULL
) STRICT;
INSERT INTO node VALUES (1, 2, '', 0);

-- An actor is one run of one device. Rows carry its small number instead of 48 bytes; the number
-- is local and never leaves the node.
CREATE TABLE actors (
    number INTEGER NOT NULL PRIMARY KEY,
    device BLOB    NOT NULL CHECK (length(device) = 32),  -- ed25519 public key
    actor  BLOB    NOT NULL CHECK (length(actor) = 16),   -- random at each start
    UNIQUE (device, actor)
) STRICT;

-- A bucket is a named tree with its own history. Its number is local, its id travels.
CREATE TABLE buckets (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    bucket_id  BLOB    NOT NULL UNIQUE CHECK (length(bucket_id) = 16),
    name       TEXT    NOT NULL,
    secret     BLOB    NOT NULL CHECK (length(secret) = 32),  -- of key epoch 0
    created_ns INTEGER NOT NULL,                              -- Unix nanoseconds
    removed_ns INTEGER                                        -- NULL while it is in use
) STRICT;

-- Used by: finding a bucket by name. A removed bucket gives its name free.
CREATE UNIQUE INDEX buckets_by_name ON buckets (name) WHERE removed_ns IS NULL;

-- A branch is a line of versions in a bucket; `main` has no parent. It implies its bucket, so no
-- row of the tree repeats that.
CREATE TABLE branches (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    bucket INTEGER NOT NULL REFERENCES buckets (number),
    name   TEXT    NOT NULL,
    root   INTEGER NOT NULL,  -- Ino of the root directory
    UNIQUE (bucket, name)
) STRICT;

-- The newest version of each facet of each inode on each branch, dead or alive. An inode carries
-- its first edge in its own row: hardly any has another. A further hard link is a row with an id
-- of its own and `target` set; its attribute and content columns are NULL.
--
-- A stamp is (hlc, actor number). `…_since = 0` means "the same as born" and costs no byte.
CREATE TABLE inodes (
    id         INTEGER NOT NULL,  -- Ino, or the number of a further edge; never reused
    branch     INTEGER NOT NULL,
    born       INTEGER NOT NULL,  -- with born_actor the id everywhere (InodeId, EdgeId)
    born_actor INTEGER NOT NULL,
    -- facet: edge
    parent     INTEGER NOT NULL,  -- 0 = unlinked: this row is then the tombstone
    name       BLOB    NOT NULL,
    target     INTEGER,           -- the inode a further hard link leads to
    replaces   INTEGER,           -- the inode that a rename over its name replaced; stays when
                                  -- the edge is unlinked, as does the name
    e_since    INTEGER NOT NULL,
    e_actor    INTEGER NOT NULL,
    -- facet: attributes
    mode       INTEGER,           -- type and permission bits, as in st_mode
    attr       BLOB,              -- owner, device number, set times; NULL = root's, none
    a_since    INTEGER,
    a_actor    INTEGER,
    -- facet: content
    size       INTEGER,           -- bytes; of a symlink's target, too
    blob       INTEGER,           -- blobs.number; NULL = no bytes
    mtime_ns   INTEGER,           -- of the content; of a directory: when its edges changed (cache)
    base       INTEGER,           -- stamp of the version this one supersedes
    base_actor INTEGER,
    c_since    INTEGER,
    c_actor    INTEGER,
    -- caches, kept by the transaction that changes edges
    nlink      INTEGER,           -- live edges; of a directory: 2 + its directories
    ctime_ns   INTEGER,           -- later than every facet when a further link came or went
    more       BLOB,              -- fields of newer releases, kept unread
    PRIMARY KEY (id, branch)
) STRICT, WITHOUT ROWID;

-- Used by: lookup and listing, on every branch at once; it carries (id, branch), so a listing is
-- covered. Not unique: two live edges with one name are a value. Queries must repeat
-- `AND parent > 0`, or the planner passes the index by.
CREATE INDEX inodes_by_name ON inodes (parent, name) WHERE parent > 0;

-- Used by: "which further edges lead to this inode". Empty unless hard links exist.
CREATE INDEX inodes_by_target ON inodes (target) WHERE target IS NOT NULL;

-- Used by: may a replaced inode be forgotten, and whom does it leave its place in the chain to.
-- Holds files that were saved by renaming a new one over the old.
CREATE INDEX inodes_by_replaced ON inodes (replaces) WHERE replaces IS NOT NULL;

-- Used by: which versions hold this blob (withdrawal after a power cut, recounting).
CREATE INDEX inodes_by_blob ON inodes (blob) WHERE blob IS NOT NULL;

-- Superseded versions, one row per version of one facet, visible in [since, until).
CREATE TABLE past (
    id         INTEGER NOT NULL,
    branch     INTEGER NOT NULL,
    facet      INTEGER NOT NULL,  -- 0 edge, 1 attributes, 2 content
    since      INTEGER NOT NULL,
    actor      INTEGER NOT NULL,
    until      INTEGER NOT NULL,  -- hlc of the successor
    parent     INTEGER,
    name       BLOB,
    replaces   INTEGER,
    mode       INTEGER,
    attr       BLOB,
    size       INTEGER,
    blob       INTEGER,
    mtime_ns   INTEGER,
    base       INTEGER,
    base_actor INTEGER,
    more       BLOB,
    PRIMARY KEY (id, branch, facet, since, actor)
) STRICT, WITHOUT ROWID;

-- Used by: lookups as of a time, and what was deleted from a directory.
CREATE INDEX past_by_name ON past (parent, name) WHERE parent > 0;

-- Used by: which superseded versions hold this blob.
CREATE INDEX past_by_blob ON past (blob) WHERE blob IS NOT NULL;

-- Every version in stamp order: what was created or changed by which operation. The outbox is a
-- cursor into it; differences, the operation log and undo are ranges of it.
CREATE TABLE change (
    branch    INTEGER NOT NULL,
    hlc       INTEGER NOT NULL,
    actor     INTEGER NOT NULL,
    id        INTEGER NOT NULL,
    what      INTEGER NOT NULL,  -- bits: 1 edge, 2 attributes, 4 content, 8 created
    operation INTEGER NOT NULL,
    PRIMARY KEY (branch, hlc, actor, id)
) STRICT, WITHOUT ROWID;

-- An operation is one command, or one burst of changes by one caller on a mount.
CREATE TABLE operations (
    id     INTEGER NOT NULL PRIMARY KEY,  -- hlc of its first change
    branch INTEGER NOT NULL,
    actor  INTEGER NOT NULL,
    who    TEXT    NOT NULL,              -- uid and session, or the command's user
    what   TEXT    NOT NULL               -- 'mount', or the command
) STRICT;

-- How far each consumer has read `change` on each branch. A version at or below a cursor was seen
-- and is never replaced in place.
CREATE TABLE cursors (
    branch   INTEGER NOT NULL,
    consumer TEXT    NOT NULL,
    hlc      INTEGER NOT NULL,
    PRIMARY KEY (branch, consumer)
) STRICT, WITHOUT ROWID;

-- Extended attributes, one row each: they are rare and would make inode rows spill.
CREATE TABLE xattrs (
    id      INTEGER NOT NULL,
    branch  INTEGER NOT NULL,
    name    BLOB    NOT NULL,
    value   BLOB,              -- NULL = removed, which is a version too
    since   INTEGER NOT NULL,
    actor   INTEGER NOT NULL,
    PRIMARY KEY (id, branch, name)
) STRICT, WITHOUT ROWID;

-- Superseded values of extended attributes, visible in [since, until).
CREATE TABLE past_xattrs (
    id      INTEGER NOT NULL,
    branch  INTEGER NOT NULL,
    name    BLOB    NOT NULL,
    since   INTEGER NOT NULL,
    actor   INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    value   BLOB,
    PRIMARY KEY (id, branch, name, since, actor)
) STRICT, WITHOUT ROWID;

-- Targets of symbolic links; they never change.
CREATE TABLE symlinks (
    id     INTEGER NOT NULL PRIMARY KEY,
    target BLOB    NOT NULL
) STRICT;

-- The bucket a directory was last mounted with, so that the same folder shows the same tree.
CREATE TABLE mount_points (
    path   BLOB    NOT NULL PRIMARY KEY,
    bucket INTEGER NOT NULL REFERENCES buckets (number)
) STRICT, WITHOUT ROWID;
