"""`records serve`: one part of a deployment, as a process that a service manager or a container runs."""

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from pipelines.commands import options
from pipelines.commands.options import notice, open_store, print_json
from resources.file_storage import replace_text
from resources.process_state import keep_no_freed_memory, name_home
from resources.settings import CELERY, K8S, Settings
from schemas.errors import InvalidRequest, StoreUnreachable

_PORTS = {"code": 4000, "dagster": 3000, "web": 3001}
_MODULE = "pipelines.definitions"
_LOCATION = "records"


@click.command()
@click.option(
    "--role",
    type=click.Choice(("code", "dagster", "daemon", "web", "worker")),
    required=True,
    help="code: the definitions and runs. dagster: its pages. daemon: schedules and sensors. web: the web pages. "
    "worker: steps of runs, with Celery.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to answer at, of code, dagster and web."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port.  [default: code a socket, dagster 3000, web 3001]"
)
@click.option(
    "--code",
    metavar="ADDRESS",
    help="Where the code server is: HOST:PORT, or the path of a socket.  [default: code.sock in the home]",
)
@options.as_json
def serve(role: str, host: str, port: int | None, code: str | None, as_json: bool) -> None:
    """Run one part of a deployment until it is ended: for systemd, containers and the like.

    `records ui` runs all parts on one machine. The code server has no login: only a socket, or a network of its own.
    """

    def ready(at: str | None) -> None:
        print_json({"role": role, "at": at}) if as_json else notice(
            f"Serving {role} at {at}." if at else f"Serving {role}, which needs no address."
        )

    with open_store() as store:
        store.accounts()  # raises StoreNotReady if the home has no store
        settings = store.settings
    if role == "web":
        keep_no_freed_memory()
        from pipelines.commands.ui import run_pages

        run_pages(settings, host, port or _PORTS[role], ready)
        return
    from pipelines.commands.ui import prepare_dagster_home

    dagster_home = prepare_dagster_home(settings)
    name_home(settings.home, dagster=dagster_home)

    def start(at: str | None, *command: str) -> None:
        _make_storage(dagster_home)
        ready(at)
        _become(*command)

    socket = code or str(settings.home / "code.sock")
    log = ("--log-format", settings.log_format)
    if role in ("code", "worker") and settings.executor in (CELERY, K8S):
        import dagster as dg

        from pipelines.executors import require_reachable, require_shared_storage

        require_reachable(settings)
        with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
            require_shared_storage(settings, instance)
    if role == "worker":
        if settings.executor != CELERY:
            raise InvalidRequest(
                f"RECORDS_EXECUTOR is {settings.executor}, which has no workers of this kind.",
                "Set RECORDS_EXECUTOR=celery here and for the code server.",
            )
        start(None, "pipelines.celery_worker:main")
    if role == "code":
        place = ["--socket", socket] if port is None else ["--host", host, "--port", str(port)]
        if port is None:
            _remove_socket(Path(socket))
        command = ("dagster._cli:cli", "code-server", "start", "-m", _MODULE, "--location-name", _LOCATION)
        start(socket if port is None else f"{host}:{port}", *command, *place, *log)
    workspace = str(_workspace(settings, role, socket))
    if role == "daemon":
        start(None, "dagster._daemon.cli:cli", "run", "--workspace", workspace, *log)
    port = port or _PORTS[role]
    own = ("--workspace", workspace, "--host", host, "--port", str(port), "--without-daemon")
    start(f"http://{host}:{port}", "pipelines.web.server:main", *own)


def _make_storage(dagster_home: Path) -> None:
    """Make the tables of Dagster's storage if they are missing: one process of this machine at a time.

    Parts that start together would all make them. Then the record of their version is double, and no code is loaded.
    Raises StoreUnreachable if the storage does not open.
    """
    import dagster as dg

    turn = os.open(dagster_home, os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
            instance.get_runs(limit=1)
            instance.all_instigator_state()
            instance.get_asset_keys(limit=1)
    except Exception as error:
        raise StoreUnreachable(
            f"The storage of Dagster in {dagster_home} cannot be opened: {type(error).__name__}.",
            "Check dagster.yaml there, DAGSTER_POSTGRES_URL, and that its database answers.",
        ) from error
    finally:
        os.close(turn)


def _remove_socket(path: Path) -> None:
    """Remove the socket of a server that was killed. Raises InvalidRequest for another kind of file."""
    if path.is_socket():
        path.unlink(missing_ok=True)
    elif path.exists():
        raise InvalidRequest(f"{path} is there, and is no socket.", "Give a path that is free: --code.")


def _workspace(settings: Settings, role: str, code: str) -> Path:
    """Returns a workspace.yaml for a role, which names the code server."""
    host, _, port = code.rpartition(":")
    if "/" in code:
        server: dict[str, Any] = {"socket": code}
    elif host and port.isdigit():
        server = {"host": host, "port": int(port)}
    else:
        raise InvalidRequest(f"--code is {code!r}.", "Give HOST:PORT, or the path of a socket.")
    path = settings.home / f"workspace.{role}.yaml"
    replace_text(path, json.dumps({"load_from": [{"grpc_server": {**server, "location_name": _LOCATION}}]}) + "\n")
    return path


def _become(*arguments: str) -> None:
    """Replace this process by a command of Dagster, so that signals and the exit code are the server's own."""
    command = [sys.executable, "-W", "ignore", "-m", "pipelines.dagster_process", *arguments]
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - our own command
