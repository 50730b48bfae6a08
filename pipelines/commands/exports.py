"""`records export`, `exports` and `presets`. Runs are submitted by HTTP, so nothing here imports Dagster."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from pipelines.commands.group import Subcommands
from pipelines.commands.options import PAGE, notice, open_store, print_json
from resources.export_writer import ExportWriter
from resources.export_writer.formats import FORMATS, choose_format, supporting
from resources.settings import Settings
from schemas.errors import NoDeployment
from schemas.exports import SHEET_ROWS, ExportRequest, Packing

if TYPE_CHECKING:
    from pipelines.deployment import SubmittedRun
    from resources.export_writer.concurrent_parts import Progress
    from resources.export_writer.plan import ExportPlan

_TIME = "A time such as 2024-05-31T09:30:00Z, or the id of a batch or an export"


@click.command()
@options.required_account
@options.record_type
@click.option(
    "-f",
    "--format",
    "file_format",
    type=click.Choice(list(FORMATS), case_sensitive=False),
    help="Format of the file. Default: that of the output's name, or csv.",
)
@click.option("--columns", metavar="A,B", help="These columns, in this order.")
@click.option("--preset", help="The columns of a preset. List presets: records presets list -a ACCOUNT.")
@click.option(
    "--where",
    "filters",
    multiple=True,
    metavar='"FIELD OP VALUE"',
    help="Only records that meet the condition. OP: = != < <= > >= in contains starts is-null between.",
)
@click.option("--order-by", metavar="FIELD", help='Sort by fields, such as "country, amount desc". Default: by key.')
@click.option("--as-of", metavar="TIME|ID", help=f"The records as they were then. {_TIME}.")
@click.option(
    "--changed-since",
    metavar="TIME|ID",
    help=f"Only records created, updated or deleted since, with a column _change that says which. {_TIME}.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of CSV. For Excel users: utf-8-sig.")
@click.option("--delimiter", default=",", show_default=True, help="Delimiter of CSV: , ; | or tab.")
@click.option("--raw", is_flag=True, help="Write texts in CSV that look like formulas without a ' before them.")
@click.option(
    "--pack",
    type=click.Choice(Packing, case_sensitive=False),
    help=f"Compress the file, if it is {supporting('packing')}. Default: as the output's name says.",
)
@click.option(
    "--sheet-rows",
    type=int,
    default=SHEET_ROWS,
    help="Number of records on a sheet of Excel. Default: as many as a sheet holds.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File or folder to write to. Default: the account's export folder.",
)
@click.option(
    "--background/--foreground",
    default=None,
    help="Export by a Dagster run, which needs a running `records ui`, or in this process. Default: in this process "
    "below RECORDS_BACKGROUND_ROWS records.",
)
@options.as_json
def export(
    account: str,
    record_type: str,
    file_format: str | None,
    columns: str | None,
    preset: str | None,
    filters: tuple[str, ...],
    order_by: str | None,
    as_of: str | None,
    changed_since: str | None,
    encoding: str,
    delimiter: str,
    raw: bool,
    pack: Packing | None,
    sheet_rows: int,
    output: Path | None,
    background: bool | None,
    as_json: bool,
) -> None:
    """Write an account's records to a file, in key order, with a manifest beside it.

    If `records ui` is running, it exports large numbers of records. The command then prints the run and ends.
    """
    chosen, packing = choose_format(output, file_format)
    request = ExportRequest(
        account=account,
        record_type=record_type,
        columns=None if columns is None else _listed(columns),
        preset=preset,
        path=output,
        format=chosen.name,
        packing=pack or packing,
        filters=filters,
        order_by=() if order_by is None else _listed(order_by),
        as_of=as_of,
        changed_since=changed_since,
        encoding=encoding,
        delimiter=delimiter,
        raw=raw,
        sheet_rows=sheet_rows,
    )
    with open_store() as store:
        writer = ExportWriter(store, store.settings.actor)
        with writer.planned(request) as (plan, source):
            if plan.rows >= store.settings.background_rows if background is None else background:
                submitted = _submitted(store.settings, plan)
                if submitted is not None:
                    _print_submitted(plan, submitted, as_json)
                    return
            with _progress(plan.request.record_type, as_json) as progress:
                written = writer.write(plan, source, progress)
        manifest, known = writer.publish(plan, written), plan.selection.record_type
    if as_json:
        print_json(manifest.to_dict())
    else:
        from pipelines.commands.export_texts import print_export

        print_export(manifest, known)


def _submitted(settings: Settings, plan: "ExportPlan") -> "SubmittedRun | None":
    """Submit the export to Dagster, and return the run. None, with a message, if no deployment is running."""
    from pipelines.deployment import Deployment

    try:
        return Deployment(settings).submit_export(plan)
    except NoDeployment as error:
        notice(f"{error.message} The export is made in this process.")
        return None


def _print_submitted(plan: "ExportPlan", run: "SubmittedRun", as_json: bool) -> None:
    if as_json:
        print_json(plan.to_submitted(run.run_id, run.url))
    else:
        click.echo(
            f"{plan.export_id}  {plan.rows:,} {plan.selection.record_type.name} of {plan.request.account}: submitted"
        )
        click.echo(f"File: {plan.path}")
        click.echo(f"Run: {run.url}")


@click.command()
@options.account
@options.page
@options.as_json
def exports(account: str | None, page: int, as_json: bool) -> None:
    """List exports, newest first."""
    with open_store() as store:
        found = store.exports(account, offset=(page - 1) * PAGE, limit=PAGE + 1)
    following = page + 1 if len(found) > PAGE else None
    if as_json:
        print_json({"items": [manifest.to_dict() for manifest in found[:PAGE]], "next": following})
    else:
        from pipelines.commands.export_texts import print_exports

        print_exports(found[:PAGE], following)


@click.group(cls=Subcommands)
def presets() -> None:
    """Save and list presets of columns."""


@presets.command("save")
@click.argument("name")
@options.required_account
@options.record_type
@click.option("--columns", metavar="A,B", required=True, help="The columns, in this order.")
@options.as_json
def save_preset(name: str, account: str, record_type: str, columns: str, as_json: bool) -> None:
    """Save a list of columns as the account's preset NAME."""
    with open_store() as store:
        store.account(account).save_preset(record_type, name, _listed(columns), store.settings.actor)
    if as_json:
        print_json({"name": name, "account": account, "record_type": record_type, "columns": _listed(columns)})
    else:
        click.echo(f"Preset {name} of {record_type}: {', '.join(_listed(columns))}.")


@presets.command("list")
@options.required_account
@click.option("-t", "--type", "record_type", help="Only presets of this record type.")
@options.as_json
def list_presets(account: str, record_type: str | None, as_json: bool) -> None:
    """List the presets of an account: its own, and those of the record types."""
    with open_store() as store:
        types = list(store.record_types()) if record_type is None else [record_type]
        found = [
            {"name": name, "record_type": each, "columns": list(columns)}
            for each in types
            for name, columns in store.presets(account, each).items()
        ]
    if as_json:
        print_json({"items": found, "next": None})
    else:
        from pipelines.commands.export_texts import print_presets

        print_presets(found)


@contextmanager
def _progress(what: str, as_json: bool) -> "Iterator[Progress | None]":
    """Show a progress bar on standard error if it is a terminal."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from pipelines.commands.terminal import ProgressBar

    with ProgressBar(f"Exporting {what}", exact=True) as progress:
        yield progress


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
