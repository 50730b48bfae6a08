"""Forks the process that reads a file, for tests of other things.

It ends, has limits and answers like the one that a command starts.
"""

import subprocess
from functools import partial
from types import SimpleNamespace

from tests.forks import ForkedHere, ForkServer

FORKED = ForkServer("tests.reading_process:main")
"""Takes the place of the module subprocess in resources.file_reader.reader."""


def _read() -> None:
    from tests.reading_process import main

    main()


FORKED_HERE = SimpleNamespace(Popen=partial(ForkedHere, _read), DEVNULL=subprocess.DEVNULL)
"""The same in a process that has imported what reading needs, and has no threads."""
