"""Prints batches and rollbacks for people. Values of personal fields are masked."""

import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from pipelines.commands.terminal import Listing, console, escape, print_list, table
from schemas.batches import STANDING, BatchStatus, ImportReport
from schemas.columns import Column
from schemas.counts import numbered
from schemas.reading import Question
from schemas.rollbacks import DECISIONS, OnModified, RollbackCounts, RollbackReport, modified_lines
from schemas.values import MappedValue, as_pairs

_OUTCOMES = {"created": "green", "updated": "cyan", "unchanged": "dim", "rejected": "red", "duplicate": "yellow"}
_BAR = 30
_IGNORED, _LIKE, _CHANGED, _SAMPLE = 20, 10, 10, 40
"""How many headers of ignored columns, proposals, changed values and characters of a value are printed.

The report has all.
"""
_LEARNT = 10
"""How many learnt mappings are printed; `records mappings list` has all."""
Repeat = Callable[..., str]
"""Returns the command that is running, with further words."""

_WHY = {"given": "as you said", "remembered": "as said earlier"}


def print_report(report: ImportReport, personal: Collection[str], now: datetime, repeat: Repeat | None = None) -> None:
    """Print a batch: its outcomes as bars, its problems, its ignored columns, and what to do next.

    personal: the fields with values that are masked. repeat: set if the command has read the file.
    """
    out, batch, counts = console(), report.batch, report.batch.counts
    out.print(f"[bold]{batch.batch_id}[/]  {batch.status.value}")
    _print_erased(report.erased)
    if batch.undone is not None:
        out.print(f"rollback of {batch.undone.batch_id}, by {escape(batch.actor)}: {batch.undone.counts}")
        _print_resting(batch.undone.counts)
        _print_what_next(report, now)
        return
    out.print(f"{escape(batch.file_name)} as {batch.record_type} of {batch.account}, by {escape(batch.actor)}")
    if batch.failure is not None:
        out.print(escape(batch.failure))
        return
    if batch.understood:
        how = [value if label == "Format" else f"  {label.lower()} {value}" for label, value in batch.understood]
        out.print("Read as " + "\n".join(map(escape, how)))
    if batch.remembered is not None and batch.remembered.remembered_from:
        remembered = [_mapped(column) for column in report.columns if column.reason == "remembered"]
        remembered += [it.option for it in as_pairs(batch.remembered.value_map)]
        flags = " ".join(batch.remembered.from_earlier.flags)
        listed = [f"  {escape(it)}" for it in ([flags] if flags else []) + remembered]
        out.print("\n".join([f"Read as in {batch.remembered.remembered_from}{':' if listed else ''}", *listed]))
    if batch.parent is not None:
        out.print(f"Corrects rejected records of {batch.parent}")
    _print_columns(report.columns, out)
    shown = {it.header for it in report.columns if it.field is not None and it.field not in personal}
    for question in report.questions or batch.questions:
        if batch.status is BatchStatus.PREVIEWED:
            print_question(question.masked(shown) if personal else question, out)
        elif batch.status in STANDING:
            out.print(f"[yellow]Accepted:[/] {escape(question.sentence)}{escape(_proposal(question))}")
    if batch.cleaned:
        out.print(f"Cleaned: {'; '.join(map(str, batch.cleaned))}")
    for warning in batch.warnings:
        what = "Passed over" if batch.status in STANDING else "Warning"
        out.print(f"[yellow]{what}:[/] {escape(str(warning))} [dim]({warning.code})[/]")
    out.print()
    outcomes = Table(box=None, pad_edge=False, show_header=False)
    outcomes.add_column(justify="left")
    outcomes.add_column(justify="right")
    outcomes.add_column()
    outcomes.add_row("read", f"{counts.read:,}", "")
    for name, colour in _OUTCOMES.items():
        number = getattr(counts, name)
        outcomes.add_row(name, f"{number:,}", f"[{colour}]{_bar(number, counts.read)}[/]")
    out.print(outcomes)
    if batch.problems:
        problems = table("Field", "Rule", "What it must be", "Records", numbers=["Records"])
        for problem in batch.problems:
            problems.add_row(problem.field or "", problem.rule, escape(problem.expected), f"{problem.records:,}")
        out.print(problems)
    for sample in report.samples:
        out.print(escape(sample.message(masked=sample.field in personal, place=batch.place)))
    if report.proposals:
        _print_unread_texts(report, out, repeat)
    for learnt in batch.learnt[:_LEARNT]:
        accept = shlex.join(
            ["records", "mappings", "accept", learnt.pair, "-a", batch.account, "-t", batch.record_type]
        )
        out.print(escape(f"Learnt from the corrections: {learnt}. For later files: {accept}"))
    if batch.cleared:
        cleared = ", ".join(f"{name} ({number:,})" for name, number in batch.cleared.items())
        keep = ". To keep them: --blank keep" if batch.status is BatchStatus.PREVIEWED else ""
        out.print(f"\nValues that empty cells clear: {cleared}{keep}")
    _print_changes(report, out)
    if report.rejects_file is not None:
        out.print(f"\nThe rejected records, ready to correct and import: {escape(str(report.rejects_file))}")
        out.print(f"When they are corrected: {escape(report.rejects_command or '')}")
    if report.report_file is not None:
        out.print(f"\nThe report as a page: {escape(str(report.report_file))}")
    _print_what_next(report, now, repeat)


def _print_unread_texts(report: ImportReport, out: Console, repeat: Repeat | None) -> None:
    """Print the texts that are no values, and the options that map them. `repeat`: the command with all options."""
    again = "read the file again" if repeat is None else "repeat the command"
    out.print(f"\nTexts that are no values. To read them as values, {again} with the options that are right:")
    print_proposals(report.proposals, out)
    pairs = [it.pair for it in report.proposals if it.value is not None]
    if repeat is not None and pairs:
        written = ["--again"] if report.batch.status in STANDING else []
        out.print(escape(f"With all of them: {repeat(*written, *(it for pair in pairs for it in ('--value', pair)))}"))


def _print_columns(columns: Sequence[Column], out: Console) -> None:
    """Print which column feeds which field, which are ignored, and which of these could be meant for a field."""
    mapped = Table(box=None, pad_edge=False, show_header=False)
    for column in columns:
        if column.field is not None:
            why = f"{column.score} % alike" if column.score is not None else _WHY.get(column.reason, "")
            first = escape(_cut(*column.samples[:1]))
            mapped.add_row(escape(repr(column.header)), f"→ {column.field}", first, f"[dim]{why}[/]")
    if mapped.row_count:
        out.print()
        out.print(mapped)
    for column in [column for column in columns if column.like is not None][:_LIKE]:
        option = shlex.quote(f"{column.header}={column.like}")
        out.print(
            f"Ignored, but like an empty field: {escape(repr(column.header))} → {column.like}? --map {escape(option)}"
        )
    ignored = [it.header for it in columns if it.field is None and it.reason != "ours" and it.like is None]
    if ignored:
        more = f" and {len(ignored) - _IGNORED:,} more" if len(ignored) > _IGNORED else ""
        out.print(f"Ignored columns: {escape(', '.join(map(repr, ignored[:_IGNORED])))}{more}")


def _print_changes(report: ImportReport, out: Console) -> None:
    """Print the first changed values."""
    if not report.changes:
        return
    changes = table("Record", "Key", "Field", "Stored", "In the file", numbers=["Record"])
    for change in report.changes[:_CHANGED]:
        new = "(cleared)" if change.new is None else escape(_cut(change.new))
        old = "" if change.old is None else escape(_cut(change.old))
        changes.add_row(f"{change.record:,}", escape(_cut(change.key)), change.field, old, new)
    out.print("\nThe first changed values:")
    out.print(changes)


def print_question(question: Question, out: Console) -> None:
    """Print what the file leaves open, and the values that differ under each candidate."""
    out.print(f"\n[yellow]Uncertain:[/] {escape(question.sentence)}")
    if not question.values:
        return
    values = table("Column", *question.candidates)
    for differing in question.values:
        header = "(header)" if differing.header is None else escape(differing.header)
        values.add_row(header, *map(escape, differing.texts))
    out.print(values)


def print_proposals(proposals: Sequence[MappedValue], out: Console, *, are_numbered: bool = False) -> None:
    """Print the options that map texts to values, how often each text stands in the file, and how like it is."""
    options = Table(box=None, pad_edge=False, show_header=False)
    for at, proposal in enumerate(proposals, 1):
        number = f"{at:>3}" if are_numbered else ""
        records = numbered(proposal.records, "record")
        options.add_row(f"{number}  {escape(proposal.option)}", f"{records}, {_likeness(proposal)}")
    out.print(options)


def _print_what_next(report: ImportReport, now: datetime, repeat: Repeat | None = None) -> None:
    """Print what can be done with the batch, and until when."""
    batch, left = report.batch, _in_words(report.open_until, now)
    if not left:
        return
    until = f"for {left}, until {report.open_until:%Y-%m-%d %H:%M} UTC"
    out = console()
    if batch.status is not BatchStatus.PREVIEWED:
        out.print(f"\nYou can roll it back {until}: records rollback {batch.batch_id}")
    elif batch.counts.rejected == batch.counts.read > 0:
        out.print("\nEvery record is rejected, so there is nothing to commit. Correct the records and import them.")
        if repeat is not None:
            out.print(escape(f"Or read the file otherwise, with other options: {repeat()}"))
    else:
        skip = " --on-invalid skip" if batch.counts.rejected else ""
        out.print(f"\nNothing is written yet. You can commit it {until}: records commit {batch.batch_id}{skip}")


def print_rollback(report: RollbackReport, on_modified: OnModified) -> None:
    """Print what a rollback did with a batch's records, or what it would do, and the next command."""
    out = console()
    counts = report.counts
    if report.status == BatchStatus.ROLLED_BACK.value:
        out.print(f"{report.undone} is rolled back already, by {report.batch_id}: {counts}. Nothing was changed.")
        _print_resting(counts)
        return
    stops = bool(counts.modified) and DECISIONS[on_modified].refuses
    if report.batch_id is None and stops:
        out.print(f"[bold]{report.undone}[/]  would not be rolled back, because records were modified since")
    elif report.batch_id is None:
        out.print(f"[bold]{report.undone}[/]  would be rolled back: {counts}")
    else:
        out.print(f"[bold]{report.batch_id}[/]  rolled {report.undone} back: {counts}")
    if counts.modified:
        out.print(f"Modified since: {counts.modified:,}")
    for line in modified_lines(counts.modified, report.modified_by, report.conflicts):
        out.print(escape(f"  {line}"))
    _print_resting(counts)
    _print_erased(report.erased)
    if report.batch_id is not None:
        out.print(f"\nTo reverse this: records rollback {report.batch_id}")
        return
    command = f"records rollback {report.undone}"
    if not counts.modified:
        out.print(f"\nNothing is changed yet. To roll it back: {command}")
    elif not stops:
        out.print(f"\nNothing is changed yet. To roll it back: {command} --on-modified {on_modified.value}")
    else:
        choices = [choice.value for choice, decision in DECISIONS.items() if not decision.refuses]
        out.print(
            f"\nNothing is changed yet, and modified records stop the rollback. To choose what happens to them: "
            f"{command} --on-modified {'|'.join(choices)}",
            markup=False,
        )


def print_batches(reports: Sequence[ImportReport], now: datetime, following: int | None) -> None:
    """Print batches as a table, newest first. A rollback has no file; its row says what it did."""
    counts = ("Read", *map(str.title, _OUTCOMES))
    rows = []
    for report in reports:
        batch = report.batch
        if batch.undone is None:
            about = escape(batch.file_name)
            numbers = [f"{getattr(batch.counts, name):,}" for name in ("read", *_OUTCOMES)]
        else:
            about, numbers = f"rollback of {batch.undone.batch_id}: {batch.undone.counts}", [""] * (1 + len(_OUTCOMES))
        about_batch = (
            batch.batch_id,
            batch.account,
            batch.record_type,
            batch.status.value,
            f"{batch.at:%Y-%m-%d %H:%M:%S}",
            time_left(report.open_until, now),
            escape(batch.actor),
            about,
        )
        rows.append([*about_batch, *numbers])
    columns = ("Batch", "Account", "Type", "Status", "Since (UTC)", "Time left", "By", "File", *counts)
    expendable = ("By", "Duplicate", "Unchanged", "Since (UTC)", "Read", "Type", "Account", "Time left", "Status")
    shown = Listing(columns, rows, counts, (*expendable, "Updated", "Rejected", "Created"), broken="File")
    print_list(shown, "There is no batch: records import FILE.", following)
    _print_erased(sentence for report in reports for sentence in report.erased)


def time_left(until: datetime | None, now: datetime) -> str:
    """Returns how long a batch can still be committed or rolled back, as in "23 h 59 min"; empty if it cannot."""
    if until is None or until <= now:
        return ""
    minutes = int((until - now).total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60} min"


def _in_words(until: datetime | None, now: datetime) -> str:
    """Returns the same in words, as in "23 hours and 59 minutes"."""
    if until is None or until <= now:
        return ""
    hours, minutes = divmod(int((until - now).total_seconds()) // 60, 60)
    shown = [numbered(hours, "hour")] if hours else []
    return " and ".join([*shown, *([numbered(minutes, "minute")] if minutes or not hours else [])])


def _likeness(proposal: MappedValue) -> str:
    """Returns in words how like the value, or a name of it, the text is."""
    if proposal.value is None:
        return "no value is like it"
    return "a name of the value" if proposal.score == 100 else f"{proposal.score}% alike"


def _proposal(question: Question) -> str:
    return f" {question.flags[0]}" if question.candidates else ""


def _mapped(column: Column) -> str:
    return f"{column.header!r} {'ignored' if column.field is None else 'to ' + column.field}"


def _cut(text: str = "") -> str:
    return text if len(text) <= _SAMPLE else f"{text[:_SAMPLE]}…"


def _bar(number: int, total: int) -> str:
    """Returns a bar of at most 30 characters. Any number above 0 is visible."""
    if not number:
        return ""
    return "█" * max(1, round(_BAR * number / total))


def _print_resting(counts: RollbackCounts) -> None:
    if counts.resting:
        console().print(f"[yellow]{counts.resting_message}[/]")


def _print_erased(erased: Iterable[str]) -> None:
    for sentence in dict.fromkeys(erased):
        console().print(f"[yellow]{escape(sentence)} They do not come back.[/]")
