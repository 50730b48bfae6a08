"""`records init`, `demo`, `accounts`, `types`, `ui` and `web`."""

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import options
from pipelines.commands.group import Subcommands
from pipelines.commands.options import notice, open_store, print_json
from resources.process_state import keep_no_freed_memory
from resources.record_store import RecordStore
from schemas import load_record_types
from schemas.errors import Refused, Uncertain
from schemas.reading import ReadOptions

if TYPE_CHECKING:
    from resources.record_store.store_format import FormatChange


@click.command()
@click.option("--yes", is_flag=True, help="Change the format of an older store without asking.")
@options.as_json
def init(yes: bool, as_json: bool) -> None:
    """Prepare the store for the record types. Safe to repeat; run it after a record type has changed.

    After an update of the program it may have to change the store's format. It says what it changes, and asks first.
    """
    with open_store() as store:
        new = not store.exists
        changes = store.lacking_changes()
        if changes and not yes:
            _ask_for_change(store, changes, as_json=as_json)

        def changing(change: "FormatChange") -> None:
            click.echo(f"Changing the store to format {change.number}…", err=True)

        progress = None if as_json else changing
        done = store.initialise(load_record_types(), change_format=bool(changes), progress=progress)
        if as_json:
            print_json({"home": str(store.settings.home), "done": done})
        elif new:
            click.echo(f"Made a new store in {store.settings.place}.")
        else:
            click.echo("\n".join(done or ["The store is ready; there was nothing to do."]))


def _ask_for_change(store: RecordStore, changes: Sequence["FormatChange"], *, as_json: bool) -> None:
    """Say what would be changed, and how to go back, and ask. Raises Refused if no terminal can ask."""
    state, settings = store.state(), store.settings
    sentence = f"The store has format {state.format}, and this program needs format {changes[-1].number}."
    save, back = "Back it up: records backup PLACE.", "restore that backup to an empty place: records restore PLACE"
    if state.store is None:  # only newer formats can be backed up
        places = " and ".join(dict.fromkeys((settings.place, str(settings.data))))
        save, back = f"Copy {places}.", "put that copy in its place again"
    hints = (
        f"First end all programs that use the store. {save}",
        f"Older programs must not use the store afterwards. The way back: {back}. Then install the older program.",
    )
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        needed = " ".join(change.sentence for change in changes)
        raise Refused(
            f"{sentence} New in it: {needed}", f"Nothing was changed. {' '.join(hints)} Then: records init --yes"
        )
    listed = [f"  {change.number}  {change.sentence}" for change in changes]
    click.echo("\n".join((f"{sentence} New in it:", *listed, *hints)), err=True)
    click.confirm("Change the store now?", abort=True, err=True)


@click.command()
@options.as_json
@click.pass_context
def demo(context: click.Context, as_json: bool) -> None:
    """Import, export and import again real data: 16 airlines with 336,776 flights.

    The store of the demo is ~/.local/share/records-demo, or in the folder of --home. No other store is used.
    """
    from pipelines.commands.demo import demo_settings, run_demo

    with RecordStore(demo_settings(context.find_root().params["home"])) as store:
        store.initialise(load_record_types())
        report = run_demo(store, quiet=as_json)
    if as_json:
        print_json(report)


@click.group(cls=Subcommands)
def accounts() -> None:
    """Manage the accounts, which own the records."""


@accounts.command("add")
@click.argument("name")
@options.as_json
def add_account(name: str, as_json: bool) -> None:
    """Add the account NAME."""
    with open_store() as store:
        new = store.add_account(name, store.settings.actor)
    if as_json:
        print_json({"account": name, "new": new})
    else:
        click.echo(f"Account {name} is new." if new else f"Account {name} exists already.")


@accounts.command("list")
@options.as_json
def list_accounts(as_json: bool) -> None:
    """List the accounts."""
    with open_store() as store:
        names = store.accounts()
    if as_json:
        print_json({"items": names, "next": None})
    else:
        click.echo("\n".join(names) if names else "There is no account yet: records accounts add NAME.")


@accounts.command("reader")
@click.argument("name")
@click.option("--role", required=True, help="An existing role of the PostgreSQL server that has the catalog.")
@click.option("--revoke", is_flag=True, help="Revoke the right to read.")
@options.as_json
def set_reader(name: str, role: str, revoke: bool, as_json: bool) -> None:
    """Let ROLE read the import history of the account NAME in PostgreSQL, and nothing else of the store.

    The role reads the view records_history.imports. A role reads the history of one account.
    """
    with open_store() as store:
        changed = store.revoke_reader(name, role) if revoke else store.grant_reader(name, role)
    if as_json:
        print_json({"account": name, "role": role, "reads": not revoke, "changed": changed})
    else:
        reads = "does not read" if revoke else "reads"
        click.echo(f"{role} {reads} the import history of {name}{'' if changed else ', as before'}.")


@click.group(cls=Subcommands, invoke_without_command=True)
@options.as_json
@click.pass_context
def types(context: click.Context, as_json: bool) -> None:
    """List the record types with their fields, keys and presets, or draft a new one."""
    if context.invoked_subcommand is not None:
        return
    with open_store() as store:
        known = store.record_types()
    if as_json:
        print_json({"items": [json.loads(record_type.to_json()) for record_type in known.values()], "next": None})
    else:
        from pipelines.commands.type_texts import print_record_types

        print_record_types(known.values())


def _how_it_is_written(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options.how_it_is_written.values()):
        command = option(command)
    return command


@types.command("draft")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The name of the record type. Default: made from the file's name.")
@_how_it_is_written
@options.as_json
def draft_type(file: Path, name: str | None, as_json: bool, **written: Any) -> None:
    """Print the module of a record type that fits all of FILE. Read it, correct it, and save it.

    What nobody has said is read in the likeliest way. The module and standard error say so, and the exit code is 3.
    """
    from resources.settings import Settings
    from resources.type_drafter import draft

    drafted = draft(file, name, ReadOptions(**written), Settings.from_environment().limits)
    if as_json:
        print_json({"module": drafted.module, "unsaid": [*drafted.unsaid]})
    else:
        click.echo(drafted.module, nl=False)
        for sentence in drafted.unsaid:
            notice(sentence)
    if drafted.unsaid:
        sys.exit(Uncertain.exit_code)


@click.command()
@options.record_type
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The new file. Its name ends with .xlsx or .csv.",
)
@options.as_json
def template(record_type: str, output: Path, as_json: bool) -> None:
    """Make an empty file to fill in and import: a workbook with notes and drop-downs, or CSV."""
    from resources.file_storage import share
    from resources.settings import Settings
    from resources.template_writer import write_template
    from schemas import load_model

    columns = write_template(load_model(record_type), output)
    share(output, Settings.from_environment().umask)
    if as_json:
        print_json({"path": str(output), "record_type": record_type, "columns": columns})
    else:
        click.echo(
            f"{output} has the {len(columns)} columns of {record_type}. The note of each header says what it is."
            if output.suffix.lower() == ".xlsx"
            else f"{output} has the {len(columns)} columns of {record_type}."
        )
        click.echo(f"When it is filled in: records preview {shlex.quote(str(output))} -a ACCOUNT -t {record_type}")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free port.  [default: 3000; with --read-only 3002]")
@click.option(
    "--read-only",
    is_flag=True,
    help="Pages for viewers, who can change nothing. Runs no daemon, and may run beside the full UI.",
)
@options.as_json
def ui(port: int | None, read_only: bool, as_json: bool) -> None:
    """Run Dagster's UI, its daemon and the web pages on this machine until Ctrl-C.

    Restart it after a change of record types. It prints a notice when it sees one, and when exports.yaml has a mistake.
    """
    from pipelines.commands.ui import run_ui, run_viewer
    from resources.notifier import Notifier

    def ready(url: str, pages: str | None = None) -> None:
        if as_json:
            print_json({"url": url, "pages": pages})
            return
        click.echo(f"Open {url} for Dagster, its runs and schedules." if pages else f"Open {url}")
        if pages:
            click.echo(f"Open {pages} to import and export files in the browser.")

    with open_store() as store:
        store.accounts()  # raises StoreNotReady if the home has no store
        if read_only:
            run_viewer(store.settings, 3002 if port is None else port, ready)
            return
        Notifier(store.settings)  # raises InvalidRequest if it cannot read an address
        run_ui(store, 3000 if port is None else port, ready)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=3001, show_default=True, help="0: any free port.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to answer at. Any that other machines reach needs web.yaml, which lists who may sign in.",
)
@options.as_json
def web(port: int, host: str, as_json: bool) -> None:
    """Run the web pages alone until Ctrl-C: import, roll back and export in the browser."""
    keep_no_freed_memory()
    from pipelines.commands.ui import run_pages

    def ready(url: str) -> None:
        print_json({"url": url}) if as_json else click.echo(f"Open {url}")

    with open_store() as store:
        store.accounts()  # raises StoreNotReady if the home has no store
        run_pages(store.settings, host, port, ready)
