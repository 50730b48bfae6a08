"""`records export`, `exports` and `presets`. Nothing here imports Dagster: a run is submitted by HTTP."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from pipelines.commands.options import PAGE, open_store, print_json
from resources.settings import Settings
from schemas.errors import NoDeployment
from schemas.exports import ExportFormat, ExportRequest, Packing, named_format

if TYPE_CHECKING:
    from pipelines.deployment import SubmittedRun
    from resources.export_writer.plan import ExportPlan
    from resources.export_writer.writer import Progress

_MOMENT = "A moment, as 2024-05-31T09:30:00Z, a batch or an export"


@click.command()
@options.required_account
@options.record_type
@click.option(
    "-f",
    "--format",
    "file_format",
    type=click.Choice(ExportFormat, case_sensitive=False),
    help="Of the file. Default: what the name of the output says, else csv.",
)
@click.option("--columns", metavar="A,B", help="These columns, in this order.")
@click.option("--preset", help="The columns of a preset: see records types, records presets list.")
@click.option(
    "--where",
    "filters",
    multiple=True,
    metavar='"FIELD OP VALUE"',
    help="Only records of which it is true; OP is one of = != < <= > >= in contains starts is-null between.",
)
@click.option(
    "--order-by", metavar="FIELD", help='Sort by it, or by several: "country, amount desc". Default: the key.'
)
@click.option("--as-of", metavar="TIME|ID", help=f"The records as they were then. {_MOMENT}, whose state is meant.")
@click.option(
    "--changed-since",
    metavar="TIME|ID",
    help=f"Only what was created, updated or deleted since, and a column _change that says which. {_MOMENT}.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of CSV; utf-8-sig for Excel's users.")
@click.option("--delimiter", default=",", show_default=True, help="Of CSV: , ; | or tab.")
@click.option("--raw", is_flag=True, help="Put no ' before texts in CSV that a spreadsheet would take for formulas.")
@click.option("--pack", type=click.Choice(Packing, case_sensitive=False), help="Default: what the output's name says.")
@click.option("--sheet-rows", type=int, help="Records on a sheet of Excel. Default: as many as it holds.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or folder. Default: the account's export folder."
)
@click.option(
    "--background/--foreground",
    default=None,
    help="By a run of the deployment, or here. Default: here, if there are fewer than RECORDS_BACKGROUND_ROWS records.",
)
@options.as_json
def export(
    account: str,
    record_type: str,
    file_format: ExportFormat | None,
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
    sheet_rows: int | None,
    output: Path | None,
    background: bool | None,
    as_json: bool,
) -> None:
    """Write an account's records to a file, in key order, with a manifest beside it.

    Many records are left to the deployment that `records ui` has started, where one runs; then the command prints the
    run and ends.
    """
    from resources.export_writer import ExportWriter

    chosen, packing = named_format(output, file_format)
    request = ExportRequest(
        account=account,
        record_type=record_type,
        columns=None if columns is None else _listed(columns),
        preset=preset,
        path=output,
        format=chosen,
        packing=pack or packing,
        filters=filters,
        order_by=() if order_by is None else _listed(order_by),
        as_of=as_of,
        changed_since=changed_since,
        encoding=encoding,
        delimiter=delimiter,
        raw=raw,
        **({} if sheet_rows is None else {"sheet_rows": sheet_rows}),
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
                manifest = writer.run(plan, source, progress)
    if as_json:
        print_json(manifest.to_dict())
    else:
        from pipelines.commands.terminal import print_export

        print_export(manifest)


def _submitted(settings: Settings, plan: "ExportPlan") -> "SubmittedRun | None":
    """The run that will make the export; None, and it is said, where no deployment runs."""
    from pipelines.deployment import Deployment

    name = plan.selection.record_type.name
    config = {"ops": {f"exports__{name}": {"config": {"export_id": plan.export_id}}}}
    try:
        return Deployment(settings).submit(f"export_{name}", plan.request.account, config)
    except NoDeployment as error:
        click.echo(f"{error.message} The export is made here.", err=True)
        return None
    except BaseException:
        plan.clear()
        raise


def _print_submitted(plan: "ExportPlan", run: "SubmittedRun", as_json: bool) -> None:
    if as_json:
        print_json(plan.to_submitted(run.run_id, run.url))
    else:
        click.echo(
            f"{plan.export_id}  {plan.rows:,} {plan.selection.record_type.name} of {plan.request.account}: submitted"
        )
        click.echo(f"It will lie at {plan.path}")
        click.echo(f"Watch it: {run.url}")


@click.command()
@options.account
@options.page
@options.as_json
def exports(account: str | None, page: int, as_json: bool) -> None:
    """The exports, newest first."""
    with open_store() as store:
        found = store.exports(account, offset=(page - 1) * PAGE, limit=PAGE + 1)
    following = page + 1 if len(found) > PAGE else None
    if as_json:
        print_json({"items": [manifest.to_dict() for manifest in found[:PAGE]], "next": following})
    else:
        from pipelines.commands.terminal import print_exports

        print_exports(found[:PAGE], following)


@click.group()
def presets() -> None:
    """Presets of columns that an account saves for itself."""


@presets.command("save")
@click.argument("name")
@options.required_account
@options.record_type
@click.option("--columns", metavar="A,B", required=True, help="Its columns, in this order.")
@options.as_json
def save_preset(name: str, account: str, record_type: str, columns: str, as_json: bool) -> None:
    """The account's preset NAME has these columns from now on."""
    with open_store() as store:
        store.account(account).save_preset(record_type, name, _listed(columns), store.settings.actor)
    if as_json:
        print_json({"name": name, "account": account, "record_type": record_type, "columns": _listed(columns)})
    else:
        click.echo(f"Preset {name} of {record_type} is {', '.join(_listed(columns))}.")


@presets.command("list")
@options.required_account
@click.option("-t", "--type", "record_type", help="Only of this record type.")
@options.as_json
def list_presets(account: str, record_type: str | None, as_json: bool) -> None:
    """The presets that an account can export by: the types' own and those it has saved."""
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
        from pipelines.commands.terminal import print_presets

        print_presets(found)


@contextmanager
def _progress(what: str, as_json: bool) -> "Iterator[Progress | None]":
    """A bar on standard error, for somebody who sits before it."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from pipelines.commands.terminal import progress_bar

    with progress_bar(f"Exporting {what}", exact=True) as progress:
        yield progress


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
