"""What ops, assets and sensors need of the outside world: the store, as somebody."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.errors import RecordsError


class RecordsResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it provides itself
    """The store that the environment of the running process names."""

    @contextmanager
    def open(self) -> Iterator[RecordStore]:
        """The store; what goes wrong with it fails the step with its own two sentences.

        Only what is transient is worth a retry.
        """
        try:
            with RecordStore(Settings.from_environment()) as store:
                yield store
        except RecordsError as error:
            raise dg.Failure(
                description=str(error), metadata={"code": error.code}, allow_retries=error.transient
            ) from error
