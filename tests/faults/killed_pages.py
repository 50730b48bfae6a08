"""SIGKILL at each write of an upload, its preview, a correction and its saving: what was acknowledged is there.

The next server goes on. `python -m tests.faults.killed_pages` kills at every write, and `make faults` does so too.
`tests/web/test_kills.py` kills at some.
"""

import os
import re
import shutil
import signal
import sqlite3
import tempfile
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from pipelines.web import stores
from pipelines.web.application import application
from resources.record_store import Databases, RecordStore
from resources.settings import Settings
from resources.uploads import Uploads
from schemas import load_record_types
from schemas.batches import BatchStatus
from schemas.uploads import Upload
from tests.faults.steps import Steps, processes, settings_of
from tests.records import values
from tests.web.conftest import ORIGIN
from tests.web.visitor import Visitor

CONTENT = b"external_id,status,notes\nA,lead,x\nB,wrong,\n"
CUT = 20
WAS_SAVED = {"A": "lead", "B": "customer"}


class Story:
    """What a person does, from the file to its records. Each step is done unless it is done already."""

    def __init__(self, client: TestClient, settings: Settings, acknowledged: Connection | None = None) -> None:
        self._client = client
        self._visitor = Visitor(client, "ua")
        self._uploads = Uploads(settings)
        self._acknowledged = acknowledged

    def goes(self) -> None:
        """Do everything that is left."""
        upload = self._upload()
        for name in (self._send, self._choose, self._fix, self._save):
            name(upload)

    def _is_known(self, what: str) -> None:
        if self._acknowledged is not None:
            self._acknowledged.send(what)

    def _upload(self) -> str:
        known = self._uploads.listed("ua")
        if known:
            return known[0].upload_id
        said = {"name": "people.csv", "bytes": len(CONTENT), "type": "contacts"}
        place: str = self._client.post("/a/ua/uploads", json=said).headers["location"]
        self._is_known("started")
        return place.rpartition("/")[2]

    def _send(self, upload: str) -> None:
        place = f"/a/ua/uploads/{upload}"
        offset = int(self._client.head(place).headers["upload-offset"])
        while offset < len(CONTENT):
            piece = CONTENT[offset : CUT if offset < CUT else len(CONTENT)]
            headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
            answer = self._client.patch(place, content=piece, headers=headers)
            assert answer.status_code == 204, answer.text
            offset = int(answer.headers["upload-offset"])
            self._is_known(f"received {offset}")
        self._visitor.step(upload)

    def _choose(self, upload: str) -> None:
        if not self._known(upload).choices.reading.blank and not self._known(upload).saved_by:
            self._visitor.post("import", upload, "reading", data={"blank": "keep"})
            self._is_known("chosen")
        self._visitor.step(upload)

    def _fix(self, upload: str) -> None:
        if self._known(upload).saved_by is None and "1 ready" not in self._visitor.get("import", upload, "fix").text:
            fixing = {"record": "2", "column": "1", "action": "set", "text": "customer"}
            assert self._visitor.post("import", upload, "fix", data=fixing).status_code == 303
            self._is_known("fixed")

    def _save(self, upload: str) -> None:
        place = self._visitor.step(upload)
        if not place.startswith("history/"):
            found = re.search(r'name="batch" value="([^"]+)"', self._visitor.get("import", upload, "preview").text)
            assert found is not None, place
            assert self._visitor.post("import", upload, "save", data={"batch": found[1]}).status_code == 303
            self._is_known("saving")
            place = self._visitor.step(upload)
        assert place.startswith("history/"), place
        self._is_known("saved")

    def _known(self, upload: str) -> Upload:
        return self._uploads.find("ua", upload)


def a_person(settings: Settings) -> TestClient:
    return TestClient(
        application(settings), ORIGIN, headers={"Origin": ORIGIN}, follow_redirects=False, client=("127.0.0.1", 1)
    )


def _act(settings: Settings, fatal: int | None, result: Connection) -> None:
    """Let the person act on a server that dies at its write with this number. Report the number of writes."""
    steps = Steps(fatal, from_first_rename=False)
    steps.count_changes_of_files()

    class Counted(sqlite3.Connection):
        def commit(self) -> None:
            super().commit()
            steps.done("commit")

        def __exit__(self, *details: Any) -> Any:
            ended = super().__exit__(*details)
            steps.done("commit")
            return ended

    def fsync(descriptor: int) -> None:
        flush(descriptor)
        steps.done("flush")

    flush = os.fsync
    setattr(os, "fsync", fsync)  # noqa: B010 - what was written may not be confirmed yet
    setattr(stores, "Databases", lambda: Databases(steps.connect))  # noqa: B010
    connect = sqlite3.connect
    setattr(sqlite3, "connect", lambda *given, **options: connect(*given, factory=Counted, **options))  # noqa: B010
    with a_person(settings) as client:
        Story(client, settings, result).goes()
    result.send(steps.counted)


def _run(settings: Settings, fatal: int | None = None) -> list[Any]:
    """Run the story in a process of its own. Returns what was acknowledged, and at last the number of writes."""
    context = processes()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_act, args=(settings, fatal, sender))
    process.start()
    sender.close()
    said = []
    wait([process.sentinel])
    process.join()
    while receiver.poll():
        try:
            said.append(receiver.recv())
        except EOFError:
            break
    assert process.exitcode in ((0,) if fatal is None else (0, -signal.SIGKILL)), process.exitcode
    return said


def _copy(home: Path, to: Path) -> Settings:
    shutil.copytree(home, to)
    return settings_of(to)


def writes(home: Path, folder: Path) -> int:
    """Returns how many writes the story has, on a copy of a store. The copy is removed."""
    undisturbed = _copy(home, folder / "undisturbed")
    *_, number = _run(undisturbed)
    shutil.rmtree(undisturbed.home)
    return int(number)


def require_nothing_lost(home: Path, folder: Path, fatal: int) -> bool:
    """Kill the server of a copy of a store at one write, and let the person go on with the next server.

    Returns whether there was such a write.
    """
    killed = _copy(home, folder / f"killed-{fatal}")
    said = _run(killed, fatal)
    _require_acknowledged(killed, said, f"killed at {fatal} after {said}")
    with a_person(killed) as client:
        Story(client, killed).goes()
    with RecordStore(killed) as after:
        assert values(after, "status") == WAS_SAVED, (fatal, said)
        committed = after.batches("ua", status=BatchStatus.COMMITTED)
        assert [it.file_name for it in committed] == ["people.corrected.csv", "people.csv"], (fatal, said)
    shutil.rmtree(killed.home)
    return not (said and isinstance(said[-1], int))


def main() -> None:
    """Kill the server at every write, one after the other. Ends with an error at the first loss."""
    with tempfile.TemporaryDirectory(prefix="records-") as name:
        folder = Path(name)
        with RecordStore(settings_of(folder / "store")) as store:
            store.initialise(load_record_types())
        number = writes(folder / "store", folder)
        for fatal in range(1, number + 1):
            require_nothing_lost(folder / "store", folder, fatal)
        print(f"The server of the pages was killed at each of {number} writes. Nothing was lost.")


def _require_acknowledged(killed: Settings, said: list[Any], context: str) -> None:
    """Check what was acknowledged, before the next server does anything."""
    uploads = Uploads(killed)
    known = uploads.listed("ua")
    received = max((int(it.split()[1]) for it in map(str, said) if it.startswith("received")), default=0)
    assert not said or known, context
    if known:
        assert uploads.received(known[0]) >= received, context
    if "chosen" in said:
        assert known[0].choices.reading.blank == "keep", context
    if "fixed" in said:
        (file,) = Path(killed.uploads).rglob("*.corrections")
        with sqlite3.connect(file) as database:
            assert database.execute("SELECT by FROM records").fetchall() == [("tester",)], context
        database.close()
    if "saving" in said:
        assert known[0].saved_by == "tester", context
    if "saved" in said:
        with RecordStore(killed) as store:
            assert values(store, "status") == WAS_SAVED, context


if __name__ == "__main__":
    main()
