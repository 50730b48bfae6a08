"""Runs the command `records` in forked processes, for tests of other things than its start.

Each has the exit code, the output and the pipes or the terminal of the installed command.
"""

from collections.abc import Sequence
from typing import Any

from tests.forked_reading import FORKED
from tests.forks import Forked, ForkServer


class _Commands(ForkServer):
    def Popen(self, command: Sequence[str], **options: Any) -> Forked:  # noqa: N802 - as in subprocess
        """Start the command. Its first word is the installed program."""
        return super().Popen([command[0], FORKED.address, *command[1:]], **options)


COMMAND_LINE = _Commands("tests.command_process:main")
"""Has `run` and `Popen` of the module subprocess."""
