"""The server of the pages is killed: what was acknowledged is there, and the next server goes on.

Some writes only, because each takes seconds. `make faults` kills at every write.
"""

from pathlib import Path

import pytest

from resources.record_store import RecordStore
from resources.settings import Settings
from tests.faults.killed_pages import require_nothing_lost


@pytest.mark.parametrize("fatal", [40, 140])
def test_a_server_that_is_killed_at_a_write_has_lost_nothing(
    store: RecordStore, settings: Settings, tmp_path: Path, fatal: int
) -> None:
    assert require_nothing_lost(settings.home, tmp_path, fatal)
