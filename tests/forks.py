"""Starts processes in some milliseconds: a server that has imported their modules forks them.

Each is a process of its own, with a program's pipes, environment, folder, limits, signals and exit code. Only Python
and its modules start once, not with each process. This module imports little, because each process has what it imports.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NoReturn

_ROOT = Path(__file__).parent.parent
_MOST_FILES = 16
_MOST_BYTES = 1 << 20
_FROM = 1_000
"""A number above those of the files that a process is given, while it puts each of them in its place."""


class ForkServer:
    """A server that forks processes, which run a function with the arguments of a command. It starts at the first one.

    function: `module:name`. modules: what the server imports before. address: of a server that runs already.
    """

    def __init__(self, function: str = "", modules: Sequence[str] = (), *, address: str = "") -> None:
        self._command = [sys.executable, "-m", "tests.forks", function, *modules]
        self._address = address
        self._start = threading.Lock()
        self.DEVNULL = subprocess.DEVNULL

    @property
    def address(self) -> str:
        """Return the path of the server's socket."""
        with self._start:
            if not self._address:
                address = f"{mkdtemp(prefix='forks-')}/socket"
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
                    listener.bind(address)
                    listener.listen(64)
                    # It ends when this process does, because then its standard input ends.
                    command = [*self._command[:3], str(listener.fileno()), *self._command[3:]]
                    self._process = subprocess.Popen(
                        command, cwd=_ROOT, stdin=subprocess.PIPE, pass_fds=(listener.fileno(),)
                    )
                self._address = address
            return self._address

    def Popen(self, command: Sequence[str], **options: Any) -> "Forked":  # noqa: N802 - as in subprocess
        """Start a process with all but the first word of the command."""
        return Forked(self.address, command, **options)

    def run(
        self, command: Sequence[str], *, check: bool = False, capture_output: bool = False, **options: Any
    ) -> "subprocess.CompletedProcess[Any]":
        """Run a process as subprocess.run does."""
        if capture_output:
            options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.Popen(command, **options) as process:
            output, errors = process.communicate()
        done = subprocess.CompletedProcess(command, process.returncode, output, errors)
        if check:
            done.check_returncode()
        return done


class _Popen(subprocess.Popen[Any]):
    """A process that is forked. Its pipes, its signals and the rest are as in subprocess."""

    def _execute_child(
        self, command: Sequence[str], _executable: Any, _preexec: Any, _close: Any, passed: Sequence[int], folder: Any,
        environment: Mapping[str, str] | None, _info: Any, _flags: Any, _shell: Any,
        child_in: int, our_in: int, our_out: int, child_out: int, our_errors: int, child_errors: int, *_: Any
    ) -> None:  # fmt: skip
        given = {0: child_in, 1: child_out, 2: child_errors, **{number: number for number in passed}}
        files = {place: place if number == -1 else number for place, number in given.items()}
        request = {
            "arguments": list(command[1:]),
            "folder": str(folder or Path.cwd()),
            "environment": dict(os.environ if environment is None else environment),
            "places": list(files),
        }
        try:
            self.pid = self._forked(request, list(files.values()))
            self._child_created = True
        finally:
            pipes = child_in, our_in, our_out, child_out, our_errors, child_errors
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _forked(self, request: dict[str, Any], files: Sequence[int]) -> int:
        raise NotImplementedError


class Forked(_Popen):
    """A process that a server has forked. The server reports its end."""

    def __init__(self, address: str, command: Sequence[str], **options: Any) -> None:
        self._address = address
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(command, **options)

    def _forked(self, request: dict[str, Any], files: Sequence[int]) -> int:
        self._server.connect(self._address)
        socket.send_fds(self._server, [json.dumps(request).encode()], files)
        return int(self._server.recv(64))

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return self._ended(0)

    def _wait(self, timeout: float | None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        """Return the exit code, for which it waits at most so many seconds."""
        with self._waitpid_lock:  # type: ignore[attr-defined]  # of subprocess: for several threads
            if self.returncode is None:
                self._server.settimeout(timeout)
                with suppress(TimeoutError, BlockingIOError):
                    self.returncode = int(self._server.recv(64))
                    self._server.close()
            return self.returncode


class ForkedHere(_Popen):
    """A process that is forked from this one, which must have no threads."""

    def __init__(self, main: Callable[[], object], command: Sequence[str], **options: Any) -> None:
        self._main = main
        super().__init__(command, **options)

    def _forked(self, request: dict[str, Any], files: Sequence[int]) -> int:
        return os.fork() or _become(request, files, self._main)


def _serve(listener: socket.socket, function: str, modules: Sequence[str]) -> None:
    """Fork a process for each request, and report its exit code, until standard input ends."""
    module, _, name = function.partition(":")
    for imported in (module, *modules):
        importlib.import_module(imported)
    gc.collect()
    gc.freeze()  # so that the processes share the memory of what was imported
    main = getattr(sys.modules[module], name)
    running: dict[int, socket.socket] = {}
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        for file in (listener, woken, 0):
            selector.register(file, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if 0 in ready:
                address = Path(listener.getsockname())
                address.unlink()
                address.parent.rmdir()
                return
            if woken in ready:
                os.read(woken, 4096)
                for pid in [*running]:
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if ended:
                        with running.pop(pid) as client, suppress(OSError):  # which may have ended
                            client.send(str(os.waitstatus_to_exitcode(status)).encode())
            if listener.fileno() in ready:
                client, _ = listener.accept()
                message, files, _, _ = socket.recv_fds(client, _MOST_BYTES, _MOST_FILES)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _become(json.loads(message), files, main)
                running[pid] = client
                for number in files:
                    os.close(number)
                with suppress(OSError):
                    client.send(str(pid).encode())


def _become(request: dict[str, Any], files: Sequence[int], main: Callable[[], object]) -> NoReturn:
    """Turn this process into the one that is asked for, run it, and end it."""
    moved = [os.dup2(number, _FROM + at) for at, number in enumerate(files)]
    os.closerange(0, _FROM)
    for number, place in zip(moved, request["places"], strict=True):
        os.dup2(number, place)
    os.closerange(_FROM, _FROM + len(moved))
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False, buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
    sys.argv[1:] = request["arguments"]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):  # nobody reads it
            sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3:])
