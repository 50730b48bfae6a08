"""Dagster's web server, daemon and code server as children of one process, on loopback only."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.web.file_server import serving
from resources.running_ui import RunningUi
from resources.settings import Settings
from schemas.errors import InvalidRequest, RecordsError

_HOST = "127.0.0.1"
_STARTUP_SECONDS = 120.0
_WEB_SERVER = (sys.executable, "-W", "ignore", "-m", "pipelines.web.server")
_WORKSPACE = {"load_from": [{"python_module": {"module_name": "pipelines.definitions", "location_name": "records"}}]}
"""What the workspace.yaml of the repository says, which an installed package does not bring."""
_EMBEDDED = Path(__file__).parent.parent.parent / "deploy" / "embedded" / "dagster.yaml"


def run_ui(settings: Settings, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or a termination signal; `ready` is given the address once the UI answers.

    Beside it the reports and rejects files of batches are served, at the next port where that is free. While it
    serves, `ui.json` in the home holds the addresses. Raises InvalidRequest when the port is
    taken or the home has a UI already, RecordsError when the servers do not come up or end by themselves.
    """
    port = _free_port(port)
    _require_alone(settings)
    with closing(_listener(port + 1)) as listener, _interruptible(), _started(settings, port, "ui.log") as ui:
        try:
            with serving(settings, listener):
                RunningUi(ui.url, f"http://{_HOST}:{listener.getsockname()[1]}", os.getpid()).write(settings)
                ready(ui.url)
                ui.wait()
        finally:
            RunningUi.remove(settings)


def run_viewer(settings: Settings, port: int, ready: Callable[[str], None]) -> None:
    """Serve the pages of the home until Ctrl-C or a termination signal, to people who may change nothing.

    There is no daemon, and `ui.json` is not written: both are those of the UI that may run beside it, which also serves
    the files of batches. Raises what `run_ui` raises, but for a UI that runs already.
    """
    with _interruptible(), _started(settings, _free_port(port), "viewer.log", "--read-only") as viewer:
        ready(viewer.url)
        viewer.wait()


def prepare_dagster_home(settings: Settings) -> Path:
    """Dagster's folder: DAGSTER_HOME as it is, else one in the home with the embedded configuration."""
    given = os.environ.get("DAGSTER_HOME")
    if given:
        return Path(given)
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "dagster.yaml", _EMBEDDED.read_text("utf-8"))
    return folder


@dataclass(frozen=True)
class _Servers:
    """Dagster's servers, at an address at which they answer."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def wait(self) -> None:
        """They have ended; RecordsError when not as they should."""
        if self.process.wait() != 0:
            raise RecordsError("Dagster's servers ended by themselves.", f"See {self.log}.")


@contextmanager
def _started(settings: Settings, port: int, log_name: str, *options: str) -> Iterator[_Servers]:
    """Servers of Dagster that answer, until the end of the block."""
    dagster_home = prepare_dagster_home(settings)
    log = dagster_home / log_name
    workspace = settings.home / "workspace.yaml"
    _write(workspace, json.dumps(_WORKSPACE) + "\n")
    environment = os.environ | {
        "DAGSTER_HOME": str(dagster_home),
        "RECORDS_HOME": str(settings.home),
        "RECORDS_DATA": str(settings.data),
    }
    with log.open("ab") as output:
        # In a session of its own: Ctrl-C reaches this process alone, which ends the children in order.
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*_WEB_SERVER, "--workspace", str(workspace), "--host", _HOST, "--port", str(port), *options],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    servers = _Servers(process, f"http://{_HOST}:{port}", log)
    try:
        _wait_until_ready(servers)
        yield servers
    finally:
        _stop(process)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C or a termination signal ends the block.

    A script's `records ui &` starts it with SIGINT ignored, and so would the servers, which are ended by it.
    """
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt),
    }
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _write(file: Path, text: str) -> None:
    """The file has that text; one that has it already is left alone, for others may be reading it."""
    if not file.exists() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")


def _require_alone(settings: Settings) -> None:
    """Two daemons of one home would do everything twice. What a killed UI left behind does not count."""
    running = RunningUi.of(settings)
    if running is not None and _answers(running.url):
        raise InvalidRequest(f"The UI of this home runs already: {running.url}.", "Use that one, or end it first.")


def _listener(port: int) -> socket.socket:
    """A socket for the accounts' files: at this port, so that links in Dagster's history hold, or at any."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
    except (OSError, OverflowError):
        listener.bind((_HOST, 0))
    return listener


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - our own address
            return True
    except (urllib.error.URLError, OSError):
        return False


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            raise InvalidRequest(f"Port {port} is in use.", "Name another: --port, or --port 0 for any.") from None
        number: int = probe.getsockname()[1]
        return number


def _wait_until_ready(servers: _Servers) -> None:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < deadline:
        if servers.process.poll() is not None:
            raise RecordsError("Dagster's servers did not start.", f"See {servers.log}.")
        if _answers(servers.url):
            return
        time.sleep(0.2)
    raise RecordsError(f"Dagster's UI did not answer within {_STARTUP_SECONDS:g} seconds.", f"See {servers.log}.")


def _stop(servers: "subprocess.Popen[bytes]") -> None:
    """End the servers in order.

    By force what is left of their session after 30 seconds, or when the first of them was killed: its daemon would
    work on beside that of the next start.
    """
    if servers.poll() is None:
        servers.send_signal(signal.SIGINT)
    ended = None
    with suppress(subprocess.TimeoutExpired):
        ended = servers.wait(timeout=30)
    if ended != 0:
        with suppress(ProcessLookupError):
            os.killpg(servers.pid, signal.SIGKILL)
        servers.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
