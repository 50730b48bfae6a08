"""Fixtures of the tests of faults."""

from pathlib import Path

import pytest

from resources.settings import Settings
from tests.faults.copies import Copies


@pytest.fixture
def copies(settings: Settings, ready: None, tmp_path: Path, request: pytest.FixtureRequest) -> Copies:
    """A store that has the record types and can be copied."""
    server = request.getfixturevalue("postgres") if settings.postgres else None
    return Copies(settings, tmp_path, server)
