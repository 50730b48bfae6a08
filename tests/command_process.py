"""What a process of the command does. Only `tests.forks` imports this module, into the server that forks it."""

import importlib
import sys

from resources.file_reader import reader
from tests.duckdb_opening import open_quickly
from tests.forks import ForkServer

for _name in (
    *("pandas", "pyarrow.parquet", "pandera.backends.pandas.register", "pandera.backends.pandas.builtin_checks"),
    *("psycopg2", "s3fs", "upath", "schemas.contacts", "pipelines.commands.cli", "pipelines.commands.batch_texts"),
    *("resources.importing.importer", "resources.importing.stager", "resources.importing.rejects_writer"),
    *("resources.report_writer.page", "resources.export_writer", "resources.upkeep.maintenance"),
    *("resources.record_store.comparison", "resources.record_store.rollback"),
):
    importlib.import_module(_name)


def main() -> None:
    """Run the command. The first argument is the address of the server that forks the processes that read files."""
    from pipelines.commands.cli import main as command

    open_quickly()
    setattr(reader, "subprocess", ForkServer(address=sys.argv.pop(1)))  # noqa: B010
    command()
