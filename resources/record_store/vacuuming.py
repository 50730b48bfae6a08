"""A program that writes a file of SQLite anew: see `sqlite_file.vacuum`. Its arguments: the file, seconds to wait."""

import sqlite3
import sys
from contextlib import closing

FAILED = 3
"""The exit code if SQLite refuses. Its words are on standard error."""
BUSY = 4
"""The exit code if another process reads the file, so that its log keeps what was removed."""


def main(path: str, seconds: str) -> int:
    """Return the exit code."""
    try:
        with closing(sqlite3.connect(path, timeout=float(seconds), isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute("VACUUM")
            ((is_busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        sys.stderr.write(str(error))
        return FAILED
    return BUSY if is_busy else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
