"""`records import`, `preview`, `commit` and `discard`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipelines.commands import options
from pipelines.commands.options import given_command, notice, open_store, owner, print_json, progress
from resources.record_store import RecordStore
from schemas.batches import ImportReport, ImportRequest, Mode, OnDuplicate, OnInvalid
from schemas.errors import InvalidRequest, RejectsFound, Uncertain
from schemas.reading import Question
from schemas.values import MappedValue, ValueMap, value_map

if TYPE_CHECKING:
    from pipelines.commands.batch_texts import Repeat
    from pipelines.commands.terminal import ProgressBar
    from resources.importing.importer import Choose, Importer
    from resources.importing.source import Ask

_Function = TypeVar("_Function", bound=Callable[..., Any])

_file = click.argument("file", type=click.Path(path_type=Path))
_on_invalid = click.option(
    "--on-invalid",
    type=click.Choice(OnInvalid, case_sensitive=False),
    default=OnInvalid.ABORT.value,
    show_default=True,
    help="If records are rejected: write nothing, or skip those records.",
)
_PREVIEW_OPTIONS = (
    options.required_account,
    options.record_type,
    click.option(
        "--map",
        "maps",
        multiple=True,
        metavar="HEADER=FIELD",
        help="Map a column to a field; HEADER= ignores the column. A commit remembers this for files with the same "
        "header row.",
    ),
    click.option(
        "--value",
        "values",
        multiple=True,
        metavar="FIELD:TEXT=VALUE",
        help="Read a text in a field as a value, for example status:Kunde=customer. A commit remembers this for files "
        "with the same header row.",
    ),
    *options.how_it_is_written.values(),
    click.option(
        "--blank",
        "blanks",
        multiple=True,
        metavar="clear|keep|fill",
        help="What an empty cell does to a stored value. clear (the default) removes it; keep leaves it. fill only "
        "adds values where the store has none. For one field: --blank notes=keep.",
    ),
    click.option(
        "--unescape/--no-unescape",
        default=None,
        help="Remove the ' before texts such as =1+1, or keep it. Our exports put it there. Default: removed from our "
        "exports and rejects files, kept in others.",
    ),
    click.option(
        "--as-shown/--no-as-shown",
        default=None,
        help="Read a number of a workbook in a field of text as the workbook shows it, for example 00042, or as it is "
        "stored. Default: as stored.",
    ),
    click.option(
        "--of",
        metavar="EXPORT",
        help="The export of ours from which the file was made by editing. It says how the file is written.",
    ),
    click.option(
        "--mode",
        type=click.Choice(Mode, case_sensitive=False),
        default=Mode.UPSERT.value,
        show_default=True,
        help="Create records, update existing ones, or both.",
    ),
    click.option(
        "--on-duplicate",
        type=click.Choice(OnDuplicate, case_sensitive=False),
        default=OnDuplicate.REJECT.value,
        show_default=True,
        help="If records have the same key and different values: reject all, or take the first or last.",
    ),
    click.option("--again", is_flag=True, help="Read a file again that was already imported."),
)


def _preview_options(command: _Function) -> _Function:
    for option in reversed(_PREVIEW_OPTIONS):
        command = option(command)
    return command


@click.command()
@_file
@_preview_options
@options.show_values
@options.as_json
def preview(file: Path, show_values: bool, as_json: bool, **choices: Any) -> None:
    """Read and check the whole FILE, and compare it with the records. Writes no records."""
    with _importer() as (store, importer), _to_repeat():
        is_new = store.require_meant(choices["account"])
        with progress(f"Reading {file.name}", as_json) as bar:
            report = importer.preview(_request(file, **choices), bar, _ask(bar), _choose(bar))
        _print_new(report, is_new, as_json)
        print_report(store, report, show_values, as_json, given_command)
        if report.batch.questions:
            from resources.importing.importer import uncertain

            if as_json:  # one object, which says that it is uncertain
                sys.exit(Uncertain.exit_code)
            raise uncertain(report.batch)


@click.command()
@options.batch
@options.account
@_on_invalid
@options.show_values
@options.as_json
def commit(batch_id: str, account: str | None, on_invalid: OnInvalid, show_values: bool, as_json: bool) -> None:
    """Write what BATCH previewed: exactly that, or nothing."""
    with _importer() as (store, importer):
        report = importer.commit(owner(store, batch_id, account), batch_id, on_invalid)
        print_report(store, report, show_values, as_json)


@click.command()
@options.batch
@options.account
@options.as_json
def discard(batch_id: str, account: str | None, as_json: bool) -> None:
    """Discard the preview BATCH."""
    with _importer() as (store, importer):
        report = importer.discard(owner(store, batch_id, account), batch_id)
        print_report(store, report, show_values=False, as_json=as_json)


@click.command("import")
@_file
@_preview_options
@_on_invalid
@options.show_values
@options.as_json
def import_file(file: Path, on_invalid: OnInvalid, show_values: bool, as_json: bool, **choices: Any) -> None:
    """Preview FILE, then commit it. If its records change in between, preview it again."""
    with _importer() as (store, importer), _to_repeat():
        is_new = store.require_meant(choices["account"])
        with progress(f"Reading {file.name}", as_json) as bar:
            report = importer.import_file(_request(file, **choices), on_invalid, bar, _ask(bar), _choose(bar))
        _print_new(report, is_new, as_json)
        print_report(store, report, show_values, as_json, given_command)


def print_report(
    store: RecordStore, report: ImportReport, show_values: bool, as_json: bool, repeat: "Repeat | None" = None
) -> None:
    """Print the outcome of a batch. Personal values are masked unless `show_values` is set.

    repeat: returns the command that is running, if it has read the file.
    """
    record_type = store.record_type(report.batch.record_type)
    shown = report if show_values else report.masked(record_type)
    if as_json:
        print_json(shown.to_dict())
    else:
        from pipelines.commands.batch_texts import print_report as print_for_people

        personal = frozenset() if show_values else frozenset(it.name for it in record_type.fields if it.personal)
        print_for_people(shown, personal, store.clock.now(), repeat)


def _print_new(report: ImportReport, is_new: bool, as_json: bool) -> None:
    """Say that an account is new, because a name with a mistake would be one too."""
    if is_new and not as_json:
        notice(f"{report.batch.account} is a new account.")


@contextmanager
def _importer() -> Iterator["tuple[RecordStore, Importer]"]:
    from resources.importing.importer import Importer

    with open_store() as store:
        yield store, Importer(store, store.settings.actor)


@contextmanager
def _to_repeat() -> Iterator[None]:
    """Add the whole command to the hint of an error after which it can be repeated with other options."""
    try:
        yield
    except (RejectsFound, Uncertain) as error:
        hint = f"{error.hint} The command to repeat with other options: {given_command()}"
        raise type(error)(error.message, hint, error.quoted) from error


def _ask(bar: "ProgressBar | None") -> "Ask | None":
    """Returns what asks the user; None without a terminal, where a progress bar is shown."""
    if bar is None or not sys.stdin.isatty():
        return None

    answers: dict[Question, str | None] = {}  # a file can be read twice

    def ask(question: Question) -> str | None:
        from pipelines.commands.questions import asked

        if question not in answers:
            with bar.paused():
                answers[question] = asked(question)
        return answers[question]

    return ask


def _choose(bar: "ProgressBar | None") -> "Choose | None":
    """Returns what asks the user which values to map; None without a terminal."""
    if bar is None or not sys.stdin.isatty():
        return None

    def choose(proposals: Sequence[MappedValue]) -> ValueMap:
        from pipelines.commands.questions import asked_values

        with bar.paused():
            return asked_values(proposals)

    return choose


def _request(
    file: Path, maps: Sequence[str], values: Sequence[str], blanks: Sequence[str], **choices: Any
) -> ImportRequest:
    """Returns the request; `choices` are the other options, which are named as its fields."""
    column_map = {}
    for given in maps:
        header, equals, field = given.rpartition("=")
        if not equals:
            raise InvalidRequest(f"--map was {given!r}.", 'Write --map "HEADER=FIELD", or "HEADER=" to ignore it.')
        column_map[header] = field
    return ImportRequest(
        path=file, column_map=column_map, value_map=value_map(values), blank=",".join(blanks) or None, **choices
    )
