"""The receipt of an erasure: a file that says what was searched and changed, by whom and when, without any value."""

import json

from resources.file_storage import FileStorage
from resources.settings import Settings
from schemas.erasure import ErasureReport
from schemas.location import Location


def receipt_place(settings: Settings, erasure_id: str) -> Location:
    """Returns where the receipt of an erasure lies, beside the store's other files."""
    return settings.erasures / f"{erasure_id}.json"


def write_receipt(files: FileStorage, place: Location, report: ErasureReport) -> None:
    """Write a receipt, whole or not at all."""
    with files.making(place) as made:
        made.write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")
