"""What ops, assets and sensors need of the outside world: the store, as somebody."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.record_store import Databases, RecordStore
from resources.settings import Settings
from resources.system_errors import system_error
from schemas.errors import RecordsError

RETRIES = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL)
"""For every op. What is not transient says so itself, and is not tried again."""

_DATABASES = Databases(keep=2)
"""A code server opens a store at each tick of a sensor, and a run at each step."""

UPKEEP = "upkeep"
"""The pool of what keeps the store in order: one run at a time."""


class RecordsResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it provides itself
    """The store that the environment of the running process names."""

    @contextmanager
    def open(self) -> Iterator[RecordStore]:
        """The store; what goes wrong with it fails the step with its own two sentences.

        Only what is transient is worth a retry. Of an error that nobody foresaw Dagster is told where it happened, and
        not what it says: there may be values of records in it.
        """
        settings = None
        try:
            settings = Settings.from_environment()
            with RecordStore(settings, databases=_DATABASES) as store:
                yield store
        except RecordsError as error:
            raise _failure(error) from error
        except (dg.Failure, dg.RetryRequested):
            raise
        except Exception as error:
            told = system_error(error, *(() if settings is None else (settings.data, settings.home)))
            if told is not None:
                raise _failure(told) from None
            where = "".join(traceback.format_tb(error.__traceback__))
            raise dg.Failure(
                description=f"{type(error).__name__}, which nobody foresaw. Please report it with what is below.",
                metadata={"code": "unexpected", "where": dg.MetadataValue.text(where)},
                allow_retries=False,
            ) from None


def _failure(error: RecordsError) -> dg.Failure:
    return dg.Failure(description=str(error), metadata={"code": error.code}, allow_retries=error.transient)
