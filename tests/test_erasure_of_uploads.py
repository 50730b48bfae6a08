"""Erasures in uploads: a record can be in corrections, in their file, and in the name of the upload."""

from pathlib import Path

import pytest

from resources.erasure.eraser import Eraser
from resources.importing.corrections import Corrections
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.uploads import Uploads
from schemas.batches import OnInvalid
from schemas.erasure import ErasureRequest
from tests.every_byte import places_with

KEY = "CANARY-77"
CONTENT = b"external_id,last_name,status,notes\n,Canaryname,lead,a canary note\nK-1,Keeper,lead,\n"


@pytest.mark.parametrize("name", ["letter.csv", f"letter {KEY}.csv"])
def test_an_upload_goes_if_only_a_correction_has_the_key(store: RecordStore, importer: Importer, name: str) -> None:
    store.add_account("ua", "tester")
    uploads = Uploads(store.settings)
    folders: list[Path] = []
    for file_name, content in ((name, CONTENT), ("kept.csv", CONTENT.replace(b"anary", b"other"))):
        upload = uploads.start("ua", "contacts", file_name, len(content), "tester", store.now())
        with uploads.receiving(upload, 0) as piece:
            piece.write(content)
        request = upload.request(uploads.file(upload))
        report = importer.preview(request)
        folders.append(uploads.file(upload).parent.parent)
        corrections = Corrections(
            store,
            store.account("ua").report(report.batch.batch_id),
            folders[-1] / f"{report.batch.batch_id}.corrections",
        )
        corrections.correct(1, 0, KEY if file_name == name else "C-2", "tester")
        importer.commit("ua", report.batch.batch_id, OnInvalid.SKIP)
        path = folders[-1] / "upload.corrected.csv"
        corrections.write(path)
        importer.import_file(corrections.request(path, request), OnInvalid.SKIP)

    Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", (KEY,)))

    assert [it.exists() for it in folders] == [False, True]
    assert places_with(store.settings.uploads, [b"canary"]) == []
