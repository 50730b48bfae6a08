"""`records`: the command line of the whole project.

The modules of this folder import Dagster, pandas and pandera only inside the commands that need them. So a command
that needs none of them takes a third of a second.
"""

from pathlib import Path

import click

from pipelines.commands.administration import accounts, demo, init, template, types, ui, web
from pipelines.commands.backups import backup, backups, restore
from pipelines.commands.erasure import delete_account, erase
from pipelines.commands.exports import export, exports, presets
from pipelines.commands.group import Commands
from pipelines.commands.health import check, repair, space
from pipelines.commands.history import batches, rollback, show
from pipelines.commands.imports import commit, discard, import_file, preview
from pipelines.commands.mappings import mappings
from pipelines.commands.serve import serve
from pipelines.commands.upkeep import accept, expire, maintain, migrate
from resources.process_state import hide_hypothesis, name_home


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="records-exchange")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the store, in place of RECORDS_HOME.  [default: ~/.local/share/records]",
)
def main(home: Path | None) -> None:
    """Bulk export and reversible bulk import of an account's records.

    The environment names the store and the actor: RECORDS_HOME, RECORDS_DATA, RECORDS_ACTOR, RECORDS_ACCOUNT.
    Exit codes: 0 done, 1 failed, 2 wrong usage or not found, 3 refused by a rule.
    """
    hide_hypothesis()
    if home is not None:
        name_home(home)


main.add_section("Import", (import_file, preview, commit, discard, mappings, template))
main.add_section("Export", (export, exports, presets))
main.add_section("History", (batches, show, rollback))
accounts.add_command(delete_account)
main.add_section(
    "Administration", (init, demo, accounts, types, ui, web, serve, expire, maintain, migrate, erase, accept)
)
main.add_section("Health", (check, repair, space, backup, backups, restore))
