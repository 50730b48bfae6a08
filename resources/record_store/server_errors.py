"""Turns PostgreSQL's errors into ours: by SQLSTATE from psycopg2, by the server's words in DuckDB's errors.

Our errors never quote SQL, a value or a password. DuckDB's errors quote statements and values before the server's
words. So only the server's words are read, and only its words about a connection are passed on.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from schemas.errors import CommitUnknown, DiskFull, RecordsError, StoreBusy, StoreNotReady, StoreUnreachable

_Result = TypeVar("_Result")

_PATIENCE = 5.0
"""How many seconds to retry a connection while the server accepts none."""


@dataclass(frozen=True)
class _Kind:
    """A kind of refusal: its SQLSTATEs, a pattern of its words, and our error for it.

    A state of two characters stands for its whole class. passes: the refusal is temporary, so a connection is retried.
    """

    states: tuple[str, ...]
    words: re.Pattern[str]
    error: type[RecordsError]
    message: str
    hint: str
    passes: bool = False

    def to_error(self) -> RecordsError:
        """Return our error."""
        return self.error(self.message, self.hint)


_NOTHING = "nothing uncommitted was written"

_ENDED = _Kind(
    ("08", "57P01", "57P02", "57P04", "57P05", "25P03", "25P04"),
    re.compile(
        r"Current transaction is aborted|"
        r"terminating connection|server closed the connection|no connection to the server|could not (receive|send)|"
        r"connection (not open|already closed|reset|timed out)|SSL (SYSCALL|connection)|broken pipe",
        re.IGNORECASE,
    ),
    StoreUnreachable,
    f"The catalog's server in PostgreSQL ended the session; {_NOTHING}.",
    "Check that the server runs, then try again. If it happens often, read PostgreSQL's log.",
)
_KINDS = (
    _ENDED,
    _Kind(
        ("57P03",),
        re.compile(r"the database system is |not yet accepting connections"),
        StoreUnreachable,
        f"The catalog's server in PostgreSQL is starting or stopping; {_NOTHING}.",
        "Wait until it runs, then try again.",
        passes=True,
    ),
    _Kind(
        ("53300",),
        re.compile(r"too many clients|too many connections|connection slots are reserved"),
        StoreUnreachable,
        f"The catalog's server in PostgreSQL has no connection left; {_NOTHING}.",
        "Try again, or run fewer processes. Or raise max_connections, or the CONNECTION LIMIT of role and database.",
        passes=True,
    ),
    _Kind(
        ("57014",),
        re.compile(r"canceling statement due to (statement timeout|user request|conflict with recovery)"),
        StoreUnreachable,
        f"PostgreSQL cancelled a statement, for example after its statement_timeout; {_NOTHING}.",
        "Try again. If it happens often, set a longer one: ALTER ROLE … SET statement_timeout = '10min'.",
    ),
    _Kind(
        ("55P03",),
        re.compile(r"canceling statement due to lock timeout|could not obtain lock"),
        StoreBusy,
        f"Another session has locked a table of the catalog in PostgreSQL; {_NOTHING}.",
        "Try again. If it happens often, see which session locks it, and the lock_timeout of the catalog's user.",
    ),
    _Kind(
        ("40", "23505"),
        re.compile(r"could not serialize access|deadlock detected|ducklake_snapshot_pkey"),
        StoreBusy,
        "Another process wrote to the store meanwhile; nothing of this was written.",
        "Try again.",
    ),
    _Kind(
        ("25006",),
        re.compile(r"read-only transaction|during recovery"),
        StoreUnreachable,
        f"The catalog's server in PostgreSQL is read-only, for example a standby; {_NOTHING}.",
        "Name the primary in RECORDS_CATALOG, or check default_transaction_read_only of its user and database.",
    ),
    _Kind(
        ("53100",),
        re.compile(r"No space left on device|could not (extend|write to) file|disk is full"),
        DiskFull,
        f"The disk of the catalog's server in PostgreSQL is full; {_NOTHING}.",
        "Make room there, then try again.",
    ),
    _Kind(
        ("53",),
        re.compile(r"out of (shared )?memory|insufficient resources"),
        StoreUnreachable,
        f"The catalog's server in PostgreSQL is out of memory or another resource; {_NOTHING}.",
        "Try again, or give the server more. Its log names the resource.",
    ),
    _Kind(
        ("42501",),
        re.compile(r"permission denied|must be owner of"),
        StoreNotReady,
        f"The user of RECORDS_CATALOG may not use the store's tables in PostgreSQL; {_NOTHING}.",
        "Name the user that made the store, or let the owner of its tables GRANT their use.",
    ),
    _Kind(
        ("42P01", "3F000", "42703"),
        re.compile(r"(relation|schema|column) .* does not exist"),
        StoreNotReady,
        f"A table of the store is missing in PostgreSQL, or has other columns; {_NOTHING}.",
        "Check that RECORDS_CATALOG names the store's database, or restore its backup.",
    ),
    _Kind(
        ("3D000", "28"),
        re.compile(r"(database|role) .* does not exist|password authentication failed|no pg_hba\.conf entry"),
        StoreUnreachable,
        f"PostgreSQL no longer lets the user of RECORDS_CATALOG into its database; {_NOTHING}.",
        "Check that database and user exist, then try again.",
    ),
)
_CONNECTING = "Unable to connect to Postgres at "
_SEVERITY = re.compile(r'.*(?:": |failed: |\A)(\S+:  [^\n]*)', re.DOTALL)
"""Finds the server's words, in the server's language. The text before them is DuckDB's."""
_ASKED = re.compile(r'Failed to (execute query|prepare \w+|execute \w+) "')


def refused_connection(error: Exception) -> StoreUnreachable:
    """Return the error for a refused connection, with the server's own words, which quote no password."""
    text = str(error)
    _, connecting, after = text.partition(_CONNECTING)
    said = after.partition('": ')[2] if connecting else text
    kind = _by_words(said)
    return StoreUnreachable(
        f"The catalog in PostgreSQL cannot be reached: {' '.join(said.split())}",
        kind.hint
        if kind is not None and kind.passes
        else "Check that the server runs, and that RECORDS_CATALOG names its host, database and user. Then try again.",
    )


def server_error(error: Exception) -> Exception:
    """Return our error for what the server refused; the same error if it is not the server's."""
    text = str(error)
    if _is_session(error):
        kind = _ENDED if is_ended(error) else _by_state(getattr(error, "pgcode", ""))
        return _other() if kind is None else kind.to_error()
    if _CONNECTING in text:
        return refused_connection(error)
    words = _words(text)
    if words is None:
        tail = text.rpartition('"')[2]
        if "HTTP" not in tail and _ENDED.words.search(tail):  # an object store may be cut off as well
            return _ENDED.to_error()
        return _other() if _ASKED.search(text) else error
    kind = _by_words(words)
    return _other() if kind is None else kind.to_error()


def commit_error(error: Exception) -> Exception:
    """Return our error for a failed COMMIT. Without an answer of the server, it is CommitUnknown."""
    words = _words(str(error))
    if words is None or _ENDED.words.search(words):
        return CommitUnknown(
            "The catalog in PostgreSQL did not confirm a commit. It was written whole, or not at all.",
            "Check which (records batches, records exports), then try again.",
        )
    return server_error(error)


def connected(connect: Callable[[], _Result]) -> _Result:
    """Call `connect`, which only connects, and return its result. Retries while the server accepts no connections."""
    return retried(connect, lambda error: (kind := _by_words(str(error))) is not None and kind.passes, _PATIENCE)


def retried(attempt: Callable[[], _Result], is_passing: Callable[[Exception], bool], seconds: float) -> _Result:
    """Call `attempt` and return its result. Retries for so many seconds while its errors are temporary."""
    deadline, pause = time.monotonic() + seconds, 0.1
    while True:
        try:
            return attempt()
        except Exception as error:
            if not is_passing(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def is_ended(error: Exception) -> bool:
    """Return whether an error of psycopg2 means that the session has ended."""
    state = getattr(error, "pgcode", None)
    return state is None or _by_state(state) is _ENDED


def _other() -> StoreUnreachable:
    """Return the error for an unknown refusal, or one in another language than English."""
    return StoreUnreachable(
        f"PostgreSQL refused a statement on the catalog; {_NOTHING}.",
        "PostgreSQL's log says why. Correct that, then try again.",
    )


def _is_session(error: Exception) -> bool:
    """Return whether it is an error of psycopg2, without importing psycopg2."""
    return type(error).__module__.startswith("psycopg2")


def _by_state(state: str) -> _Kind | None:
    return next((kind for kind in _KINDS if state.startswith(kind.states)), None)


def _by_words(words: str) -> _Kind | None:
    return next((kind for kind in _KINDS if kind.words.search(words)), None)


def _words(text: str) -> str | None:
    """Return the first line of the server's own words in DuckDB's error; None if it has none."""
    found = _SEVERITY.match(text)
    return None if found is None else found[1]
