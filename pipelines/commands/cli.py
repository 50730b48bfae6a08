"""`records`: everything one can do with an account's records, from a terminal.

Nothing here imports Dagster, pandas or pandera until a command needs it: a command that needs none of
them ends in half a second.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipelines.commands.exports import export, exports, presets
from pipelines.commands.options import PAGE as _PAGE
from pipelines.commands.options import account as _account
from pipelines.commands.options import as_json as _as_json
from pipelines.commands.options import open_store as _store
from pipelines.commands.options import page as _page
from pipelines.commands.options import print_json as _print_json
from pipelines.commands.options import record_type as _record_type
from pipelines.commands.options import required_account as _required_account
from pipelines.commands.upkeep import accept, expire, maintain, migrate
from resources.defects import defect, keep_details
from resources.record_store import RecordStore
from resources.system_errors import system_error
from schemas import load_record_types
from schemas.batches import BatchStatus, DateOrder, ImportReport, ImportRequest, Mode, OnDuplicate, OnInvalid
from schemas.errors import InvalidRequest, NotAccessible, RecordsError
from schemas.rollbacks import OnModified, RollbackRequest

if TYPE_CHECKING:
    from resources.importing.importer import Importer
    from resources.importing.progress import Progress

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Commands(click.Group):
    """Every failure is one sentence, one hint and an exit code; an object on stdout with --json."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run the command line, then end the process with an exit code: 0, 1 failed, 2 usage, 3 refused."""
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            super().main(arguments, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as help_page:
            help_page.show()
            sys.exit(2)
        except click.ClickException as error:
            _fail(arguments, "wrong_usage", error.format_message(), "See what there is: records --help.", 2)
        except (click.Abort, KeyboardInterrupt):
            _fail(arguments, "interrupted", "Interrupted; nothing is half done.", "", 1)
        except Exception as error:
            told = _told(error)
            _fail(arguments, told.code, f"{told.message} {told.quoted}".rstrip(), told.hint, told.exit_code)
        sys.exit(0)


def _told(error: Exception) -> RecordsError:
    """The error as people read it. What is a defect is told without its text, which may quote records."""
    home = Path(os.environ.get("RECORDS_HOME") or ".records").absolute()
    told = system_error(error, home)
    if told is not None:
        return told
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return NotAccessible(
            f"{os.fsdecode(error.filename)} is not there.", "See whether it was moved, or its disk is not mounted."
        )
    details = keep_details(error, home)
    where = "The store's folder could not take the details." if details is None else f"The details are in {details}."
    unexpected = RecordsError(
        f"{defect(error)}: this is a defect of records. {where}", "Please report it; the details may quote records."
    )
    unexpected.code = "unexpected"
    return unexpected


def _fail(arguments: Sequence[str], code: str, message: str, hint: str, exit_code: int) -> None:
    if "--json" in arguments:
        _print_json({"error": {"code": code, "message": message, "hint": hint}})
    else:
        click.echo(click.style("Error: ", fg="red", bold=True) + message, err=True)
        if hint:
            click.echo(hint, err=True)
    sys.exit(exit_code)


_file = click.argument("file", type=click.Path(path_type=Path))
_batch = click.argument("batch_id", metavar="BATCH")
_MAP = "Which field a column feeds; none: left out. Remembered, once committed, for files of the same header row."
_on_invalid = click.option(
    "--on-invalid",
    type=click.Choice(OnInvalid, case_sensitive=False),
    default=OnInvalid.ABORT.value,
    show_default=True,
    help="When records are rejected: write nothing, or leave those out.",
)


def _preview_options(command: _Function) -> _Function:
    options = [
        _required_account,
        _record_type,
        click.option("--map", "maps", multiple=True, metavar="HEADER=FIELD", help=_MAP),
        click.option("--encoding", help="How the file is encoded, as utf-8 or cp1252. Default: detected."),
        click.option("--sheet", help="Which sheet of a workbook. Default: the first."),
        click.option(
            "--date-order",
            type=click.Choice(DateOrder, case_sensitive=False),
            help="How dates are written that are not 2024-05-31: 31/05/2024, 05/31/2024 or 2024/05/31.",
        ),
        click.option("--unescape", is_flag=True, help="Take away the ' before texts like =1+1, as our exports put it."),
        click.option("--delimiter", help="What stands between fields, as ; or tab. Default: detected."),
        click.option(
            "--mode",
            type=click.Choice(Mode, case_sensitive=False),
            default=Mode.UPSERT.value,
            show_default=True,
            help="Create records, change existing ones, or both.",
        ),
        click.option(
            "--on-duplicate",
            type=click.Choice(OnDuplicate, case_sensitive=False),
            default=OnDuplicate.REJECT.value,
            show_default=True,
            help="Of records with one key and different values: reject all, or take one.",
        ),
        click.option("--again", is_flag=True, help="Read a file whose content has been imported already."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def _importer(*, make: bool = False) -> Iterator["tuple[RecordStore, Importer]"]:
    from resources.importing.importer import Importer

    with _store(make=make) as store:
        yield store, Importer(store, store.settings.actor)


@contextmanager
def _progress(file: Path, as_json: bool) -> "Iterator[Progress | None]":
    """A bar on standard error, for somebody who sits before it."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from pipelines.commands.terminal import progress_bar

    with progress_bar(f"Reading {file.name}") as progress:
        yield progress


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="records-exchange")
def main() -> None:
    """Bulk export and reversible bulk import of an account's records.

    Where things lie and who acts comes from the environment: RECORDS_HOME, RECORDS_DATA, RECORDS_ACTOR,
    RECORDS_ACCOUNT. Exit codes: 0 done, 1 failed, 2 wrong usage or not found, 3 refused by a rule.
    """


@main.command()
@_as_json
def init(as_json: bool) -> None:
    """Make the store ready for the record types; safe to repeat, and to be run after a type has grown."""
    with _store() as store:
        done = store.initialise(load_record_types())
        if as_json:
            _print_json({"home": str(store.settings.home), "done": done})
        else:
            click.echo("\n".join(done or ["The store is ready; there was nothing to do."]))


@main.command()
@_as_json
def demo(as_json: bool) -> None:
    """The main job on real data: 16 airlines, 336,776 flights, in, out and in again."""
    from pipelines.commands.demo import run_demo

    with _store(make=True) as store:
        report = run_demo(store, quiet=as_json)
    if as_json:
        _print_json(report)


@main.group()
def accounts() -> None:
    """The owners of records."""


@accounts.command("add")
@click.argument("name")
@_as_json
def add_account(name: str, as_json: bool) -> None:
    """The account NAME exists."""
    with _store(make=True) as store:
        new = store.add_account(name, store.settings.actor)
    if as_json:
        _print_json({"account": name, "new": new})
    else:
        click.echo(f"Account {name} is {'new' if new else 'there already'}.")


@accounts.command("list")
@_as_json
def list_accounts(as_json: bool) -> None:
    """The accounts there are."""
    with _store() as store:
        names = store.accounts()
    if as_json:
        _print_json({"items": names, "next": None})
    else:
        click.echo("\n".join(names) if names else "There is no account yet: records accounts add NAME.")


@accounts.command("reader")
@click.argument("name")
@click.option("--role", required=True, help="A role of the PostgreSQL server that has the catalog; it must be there.")
@click.option("--revoke", is_flag=True, help="It reads them no longer.")
@_as_json
def set_reader(name: str, role: str, revoke: bool, as_json: bool) -> None:
    """The ROLE reads the import history of the account NAME in PostgreSQL, and nothing else of the store.

    It reads them in the view records_history.imports. A role reads the history of one account.
    """
    with _store() as store:
        changed = store.revoke_reader(name, role) if revoke else store.grant_reader(name, role)
    if as_json:
        _print_json({"account": name, "role": role, "reads": not revoke, "changed": changed})
    else:
        reads = "does not read" if revoke else "reads"
        click.echo(f"{role} {reads} the import history of {name}{'' if changed else ', as before'}.")


@main.group(invoke_without_command=True)
@_as_json
@click.pass_context
def types(context: click.Context, as_json: bool) -> None:
    """The record types, with their fields, keys and presets; a first module for a new one."""
    if context.invoked_subcommand is not None:
        return
    with _store(make=True) as store:
        known = store.record_types()
    if as_json:
        _print_json({"items": [json.loads(record_type.to_json()) for record_type in known.values()], "next": None})
    else:
        from pipelines.commands.terminal import print_record_types

        print_record_types(known.values())


@types.command("draft")
@_file
@click.option("--name", help="What to call the record type. Default: the file's name.")
@_as_json
def draft_type(file: Path, name: str | None, as_json: bool) -> None:
    """Print a first module for schemas/, drafted from all of FILE: to be read, corrected and kept."""
    from resources.type_drafter import draft

    module = draft(file, name)
    if as_json:
        _print_json({"module": module})
    else:
        click.echo(module, nl=False)


@main.command()
@_file
@_preview_options
@_as_json
def preview(file: Path, as_json: bool, **options: Any) -> None:
    """Read and check the whole FILE and compare it with the records; write nothing to them."""
    with _importer(make=True) as (store, importer):
        with _progress(file, as_json) as progress:
            report = importer.preview(_import_request(file, **options), progress)
        _print_report(store, report, as_json)


@main.command()
@_batch
@_account
@_on_invalid
@_as_json
def commit(batch_id: str, account: str | None, on_invalid: OnInvalid, as_json: bool) -> None:
    """Write what was previewed as BATCH: exactly that, or nothing."""
    with _importer() as (store, importer):
        report = importer.commit(_owner(store, batch_id, account), batch_id, on_invalid)
        _print_report(store, report, as_json)


@main.command()
@_batch
@_account
@_as_json
def discard(batch_id: str, account: str | None, as_json: bool) -> None:
    """Throw the preview BATCH away."""
    with _importer() as (store, importer):
        report = importer.discard(_owner(store, batch_id, account), batch_id)
        _print_report(store, report, as_json)


@main.command("import")
@_file
@_preview_options
@_on_invalid
@_as_json
def import_file(file: Path, on_invalid: OnInvalid, as_json: bool, **options: Any) -> None:
    """Preview FILE, then commit it; where records changed in between, preview it again."""
    with _importer(make=True) as (store, importer):
        with _progress(file, as_json) as progress:
            report = importer.import_file(_import_request(file, **options), on_invalid, progress)
        _print_report(store, report, as_json)


@main.command()
@_batch
@_account
@click.option(
    "--on-modified",
    type=click.Choice(OnModified, case_sensitive=False),
    default=OnModified.STOP.value,
    show_default=True,
    help="When records were modified since: touch nothing, leave those, take back what nobody changed in them, or "
    "restore them all the same.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would become of the records.")
@_as_json
def rollback(batch_id: str, account: str | None, on_modified: OnModified, dry_run: bool, as_json: bool) -> None:
    """Take BATCH back: what it created is removed, what it changed is as it was before."""
    with _store() as store:
        request = RollbackRequest(_owner(store, batch_id, account), batch_id, on_modified)
        records = store.account(request.account)
        if dry_run:
            report = records.plan_rollback(request)
        else:
            report = records.roll_back(request, store.settings.actor, run_id=None)
    if as_json:
        _print_json(report.to_dict())
    else:
        from pipelines.commands.terminal import print_rollback

        print_rollback(report)


@main.command()
@_account
@click.option("-t", "--type", "record_type", help="Only of this record type.")
@click.option("--status", type=click.Choice(BatchStatus, case_sensitive=False), help="Only in this status.")
@_page
@_as_json
def batches(account: str | None, record_type: str | None, status: BatchStatus | None, page: int, as_json: bool) -> None:
    """The imports, newest first."""
    with _store() as store:
        found = store.batches(account, record_type, status, offset=(page - 1) * _PAGE, limit=_PAGE + 1)
        reports = store.reports(found[:_PAGE])
        now = store.clock.now()
    following = page + 1 if len(found) > _PAGE else None
    if as_json:
        _print_json({"items": [report.to_dict() for report in reports], "next": following})
    else:
        from pipelines.commands.terminal import print_batches

        print_batches(reports, now, following)


@main.command()
@_batch
@_account
@_as_json
def show(batch_id: str, account: str | None, as_json: bool) -> None:
    """What BATCH is, and what is wrong with its records."""
    with _store() as store:
        report = store.account(_owner(store, batch_id, account)).report(batch_id)
        _print_report(store, report, as_json)


@main.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="0: any free one.  [default: 3000; with --read-only 3002]",
)
@click.option(
    "--read-only",
    is_flag=True,
    help="Pages for viewers, who can change nothing: no daemon; also beside the UI that runs.",
)
@_as_json
def ui(port: int | None, read_only: bool, as_json: bool) -> None:
    """Dagster's UI and daemon, on this machine only, until Ctrl-C."""
    from pipelines.commands.ui import run_ui, run_viewer
    from resources.deliveries import Deliveries
    from resources.notifier import Notifier

    def ready(url: str) -> None:
        _print_json({"url": url}) if as_json else click.echo(f"Open {url}")

    with _store(make=not read_only) as store:
        if read_only:
            store.accounts()  # which refuses a home without a store
            run_viewer(store.settings, 3002 if port is None else port, ready)
            return
        Notifier(store.settings)  # which refuses addresses that cannot be read
        for mistake in Deliveries(store).mistakes:
            click.echo(f"{mistake}", err=True)
        run_ui(store.settings, 3000 if port is None else port, ready)


for command in (export, exports, presets, expire, maintain, accept, migrate):
    main.add_command(command)


def _owner(store: RecordStore, batch_id: str, account: str | None) -> str:
    """The account given, even where it is empty by mistake; else the one that the batch belongs to."""
    return store.owner_of(batch_id) if account is None else account


def _import_request(
    file: Path,
    account: str,
    record_type: str,
    maps: Sequence[str],
    encoding: str | None,
    delimiter: str | None,
    sheet: str | None,
    date_order: DateOrder | None,
    unescape: bool,
    mode: Mode,
    on_duplicate: OnDuplicate,
    again: bool,
) -> ImportRequest:
    column_map = {}
    for given in maps:
        header, equals, field = given.rpartition("=")
        if not equals:
            raise InvalidRequest(f"--map was {given!r}.", 'Write --map "HEADER=FIELD", or "HEADER=" to leave it out.')
        column_map[header] = field
    return ImportRequest(
        path=file,
        account=account,
        record_type=record_type,
        mode=mode,
        on_duplicate=on_duplicate,
        column_map=column_map,
        encoding=encoding,
        delimiter=delimiter,
        sheet=sheet,
        date_order=date_order,
        unescape=unescape,
        again=again,
    )


def _print_report(store: RecordStore, report: ImportReport, as_json: bool) -> None:
    if as_json:
        _print_json(report.to_dict())
    else:
        from pipelines.commands.terminal import print_report

        print_report(report, store.record_type(report.batch.record_type), store.clock.now())
