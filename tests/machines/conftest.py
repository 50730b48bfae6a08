"""The cluster, which the tests of this folder share."""

import os
import shutil
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster_celery import core_execution_loop

from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from tests.machines.cluster import Cluster, running
from tests.memory import volatile_folder
from tests.object_server import ObjectServer
from tests.postgres import Postgres
from tests.records import put


@pytest.fixture(scope="session")
def cluster(postgres: Postgres, objects: ObjectServer) -> Iterator[Cluster]:
    """Two workers with a process each, and this process as the machine that has the runs."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    folder = volatile_folder("machines-")
    for each in (postgres.folder, folder):  # other users must come through: pytest's own folders are for one user
        each.chmod(0o755)
    catalog, dagster, bucket = postgres.create(), postgres.create(), objects.create()
    given = {"RECORDS_CATALOG": postgres.address(catalog), "RECORDS_DATA": f"{bucket}/data"}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("RECORDS_", "DAGSTER_"))]:
            patch.delenv(name)
        for name, value in objects.environment.items():
            patch.setenv(name, value)
        home = folder / "run" / "home"
        settings = Settings.from_environment({**given, "RECORDS_HOME": str(home)})
        patch.setattr(core_execution_loop, "TICK_SECONDS", 0.05)
        with running(
            folder,
            settings,
            objects.environment,
            postgres.address(dagster).replace("postgresql:", "postgresql+psycopg2:"),
        ) as made:
            for name, value in made.environment.items():
                if name.startswith(("RECORDS_", "DAGSTER_")):
                    patch.setenv(name, value)
            with RecordStore(settings) as store:
                store.initialise(load_record_types())
                put(
                    store,
                    "SELECT 'C-' || i AS external_id, 'lead' AS status, i AS amount FROM range(1, 1201) t(i)",
                    "ex",
                )
            with dg.DagsterInstance.get() as instance:  # the workers find Dagster's tables ready
                instance.add_dynamic_partitions("accounts", ["ex"])
            made.ready()
            yield made
    shutil.rmtree(folder, ignore_errors=True)
