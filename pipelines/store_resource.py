"""The store as a Dagster resource for ops, assets and sensors. Its errors become failures that Dagster can show."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError
from dagster_shared.error import SerializableErrorInfo

from pipelines.launchpad import in_launchpad_words
from resources.record_store import Databases, RecordStore
from resources.settings import Settings
from resources.system_errors import system_error
from schemas.errors import RecordsError

RETRIES = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL)
"""The policy of every op. Only transient errors are retried; other failures forbid a retry."""

_DATABASES = Databases()
"""What all stores of this process share: a code server opens one at each sensor tick, and a run at each step."""

UPKEEP = "upkeep"
"""The pool of jobs that maintain the store: one run at a time."""


class Refusal(DagsterUserCodeProcessError, dg.Failure):
    """A failure that is only a sentence. Dagster shows it without a stack trace, and does not retry it.

    Dagster shows the description of a `DagsterUserCodeProcessError` unchanged, as it has the trace of another process.
    """

    def __init__(self, description: str, metadata: dict[str, Any] | None = None) -> None:
        infos = [SerializableErrorInfo(f"{description}\n", [], type(self).__name__)]
        super().__init__(  # type: ignore[no-untyped-call]  # Dagster has not typed it
            description, user_code_process_error_infos=infos, metadata=metadata, allow_retries=False
        )


class RecordsResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it provides itself
    """The store that the environment of the running process names."""

    @contextmanager
    def open(self) -> Iterator[RecordStore]:
        """Open the store. An error of the store fails the step with its message and hint.

        Only transient errors are retried. For an unexpected error Dagster gets the place, but not the text: the text
        may hold values of records.
        """
        settings = None
        try:
            settings = Settings.from_environment()
            with RecordStore(settings, databases=_DATABASES) as store:
                yield store
        except RecordsError as error:
            raise _failure(error) from None
        except (dg.Failure, dg.RetryRequested):
            raise
        except Exception as error:
            known = system_error(error, *(() if settings is None else (settings.data, settings.home)))
            if known is not None:
                raise _failure(known) from None
            where = "".join(traceback.format_tb(error.__traceback__))
            raise dg.Failure(
                description=f"Unexpected {type(error).__name__}. Please report it with the place below.",
                metadata={"code": "unexpected", "where": dg.MetadataValue.text(where)},
                allow_retries=False,
            ) from None


def _failure(error: RecordsError) -> dg.Failure:
    description, metadata = in_launchpad_words(str(error)), {"code": error.code}
    return dg.Failure(description, metadata) if error.transient else Refusal(description, metadata)
