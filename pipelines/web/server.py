"""Dagster's web server behind our guard, with its daemon and code server. `records ui` starts it as a process.

The web server of `dagster dev` has no such guard, so this module starts the parts itself.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import click
import uvicorn
from dagster import DagsterInstance
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._cli.utils import get_instance_for_cli
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._serdes import serialize_value
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_MAX_OVERFLOW, DEFAULT_POOL_RECYCLE
from dagster_webserver.version import __version__

from pipelines.web.guard import Guard
from pipelines.web.launchpad_order import put_first_fields_first
from resources.process_state import keep_files_private
from resources.settings import Settings

_POLL_MILLISECONDS = 2000
_DAEMON_SECONDS = 15
_DAEMON = (sys.executable, "-m", "pipelines.dagster_process", "dagster._daemon.cli:cli")
_METHODS = ("GET", "HEAD", "POST")


@click.command()
@click.option("--workspace", type=click.Path(path_type=Path), required=True, help="The workspace.yaml to serve.")
@click.option("--host", required=True, help="The address to listen at.")
@click.option("--port", type=int, required=True, help="The port to listen at.")
@click.option("--read-only", is_flag=True, help="Refuse to change anything, and start no daemon.")
@click.option("--without-daemon", is_flag=True, help="Start neither daemon nor code server: others run them.")
def main(workspace: Path, host: str, port: int, read_only: bool, without_daemon: bool) -> None:
    """Serve Dagster's pages until an interrupt. Ends with 0, or with 1 if the daemon has ended before."""
    settings = Settings.from_environment()
    configure_loggers(log_level="INFO", formatter=settings.log_format)
    keep_files_private()
    lost = Event()
    put_first_fields_first()
    with suppress(KeyboardInterrupt), get_instance_for_cli() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        if read_only or without_daemon:
            _serve(instance, settings, workspace, host, port, read_only=read_only)
        else:
            with _code_server(instance, workspace) as shared, _daemon(instance, shared, lost):
                _serve(instance, settings, shared, host, port, read_only=False)
    sys.exit(1 if lost.is_set() else 0)


def _serve(
    instance: DagsterInstance, settings: Settings, workspace: Path, host: str, port: int, *, read_only: bool
) -> None:
    """Answer until an interrupt. Raises KeyboardInterrupt when all answers are given."""
    with WorkspaceProcessContext(
        instance, version=__version__, read_only=read_only, workspace_load_target=WorkspaceFileTarget([str(workspace)])
    ) as context:
        dagster = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MILLISECONDS)
        uvicorn.run(
            Guard(dagster, settings.ui_hosts, _METHODS),
            host=host,
            port=port,
            log_level="warning",
            log_config=None,
            lifespan="off",
        )


@contextmanager
def _code_server(instance: DagsterInstance, workspace: Path) -> Iterator[Path]:
    """Start the code servers and yield a workspace.yaml of them, for web server and daemon. They use Unix sockets."""
    target = WorkspaceFileTarget([str(workspace)])
    with ProxyServerManager(instance, target) as servers, TemporaryDirectory() as folder:
        shared = Path(folder) / "workspace.yaml"
        shared.write_text(json.dumps({"load_from": list(servers.get_code_server_specs())}), "utf-8")
        yield shared


@contextmanager
def _daemon(instance: DagsterInstance, workspace: Path, lost: Event) -> Iterator[None]:
    """Run Dagster's daemon. If it ends before the block, set `lost` and interrupt this process."""
    reference = ["--instance-ref", serialize_value(instance.get_ref())]
    log = ["--log-format", Settings.from_environment().log_format]
    command = [*_DAEMON, "run", "--workspace", str(workspace), *reference, *log]
    process = subprocess.Popen(command)  # noqa: S603 - our own command
    leaving = Event()

    def watch() -> None:
        process.wait()
        if not leaving.is_set():
            logging.getLogger("dagster").error("The daemon ended by itself, with code %s.", process.returncode)
            lost.set()
            os.kill(os.getpid(), signal.SIGINT)

    Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        leaving.set()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=_DAEMON_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
