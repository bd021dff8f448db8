"""A SQLite database in WAL mode: four writing processes, a reader, an integrity check."""

import os
import shutil
import sqlite3
import subprocess
import sys

from harness import require_equal

WRITERS = 4
WRITER = """
import sqlite3, sys
path, writer, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(path, timeout=120, isolation_level=None)
db.execute("PRAGMA synchronous = NORMAL")
for row in range(rows):
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO entries VALUES (?, ?, ?)", (writer, row, b"%d-%d" % (writer, row) * 40))
    db.execute("UPDATE totals SET rows = rows + 1 WHERE writer = ?", (writer,))
    db.execute("COMMIT")
db.close()
"""


def run(place, work):
    rows = 5000 if place.full else 500
    path = work / "test.db"
    with place.check("WAL mode is granted"):
        db = sqlite3.connect(path, isolation_level=None)
        require_equal(db.execute("PRAGMA journal_mode = WAL").fetchone()[0], "wal", "journal mode")
        db.execute("CREATE TABLE entries (writer, row, bytes, PRIMARY KEY (writer, row))")
        db.execute("CREATE TABLE totals (writer PRIMARY KEY, rows)")
        db.executemany("INSERT INTO totals VALUES (?, 0)", [(writer,) for writer in range(WRITERS)])
    with place.check("four writers, and a reader that never sees half a transaction"):
        words = [sys.executable, "-c", WRITER, os.fspath(path)]
        writers = [
            subprocess.Popen([*words, str(writer), str(rows)], stderr=subprocess.PIPE)
            for writer in range(WRITERS)
        ]
        while any(writer.poll() is None for writer in writers):
            db.execute("BEGIN")
            [entries] = db.execute("SELECT count(*) FROM entries").fetchone()
            [total] = db.execute("SELECT sum(rows) FROM totals").fetchone()
            db.execute("COMMIT")
            require_equal(entries, total, "entries seen")
        for writer in writers:
            _, said = writer.communicate()
            require_equal(writer.returncode, 0, f"status ({said.decode()[-300:]})")
    with place.check("every row is there, and the integrity check passes"):
        require_rows(db, rows)
    with place.check("after a checkpoint and a new connection too"):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        db = sqlite3.connect(path)
        require_rows(db, rows)
        db.close()
    with place.check("a copy on another disk passes the same"), place.beside() as native:
        shutil.copyfile(path, native / "copy.db")
        copy = sqlite3.connect(native / "copy.db")
        require_rows(copy, rows)
        copy.close()


def require_rows(db, rows):
    require_equal(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)], "integrity check")
    seen = db.execute("SELECT writer, row, bytes FROM entries ORDER BY writer, row").fetchall()
    wanted = [
        (writer, row, b"%d-%d" % (writer, row) * 40)
        for writer in range(WRITERS)
        for row in range(rows)
    ]
    assert seen == wanted, f"{len(seen)} rows, {len(wanted)} written"
