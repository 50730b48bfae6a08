"""A deployment of several machines on one: PostgreSQL, an S3 server, Redis, and workers that share nothing else."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import redis
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository

from resources.machines.claims import Claim, Claims, StepKey
from resources.machines.database import WorkTables
from resources.settings import Settings
from tests.memory import volatile_folder
from tests.serving import within

ROOT = Path(__file__).parent.parent.parent
_USERS = (64001, 64002, 64003)
_DAGSTER = (ROOT / "deploy" / "server" / "dagster.yaml").read_text("utf-8")


class Redis:
    """A Redis server that keeps nothing on the disk: what it had is lost when it restarts."""

    def __init__(self) -> None:
        self._folder = volatile_folder("redis-")
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.address = f"redis://127.0.0.1:{self._port}/0"
        self._start()

    def client(self) -> "redis.Redis":
        """Return a client, to be closed."""
        return redis.Redis(port=self._port)

    def restart(self) -> None:
        """Kill the server and start it again, empty."""
        self._process.kill()
        self._process.wait()
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        assert within(10, self._answers, every=0.02)

    def _answers(self) -> bool:
        with closing(self.client()) as client, suppress(redis.ConnectionError):
            return bool(client.ping())
        return False


@dataclass
class Machine:
    """A machine of the cluster: its home, its user, and the worker that runs there, if one does.

    core: the only core of this machine that its worker may use; None for all.
    """

    name: str
    environment: Mapping[str, str]
    folder: Path
    user: int
    log: Path
    core: int | None = None
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start the worker, as a user of its own in a machine with a name of its own where root allows that."""
        log = self.log.open("ab")
        pinned = [] if self.core is None else ["taskset", "--cpu-list", str(self.core)]
        command = [*_as_user(self.user, self.name), *pinned, sys.executable, "-W", "ignore"]
        command += ["-m", "tests.machines.worker"]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=dict(self.environment), stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def is_ready(self) -> bool:
        return b"ready." in self.log.read_bytes()

    def kill(self) -> None:
        """Kill the worker and the processes of its steps at once, as when the machine loses its power."""
        if self.process is not None:
            with suppress(psutil.NoSuchProcess):
                for each in [*psutil.Process(self.process.pid).children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            self.process.kill()
            self.process.wait()
            self.process = None
            self.log.write_bytes(b"")

    def has(self, process: int) -> bool:
        """Return whether a process is one of the worker's."""
        if self.process is None:
            return False
        return process in [it.pid for it in psutil.Process(self.process.pid).children(recursive=True)]


@dataclass
class Cluster:
    """The machines, and what a test does with them. Runs are executed in this process, or in one of their own."""

    settings: Settings
    environment: Mapping[str, str]
    machines: list[Machine]
    redis: Redis
    hold: Path
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def launch(self, job: str, config: Mapping[str, Any], account: str = "") -> "tuple[str, Future[Any]]":
        """Start a run in a thread; return its id and its result to come."""
        run_id = self._created(job, config, account)
        return run_id, self.threads.submit(_execute, job, run_id)

    def _created(self, job: str, config: Mapping[str, Any], account: str) -> str:
        tags = {"dagster/partition": account} if account else {}
        definition, origin = _job(job).get_definition(), _job(job).get_python_origin()
        with dg.DagsterInstance.get() as instance:
            run = instance.create_run_for_job(definition, run_config=dict(config), tags=tags, job_code_origin=origin)
        return run.run_id

    def launch_apart(self, job: str, config: Mapping[str, Any], account: str) -> "tuple[str, subprocess.Popen[bytes]]":
        """Start a run in a process of its own, as a code server does. Return its id and its process."""
        run_id = self._created(job, config, account)
        code = f"from tests.machines.cluster import _execute; _execute({job!r}, {run_id!r})"
        command = [sys.executable, "-W", "ignore", "-c", code]
        return run_id, subprocess.Popen(command, cwd=ROOT, env=dict(self.environment), stderr=subprocess.DEVNULL)

    def run(self, job: str, config: Mapping[str, Any], account: str = "") -> str:
        """Execute a run to its end; it must succeed. Return its id."""
        run_id, result = self.launch(job, config, account)
        assert result.result(240), self.messages(run_id)
        return run_id

    def again(self, run_id: str) -> "tuple[str, Future[Any]]":
        """Execute a failed run again from its failure, as run_retries of the deployment does."""
        with dg.DagsterInstance.get() as instance:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            steps, state = _left_of(instance, run)
            again = instance.create_run_for_job(
                _job(run.job_name).get_definition(),
                run_config=run.run_config,
                tags=dict(run.tags),
                parent_run_id=run_id,
                root_run_id=run_id,
                execution_plan=_plan(run, state, steps),
                job_code_origin=_job(run.job_name).get_python_origin(),
            )
        return again.run_id, self.threads.submit(_execute, run.job_name, again.run_id)

    def held_at(self, name: str) -> int:
        """Return the process that waits at a place such as `before-make_part`."""
        file = self.hold / f"at-{name}"
        assert within(120, file.exists, every=0.02), self.logs()
        return within(5, lambda: int(file.read_text() or 0), every=0.02)

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Let workers wait at a place until the block ends."""
        (self.hold / name).touch()
        try:
            yield
        finally:
            (self.hold / name).unlink()
            (self.hold / f"at-{name}").unlink(missing_ok=True)

    def kill_machine_of(self, process: int) -> Machine:
        (machine,) = [it for it in self.machines if it.has(process)]
        machine.kill()
        return machine

    def ready(self) -> None:
        """Start the workers that do not run, and wait until they answer."""
        for machine in self.machines:
            if machine.process is None:
                machine.start()
        assert within(240, lambda: all(it.is_ready() for it in self.machines), every=0.05), self.logs()

    def claims(self, run_id: str) -> dict[StepKey, Claim]:
        tables = WorkTables(self.settings)
        try:
            return Claims(tables).of_run(run_id)
        finally:
            tables.close()

    def messages(self, run_id: str) -> str:
        """Return what Dagster and the workers have logged, for the message of a failed test."""
        with dg.DagsterInstance.get() as instance:
            logged = instance.all_logs(run_id)
        events = [it.get_dagster_event() for it in logged if it.is_dagster_event]
        failures = [it.step_failure_data.user_failure_data for it in events if it.is_step_failure]
        places = [str(it.metadata["where"].value) for it in failures if it is not None and "where" in it.metadata]
        return "\n".join([*(f"{it.step_key} {it.message}" for it in events), *places, self.logs()])

    def said(self, run_id: str) -> str:
        """Return the messages of a run that are no events of Dagster."""
        with dg.DagsterInstance.get() as instance:
            return "\n".join(it.user_message for it in instance.all_logs(run_id) if not it.is_dagster_event)

    def logs(self) -> str:
        return "\n".join(it.log.read_text(errors="replace")[-6000:] for it in self.machines)


def _job(name: str) -> ReconstructableJob:
    return ReconstructableJob(ReconstructableRepository(ModuleCodePointer("pipelines.definitions", "defs", None)), name)


def _plan(run: dg.DagsterRun, state: Any, steps: Any = None) -> Any:
    from dagster._core.execution.api import create_execution_plan

    return create_execution_plan(
        _job(run.job_name), run.run_config, step_keys_to_execute=steps, known_state=state, tags=run.tags
    )


def _left_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Any:
    """Return the steps that a run has left, and what is known of the others."""
    from dagster._core.execution.plan.state import KnownExecutionState

    return KnownExecutionState.build_resume_retry_reexecution(instance, run)


def _execute(job: str, run_id: str) -> bool:
    from dagster._core.execution.api import execute_run

    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        return execute_run(_job(job), run, instance).success


@cache
def are_apart() -> bool:
    """Return whether workers get users and names of machines of their own: root may, unless a container forbids it."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "--uts", "true"], capture_output=True).returncode == 0


def _as_user(user: int, name: str) -> list[str]:
    """Return the words before a command that give it a user and a machine's name of its own; none without root.

    Some Pythons lie where only root may read. So the user may read everything, but write only what is its own. DuckDB
    asks with `access`, which knows nothing of that right: the folders of a store must be open to others.
    """
    if not are_apart():
        return []
    reads = ["--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search"]
    changed = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *reads]
    return ["unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh", *changed]


@contextmanager
def running(
    folder: Path,
    settings: Settings,
    environment: Mapping[str, str],
    dagster: str,
    processes: int = 1,
    *,
    pinned: bool = False,
) -> Iterator[Cluster]:
    """Two workers, for the store of these settings. They end with the block, and so does Redis.

    pinned: whether each worker has one core for itself and the processes that it starts.
    """
    server, hold = Redis(), folder / "hold"
    hold.mkdir()
    hold.chmod(0o777)
    shared = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RECORDS_", "DAGSTER_"))},
        **environment,
        "RECORDS_CATALOG": str(settings.postgres),
        "RECORDS_DATA": str(settings.data),
        "RECORDS_EXECUTOR": "celery",
        "RECORDS_PROCESSES": str(processes),
        "RECORDS_BROKER": server.address,
        "RECORDS_ACTOR": "tester",
        "DAGSTER_POSTGRES_URL": dagster,
        "PYTHONPATH": str(ROOT),
        "HOLD": str(hold),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    machines = [_machine(folder, name, shared, user) for name, user in zip(("run", "one", "two"), _USERS, strict=True)]
    first, *workers = machines
    if pinned:
        for worker, core in zip(workers, sorted(os.sched_getaffinity(0)), strict=False):
            worker.core = core
    cluster = Cluster(settings, first.environment, workers, server, hold)
    try:
        yield cluster
    finally:
        for machine in workers:
            machine.kill()
        server.stop()
        cluster.threads.shutdown(wait=False, cancel_futures=True)


def _machine(folder: Path, name: str, shared: Mapping[str, str], user: int) -> Machine:
    place = folder / name
    home, dagster = place / "home", place / "home" / "dagster"
    dagster.mkdir(parents=True)
    (dagster / "dagster.yaml").write_text(_DAGSTER)
    log = folder / f"{name}.log"
    log.touch()
    if are_apart() and name != "run":
        for each in (place, home, dagster, dagster / "dagster.yaml"):
            os.chown(each, user, user)
    environment = {**shared, "RECORDS_HOME": str(home), "DAGSTER_HOME": str(dagster), "HOME": str(place)}
    return Machine(name, environment, place, user, log)
