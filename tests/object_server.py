"""A real S3 server for tests: rclone, on loopback, over a folder of its own."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

from resources.file_storage import is_local
from schemas.location import Location
from tests.memory import volatile_folder
from tests.serving import within

KEY, SECRET = "AKIAOFTHETESTS", "s3cret-of-the-objects"
"""The keys of the user that may read and write. No output may ever show the secret."""


class ObjectServer:
    """A running server, and how to reach it."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._numbers = count(1)
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def create(self, template: Path | None = None) -> str:
        """Return the address of a new bucket with the files of a folder."""
        name = f"store-{next(self._numbers)}"
        if template is None:
            (self._folder / name).mkdir()
        else:
            shutil.copytree(template, self._folder / name)
        return f"s3://{name}"

    def drop(self, address: str) -> None:
        """Delete the bucket and everything in it."""
        shutil.rmtree(self.folder(address))

    def folder(self, address: str) -> Path:
        """Return where the server keeps what has that address."""
        return self._folder / address.removeprefix("s3://")


_roots: list[Path] = []
"""The folders of the servers that run, in the order in which they started."""


def on_disk(place: Location) -> Path:
    """Return where on this machine a file of a store is, or what the server keeps as the object."""
    return place if is_local(place) else _roots[-1] / place.path


@contextmanager
def running(*, etags: bool = True) -> Iterator[ObjectServer]:
    """A server that ends after the block, with everything it stored.

    With `etags` it reads the whole object for each request of a part, which no other server does.
    """
    folder = volatile_folder("s3-")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    program = Path(sys.executable).with_name("rclone")
    options = ["--auth-key", f"{KEY},{SECRET}", "--addr", f"127.0.0.1:{port}"]
    options += ["--dir-cache-time", "1ms"]  # so that the server sees at once what a test puts into a bucket's folder
    # otherwise each part that is not the next one waits 20 ms for the one before it
    options += ["--vfs-read-wait", "0s"]
    if not etags:
        options += ["--etag-hash", ""]
    server = subprocess.Popen([program, "serve", "s3", *options, folder], stderr=subprocess.DEVNULL)
    try:
        within(20, lambda: _answers(port))
        _roots.append(folder)
        yield ObjectServer(folder, port)
    finally:
        if folder in _roots:
            _roots.remove(folder)
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
