"""Forks the process that reads a file from a server that has imported its modules, for tests of other things.

It is a process of its own. It ends, has limits and answers like the one that a command starts. Only Python and Arrow
start once, not with each file.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from resources.file_reader import child
from tests.faults.steps import processes


class _Descriptor:
    """An open file that is sent to another process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> Any:
        return DupFd(self.number)

    def __setstate__(self, state: Any) -> None:
        self.number = state.detach()


def _read(request: dict[str, Any], file: _Descriptor, answer: _Descriptor, environment: Mapping[str, str]) -> None:
    # A new program would not have them, and a reader may open few files.
    for name in [entry.name for entry in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):
            if int(name) not in (file.number, answer.number) and not os.get_inheritable(int(name)):
                os.close(int(name))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = [json.dumps(request | {"file": file.number, "answer": answer.number})]
    child.main()


class ForkedReading:
    """The part of subprocess.Popen that a reader uses."""

    def __init__(self, context: BaseContext, command: list[str], *, env: Mapping[str, str], **_: Any) -> None:
        request = json.loads(command[-1])
        descriptors = _Descriptor(request["file"]), _Descriptor(request["answer"])
        self._process: Any = context.Process(  # type: ignore[attr-defined]  # which every context has
            target=_read, args=(request, *descriptors, dict(env))
        )
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._exit_code

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the exit code and return it."""
        self._process.join(timeout)
        return self._exit_code

    @property
    def _exit_code(self) -> int | None:
        code: int | None = self._process.exitcode
        return code


FORKED = SimpleNamespace(Popen=partial(ForkedReading, processes()), DEVNULL=subprocess.DEVNULL)
"""Takes the place of the module subprocess in resources.file_reader.reader."""

FORKED_HERE = SimpleNamespace(Popen=partial(ForkedReading, get_context("fork")), DEVNULL=subprocess.DEVNULL)
"""The same in a process that was forked from that server itself and has no threads."""
