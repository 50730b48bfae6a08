"""Time zones by their names in the IANA database."""

from contextlib import suppress
from zoneinfo import ZoneInfo


def is_time_zone(name: str) -> bool:
    """Returns whether there is a time zone of that name, such as UTC or Europe/Berlin."""
    with suppress(KeyError, ValueError, OSError):  # for an unknown zone, a text that cannot be a name, a folder
        ZoneInfo(name)
        return True
    return False
