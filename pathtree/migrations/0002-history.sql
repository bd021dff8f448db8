ALTER TABLE branches RENAME TO branches_1;

-- A branch is a line of versions in a bucket; `main` has no parent. It begins with what its parent
-- showed at the fork and has rows of its own only for what was changed on it, so making one writes
-- this row and nothing else. A snapshot is a frozen branch. A branch implies its bucket, so no row
-- of the tree repeats that.
CREATE TABLE branches (
    number       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    bucket       INTEGER NOT NULL REFERENCES buckets (number),
    name         TEXT    NOT NULL,
    root         INTEGER NOT NULL,  -- Ino of the root directory
    parent       INTEGER,           -- the branch it was forked from; NULL for `main`
    fork         INTEGER,           -- hlc: of the parent it shows what was there up to this reading
    born         INTEGER NOT NULL,  -- with born_actor the id everywhere
    born_actor   INTEGER NOT NULL,
    frozen       INTEGER NOT NULL CHECK (frozen IN (0, 1)),  -- 1: a snapshot
    abandoned_ns INTEGER,           -- Unix nanoseconds; NULL while it is in use
    CHECK ((parent IS NULL) = (fork IS NULL))
) STRICT;

INSERT INTO branches (number, bucket, name, root, born, born_actor, frozen)
SELECT b.number, b.bucket, b.name, b.root, i.born, i.born_actor, 0
FROM branches_1 AS b JOIN inodes AS i ON i.id = b.root AND i.branch = b.number;

DROP TABLE branches_1;

-- Used by: finding a branch by name. An abandoned one gives its name free.
CREATE UNIQUE INDEX branches_by_name ON branches (bucket, name) WHERE abandoned_ns IS NULL;

-- Used by: whether a version was seen by a fork and must stay as it is; who inherits from a branch.
CREATE INDEX branches_by_parent ON branches (parent, fork) WHERE parent IS NOT NULL;

-- The branch that was shown there; NULL means `main`.
ALTER TABLE mount_points ADD COLUMN branch INTEGER;

-- What a bucket was told, one row for each key that was ever set. A key without a row, or with a
-- value of NULL, is as the release has it by default.
CREATE TABLE settings (
    bucket INTEGER NOT NULL REFERENCES buckets (number),
    key    TEXT    NOT NULL,
    value  TEXT,              -- as on a command line, in the one form it is shown in
    since  INTEGER NOT NULL,
    actor  INTEGER NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

-- Superseded values of settings, in force in [since, until).
CREATE TABLE past_settings (
    bucket INTEGER NOT NULL REFERENCES buckets (number),
    key    TEXT    NOT NULL,
    since  INTEGER NOT NULL,
    actor  INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    value  TEXT,
    PRIMARY KEY (bucket, key, since, actor)
) STRICT, WITHOUT ROWID;

-- The operation that an operation undid; NULL for all others.
ALTER TABLE operations ADD COLUMN undoes INTEGER;

-- Used by: is an operation undone.
CREATE INDEX operations_by_undone ON operations (undoes) WHERE undoes IS NOT NULL;

-- Merges: since `hlc` a branch knows what `from_branch` showed up to `through`. Those of an
-- operation that was undone count for nothing.
CREATE TABLE merges (
    branch      INTEGER NOT NULL,
    hlc         INTEGER NOT NULL,
    from_branch INTEGER NOT NULL,
    through     INTEGER NOT NULL,
    operation   INTEGER NOT NULL,
    PRIMARY KEY (branch, hlc, from_branch)
) STRICT, WITHOUT ROWID;

-- What a merge or an undo could not decide, as a value: what shows is one side, this is the other.
-- One is open while the operation that found it is in force and none that decided it is.
CREATE TABLE conflicts (
    number      INTEGER NOT NULL PRIMARY KEY,
    branch      INTEGER NOT NULL,
    id          INTEGER NOT NULL,  -- of the inode or further edge whose one side shows
    kind        INTEGER NOT NULL,  -- 0 content, 1 place, 2 a name that two files claim
    operation   INTEGER NOT NULL,  -- which merge or undo
    is_ours     INTEGER NOT NULL CHECK (is_ours IN (0, 1)),  -- 1: the branch had it, what came shows
    -- the version of the other side
    since       INTEGER NOT NULL,
    actor       INTEGER NOT NULL,
    size        INTEGER,           -- content: its bytes
    blob        INTEGER,           -- content: where they are; counted in that blob's refs
    mtime_ns    INTEGER,
    parent      INTEGER,           -- place or name: the directory, 0 = unlinked
    name        BLOB,
    -- what both sides began with, of a content: a version of that inode's
    base_id     INTEGER,
    base        INTEGER,
    base_actor  INTEGER,
    rival       INTEGER,           -- name: the inode that has it
    resolved    INTEGER            -- hlc: since when it is closed; NULL while it is open
) STRICT;

-- Used by: the open conflicts of a branch, or of one file of it.
CREATE INDEX conflicts_open ON conflicts (branch, id) WHERE resolved IS NULL;

-- Used by: all conflicts of a file, and forgetting those of a branch.
CREATE INDEX conflicts_by_row ON conflicts (branch, id);

-- Used by: undoing, or redoing, what found a conflict.
CREATE INDEX conflicts_by_operation ON conflicts (operation);

-- Used by: which conflicts hold this blob.
CREATE INDEX conflicts_by_blob ON conflicts (blob) WHERE blob IS NOT NULL;

-- Used by: which directories lost names after a fork.
CREATE INDEX past_by_end ON past (until, parent) WHERE parent > 0;
-- A version of the operation, or one that it superseded, was pruned: it can not be undone any more.
ALTER TABLE operations ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;

-- Used by: prune, to forget operations that nothing is left of.
CREATE INDEX operations_pruned ON operations (id) WHERE pruned = 1;

-- Where history was thinned: what a branch shows as of a reading before `until` is whole only where
-- the reading ends a stretch of the calendar, or where a fork, a snapshot or a merge pins it.
CREATE TABLE thinned (
    branch  INTEGER NOT NULL,
    periods INTEGER NOT NULL,  -- stretches whose ends are whole; bits: 1 hour, 2 day, 4 week,
                               -- 8 month, 16 year
    until   INTEGER NOT NULL,  -- hlc
    PRIMARY KEY (branch, periods)
) STRICT, WITHOUT ROWID;

-- Used by: prune, to find what was removed and may be forgotten.
CREATE INDEX inodes_removed ON inodes (branch) WHERE parent = 0;
-- Which operations decided a conflict. Those that are undone count for nothing.
CREATE TABLE resolutions (
    conflict  INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    PRIMARY KEY (conflict, operation)
) STRICT, WITHOUT ROWID;

-- Used by: undoing, or redoing, a decision.
CREATE INDEX resolutions_by_operation ON resolutions (operation);
