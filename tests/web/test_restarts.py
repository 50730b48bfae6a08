"""The end of `records web` and its next start: nothing waits for a preview, and the page goes on."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest

from resources.record_store import RecordStore
from resources.settings import Settings
from resources.uploads import Uploads
from tests.serving import COMMAND, children, environment, kill, within, words_of

RECORDS = 100_000
PIECE = {"Content-Type": "application/offset+octet-stream"}


@contextmanager
def pages(settings: Settings) -> Iterator[tuple["subprocess.Popen[str]", httpx2.Client]]:
    """Run `records web` on the store: the installed command, so that the processes that read files are its children."""
    own = environment(settings.home.parent) | {"RECORDS_HOME": str(settings.home)}
    process = subprocess.Popen(
        [COMMAND, "web", "--port", "0", "--json"], env=own, stdout=subprocess.PIPE, text=True, cwd=settings.home.parent
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with httpx2.Client(base_url=url, headers={"Origin": url}, timeout=60) as client:
            yield process, client
    finally:
        kill(process)
        if process.stdout is not None:
            process.stdout.close()


def sent(client: httpx2.Client, content: bytes) -> str:
    said = {"name": "people.csv", "bytes": len(content), "type": "contacts"}
    place: str = client.post("/a/ua/uploads", json=said).headers["location"]
    client.patch(place, content=content, headers=PIECE | {"Upload-Offset": "0"}).raise_for_status()
    return place.rpartition("/")[2]


def stopped_reader(process: "subprocess.Popen[str]") -> psutil.Process | None:
    """Stop the process that reads a file for the server, so that no preview ends; None if there is none yet."""
    for each in children(process):
        if "resources.file_reader.child" in words_of(each):
            each.suspend()
            return each
    return None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_waits_for_no_preview_and_the_next_server_reads_the_file(
    store: RecordStore, settings: Settings, number: signal.Signals
) -> None:
    content = b"external_id,status\n" + b"".join(b"C-%d,lead\n" % row for row in range(RECORDS))
    with pages(settings) as (process, client), ThreadPoolExecutor(1) as threads:
        upload = sent(client, content)
        page = threads.submit(client.get, f"/a/ua/import/{upload}")
        reader = within(20, lambda: stopped_reader(process), every=0.01)
        assert reader is not None
        assert 'id="progress"' in page.result().text

        began = time.monotonic()
        process.send_signal(number)

        assert process.wait(timeout=30) == 0
        assert time.monotonic() - began < 15  # alone it takes less than 3 seconds
        _, alive = psutil.wait_procs([reader], timeout=10)
        for each in alive:
            each.kill()
        assert alive == []
    known = Uploads(settings).find("ua", upload)
    assert (known.batch_id, known.failure, store.batches()) == (None, None, [])
    assert not list(Path(settings.home).glob("accounts/*/staging/*"))

    with pages(settings) as (_, client):
        answer = within(120, lambda: _preview(client, upload))
        assert "Nothing is saved yet" in answer


def _preview(client: httpx2.Client, upload: str) -> str:
    answer = client.get(f"/a/ua/import/{upload}/preview", follow_redirects=True)
    return answer.text if "Nothing is saved yet" in answer.text else ""


def test_an_upload_in_the_works_is_kept_at_the_end_of_the_server(store: RecordStore, settings: Settings) -> None:
    content = b"external_id,status\nA,lead\n"
    with pages(settings) as (process, client):
        said = {"name": "people.csv", "bytes": len(content), "type": "contacts"}
        place = client.post("/a/ua/uploads", json=said).headers["location"]

        def slow() -> Iterator[bytes]:
            yield content[:10]
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
            yield content[10:]

        with pytest.raises(httpx2.HTTPError):
            client.patch(
                place, content=slow(), headers=PIECE | {"Upload-Offset": "0", "Content-Length": str(len(content))}
            ).raise_for_status()

    with pages(settings) as (_, client):
        assert client.head(place).headers["upload-offset"] == "10"
        client.patch(place, content=content[10:], headers=PIECE | {"Upload-Offset": "10"}).raise_for_status()
        assert within(60, lambda: _preview(client, place.rpartition("/")[2]))
