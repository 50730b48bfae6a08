"""Dagster's web server, daemon and code server as children of one process, on the loopback interface only."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from pipelines.commands import options
from pipelines.commands.home_watch import HomeWatch
from pipelines.web.identity import FILE, is_loopback
from pipelines.web.serving import serving
from resources.record_store import RecordStore
from resources.running_ui import RunningUi
from resources.settings import CELERY, K8S, Settings
from schemas import record_type_names
from schemas.errors import InvalidRequest, RecordsError

_HOST = "127.0.0.1"
_STARTUP_SECONDS = 300.0
_WATCH_SECONDS = 2.0
_END_SECONDS = 2.0
_WEB_SERVER = (sys.executable, "-W", "ignore", "-m", "pipelines.dagster_process", "pipelines.web.server:main")
_WORKSPACE = {"load_from": [{"python_module": {"module_name": "pipelines.definitions", "location_name": "records"}}]}
"""The same as workspace.yaml of the repository, which is not part of an installed package."""
_EMBEDDED = Path(__file__).parent.parent.parent / "deploy" / "embedded" / "dagster.yaml"


def run_ui(store: RecordStore, port: int, ready: Callable[[str, str], None]) -> None:
    """Serve until Ctrl-C or a termination signal. Calls `ready` with both addresses when the UI answers.

    Serves the web pages too, at the next port if that is free. While it serves, `ui.json` in the home has both
    addresses. Prints what `HomeWatch` finds. Raises InvalidRequest if the port is taken or the home
    has a running UI. Raises RecordsError if the servers do not start, or end unexpectedly.
    """
    settings, watch = store.settings, HomeWatch(store)
    _print(watch.operator_notices())
    record_type_names()  # raises InvalidRequest if one cannot be loaded
    if settings.executor in (CELERY, K8S):
        from pipelines.executors import require_reachable

        require_reachable(settings)
    port = _free_port(port)
    _require_alone(settings)
    with closing(_listener(port + 1)) as listener, _interruptible(), _started(settings, port, "ui.log") as ui:
        try:
            with serving(settings, listener):
                pages = f"http://{_HOST}:{listener.getsockname()[1]}"
                RunningUi(ui.url, pages, os.getpid()).write(settings)
                ready(ui.url, pages)
                while ui.is_running(_WATCH_SECONDS):
                    _print(_noticed(watch))
        finally:
            RunningUi.remove(settings)
    _end_soon()


def run_pages(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the web pages alone until Ctrl-C or a termination signal. Calls `ready` with the address.

    Raises InvalidRequest if the port is taken, or if other machines could reach the pages and there is no web.yaml.
    """
    if not is_loopback(host) and not (settings.home / FILE).exists():
        raise InvalidRequest(
            f"The pages would answer at {host} to everybody, because there is no {FILE} in {settings.home}.",
            "Write who may do what: see deploy/README.md. Or leave out --host.",
        )
    with closing(_bound(host, port)) as listener, _interruptible(), serving(settings, listener):
        number: int = listener.getsockname()[1]
        ready(f"http://{host}:{number}")
        while True:
            time.sleep(_WATCH_SECONDS)
    _end_soon()


def _end_soon() -> None:
    """End this process soon, even if a thread still works for the pages. Python would wait for the thread.

    A kill loses nothing, and the next server goes on with the work.
    """
    timer = Timer(_END_SECONDS, os._exit, [0])
    timer.daemon = True
    timer.start()


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise InvalidRequest(
            f"The pages cannot answer at {host}, port {port}: {error.strerror}.", "Name another with --port or --host."
        ) from None


def run_viewer(settings: Settings, port: int, ready: Callable[[str], None]) -> None:
    """Serve the pages of the home until Ctrl-C or a termination signal, for people who may change nothing.

    Starts no daemon and writes no `ui.json`: the UI that may run beside it does both, and serves the files of batches.
    Raises what `run_ui` raises, except for a UI that is running.
    """
    with _interruptible(), _started(settings, _free_port(port), "viewer.log", "--read-only") as viewer:
        ready(viewer.url)
        while viewer.is_running(_WATCH_SECONDS):
            pass


def _noticed(watch: HomeWatch) -> list[str]:
    """Returns what has changed. An error of the store is a notice too: it must not end the UI."""
    try:
        return [*watch.operator_notices(), *watch.type_notices()]
    except RecordsError as error:
        return [str(error)]


def _print(notices: Sequence[str]) -> None:
    for notice in notices:
        options.notice(notice)


def prepare_dagster_home(settings: Settings) -> Path:
    """Returns DAGSTER_HOME if it is set. Otherwise makes a folder in the home with the embedded configuration."""
    given = os.environ.get("DAGSTER_HOME")
    if given:
        return Path(given)
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "dagster.yaml", _EMBEDDED.read_text("utf-8"))
    return folder


@dataclass(frozen=True)
class _Servers:
    """Dagster's servers, and the address at which they answer."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def is_running(self, seconds: float) -> bool:
        """Wait so long, or until the servers end; returns whether they run. Raises RecordsError if they have failed."""
        try:
            failed = self.process.wait(timeout=seconds) != 0
        except subprocess.TimeoutExpired:
            return True
        if failed:
            raise RecordsError("Dagster's servers ended unexpectedly.", f"See {self.log}.")
        return False


@contextmanager
def _started(settings: Settings, port: int, log_name: str, *options: str) -> Iterator[_Servers]:
    """Run Dagster's servers until the end of the block. They answer when it begins."""
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
        # It has a session of its own. Ctrl-C reaches only this process, which then ends the children in order.
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
    """End the block on Ctrl-C or a termination signal.

    A script's `records ui &` starts this process with SIGINT ignored. The servers would inherit that, and they end by
    SIGINT.
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
    """Write the text to the file, unless the file already has it. Another process may be reading the file."""
    if not file.exists() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")


def _require_alone(settings: Settings) -> None:
    """Raise InvalidRequest if a UI of this home answers: two daemons would do everything twice."""
    running = RunningUi.of(settings)
    if running is not None and _answers(running.url):
        raise InvalidRequest(f"The UI of this home is running already: {running.url}.", "Use it, or stop it first.")


def _listener(port: int) -> socket.socket:
    """Returns a socket for the accounts' files, at this port so that links in Dagster's history stay valid, or any."""
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
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (urllib.error.URLError, OSError):
        return False


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            raise InvalidRequest(f"Port {port} is in use.", "Name another with --port; 0 means any free one.") from None
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

    After 30 seconds, or if the first of them was killed, kills the other processes of their session. Otherwise the old
    daemon would run beside the daemon of the next start.
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
