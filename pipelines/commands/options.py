"""What commands share: options, the store, the progress bar, and the output for programs."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipelines import logs
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.footers import Footer
from schemas.reading import COMMA, POINT, DateOrder, ShortRows

if TYPE_CHECKING:
    from pipelines.commands.terminal import ProgressBar

EARLIER_HOME = ".records"
"""The default home of earlier versions, in the folder where a command ran."""

PAGE = 50
"""How many entries of a list a page has."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
account = click.option("-a", "--account", envvar="RECORDS_ACCOUNT", show_envvar=True, help="Restrict to this account.")
required_account = click.option(
    "-a", "--account", envvar="RECORDS_ACCOUNT", show_envvar=True, required=True, help="The account of the records."
)
record_type = click.option(
    "-t", "--type", "record_type", required=True, help="The record type; `records types` lists them."
)
page = click.option(
    "--page", type=click.IntRange(min=1), default=1, show_default=True, help=f"Which page; a page has {PAGE} entries."
)
batch = click.argument("batch_id", metavar="BATCH")
show_values = click.option(
    "--show-values", is_flag=True, help="Print values of personal fields. Without it they are masked."
)

how_it_is_written = {
    "encoding": click.option("--encoding", help="The file's encoding, for example utf-8 or cp1252. Default: detected."),
    "sheet": click.option("--sheet", help="The sheet of a workbook. Default: the first."),
    "date_order": click.option(
        "--date-order",
        type=click.Choice(DateOrder, case_sensitive=False),
        help="The order in dates such as 31/05/2024 (dmy), 05/31/2024 (mdy) or 2024/05/31 (ymd).",
    ),
    "decimal": click.option(
        "--decimal",
        type=click.Choice([COMMA, POINT]),
        metavar="SIGN",
        help="The decimal sign of numbers in delimited text: a comma or a point. They may have thousands separators "
        "then, as 1.234,50.",
    ),
    "time_zone": click.option(
        "--time-zone", help="The zone of timestamps without an offset, for example UTC or Europe/Berlin."
    ),
    "delimiter": click.option(
        "--delimiter", help="The character between fields, for example ; or tab. Default: detected."
    ),
    "at": click.option(
        "--at",
        metavar="PATH",
        help="The list that has the records of a JSON file, for example results or data.items. "
        "A point is the object itself. Default: found.",
    ),
    "header_row": click.option(
        "--header-row",
        type=click.IntRange(min=1),
        metavar="N",
        help="The line or row that names the columns, from 1. Default: detected.",
    ),
    "short_rows": click.option(
        "--short-rows",
        type=click.Choice(ShortRows, case_sensitive=False),
        help="For records of delimited text with fewer fields than the header: reject (the default), or fill with "
        "empty ones.",
    ),
    "footer": click.option(
        "--footer",
        type=click.Choice(Footer, case_sensitive=False),
        help="Last lines that look like no records, such as a total: leave them out, or read them as records. Without "
        "it they are rejected.",
    ),
}
"""What a user says about how a file is written, for commands that read one. Each sets the option of ReadOptions."""


@contextmanager
def open_store() -> Iterator[RecordStore]:
    """Open the store that the environment's settings name. Only `records init` and `records demo` make one."""
    settings = Settings.from_environment()
    _show_earlier_home(settings.home)
    with RecordStore(settings) as store:
        yield store


def _show_earlier_home(home: Path) -> None:
    """Print how to use the store of this folder, which was the default home before, if no home is named."""
    earlier = Path(EARLIER_HOME).absolute()
    if os.environ.get("RECORDS_HOME") or not any((earlier / name).exists() for name in ("catalog.sqlite", "dagster")):
        return
    notice(
        f"{earlier}, the home of earlier versions, is not used: the home is now {home}. "
        f"To use it: export RECORDS_HOME={shlex.quote(str(earlier))}"
    )


def notice(text: str) -> None:
    """Print a sentence on standard error, as the log's form says."""
    click.echo(logs.line(text) if logs.are_json() else text, err=True)


@contextmanager
def progress(
    what: str, as_json: bool, *, exact: bool = False, of_bytes: bool = False
) -> "Iterator[ProgressBar | None]":
    """Show a progress bar on standard error if that is a terminal; see `ProgressBar` for the parameters."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from pipelines.commands.terminal import ProgressBar

    with ProgressBar(what, exact=exact, of_bytes=of_bytes) as bar:
        yield bar


def owner(store: RecordStore, batch_id: str, account: str | None) -> str:
    """Returns the given account, even if it is empty by mistake. Without one, returns the batch's account."""
    return store.owner_of(batch_id) if account is None else account


def given_command(*more: str) -> str:
    """Returns the command that is running with all options that were given and `more` words, quoted for a shell."""
    context = click.get_current_context()
    home = context.find_root().params.get("home")
    words = ["records", *(["--home", str(home)] if home else []), *context.command_path.split()[1:]]
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += _as_given(parameter, context.params[name])
    return shlex.join([*words, *more])


def _as_given(parameter: click.Parameter, value: Any) -> list[str]:
    """Returns the words that give a parameter its value."""
    if not isinstance(parameter, click.Option):
        return [str(value)]
    if parameter.is_flag:
        return [parameter.opts[0] if value else parameter.secondary_opts[0]]
    values = value if parameter.multiple else [value]
    return [word for each in values for word in (parameter.opts[0], str(each))]


def print_json(value: object) -> None:
    """Print one JSON object on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False))
