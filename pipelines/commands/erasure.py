"""`records erase` and `records accounts delete`."""

import sys
from collections.abc import Callable

import click

from pipelines.commands import options
from pipelines.commands.options import open_store, print_json
from schemas.erasure import ErasureReport, ErasureRequest
from schemas.errors import InvalidRequest, Refused

_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be touched.")
_yes = click.option("--yes", is_flag=True, help="Erase without a question. Needed where no terminal asks it.")


@click.command()
@click.argument("keys", metavar="KEY…", nargs=-1)
@options.required_account
@options.record_type
@click.option(
    "--matching",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Also the records with this value. Given more than once, they must have all of the values.",
)
@_dry_run
@_yes
@options.as_json
def erase(
    keys: tuple[str, ...],
    account: str,
    record_type: str,
    matching: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase the records with these keys for good: from records, all earlier versions, files and history.

    If the key of the type has several fields, name each with --matching in place of KEY. No rollback brings the records
    back. A later import of the same key is a new record. The receipt has no value of them.
    """
    from pipelines.dagster_history import dagster_history
    from resources.erasure.eraser import Eraser

    with open_store() as store, dagster_history(store.settings) as runs:
        request = ErasureRequest(account, record_type, keys, _conditions(matching))
        eraser = Eraser(store, store.settings.actor, runs)
        what = f"these records of {account} for good"
        report = _confirmed(
            lambda: eraser.plan(request), lambda: eraser.erase(request), what, dry_run=dry_run, yes=yes, as_json=as_json
        )
    _show(report, as_json)


@click.command("delete")
@click.argument("name")
@_dry_run
@_yes
@options.as_json
def delete_account(name: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete the account NAME with all its records, files, presets, mappings and history, for good.

    The name is free afterwards: an account that is added with it starts empty.
    """
    from pipelines.dagster_history import dagster_history
    from resources.erasure.account_deletion import AccountDeletion

    with open_store() as store, dagster_history(store.settings) as runs:
        deletion = AccountDeletion(store, name, store.settings.actor, runs)
        what = f"the account {name} with everything it has"
        report = _confirmed(deletion.plan, deletion.delete, what, dry_run=dry_run, yes=yes, as_json=as_json)
    _show(report, as_json)


def _conditions(matching: tuple[str, ...]) -> dict[str, str]:
    conditions = {}
    for text in matching:
        field, sign, value = text.partition("=")
        if not sign or not field.strip():
            raise InvalidRequest(
                f"--matching is {text!r}.", "Write it as FIELD=VALUE, for example email=a@example.org."
            )
        conditions[field.strip()] = value
    return conditions


def _confirmed(
    plan: Callable[[], ErasureReport],
    carry_out: Callable[[], ErasureReport],
    what: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> ErasureReport:
    """Return the plan for a dry run. Otherwise ask, unless that was answered, and return the receipt."""
    if dry_run:
        return plan()
    if not yes:
        if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            plan()  # whoever gives --yes then shall meet no other refusal
            raise Refused(
                f"This would erase {what}, and no terminal can ask whether it shall.",
                "Look at what it would touch with --dry-run. Then give --yes.",
            )
        _show(plan(), as_json=False)
        click.confirm(f"Erase {what}? This cannot be taken back.", abort=True, err=True)
    return carry_out()


def _show(report: ErasureReport, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict() | {"not_found": list(report.not_found)})
        return
    from pipelines.commands.terminal import console, escape, table

    out = console()
    is_plan = report.erasure_id is None
    if report.not_found:
        out.print(escape(f"Not found: {', '.join(report.not_found)}"))
    if report.is_empty:
        out.print("Nothing of this was found, and nothing was changed.")
    else:
        account, record_type = report.account, report.record_type
        what = f"the account {account}" if record_type is None else f"{record_type} of {account}"
        out.print(
            escape(f"Would be erased: {what}") if is_plan else f"[bold]{report.erasure_id}[/]  erased: {escape(what)}"
        )
        shown = table("Searched", "Rewritten", "Removed", "Records", numbers=("Rewritten", "Removed", "Records"))
        for it in report.touched:
            if it.rewritten or it.removed or it.records:
                shown.add_row(it.place.value, *(f"{number:,}" for number in (it.rewritten, it.removed, it.records)))
        out.print(shown)
        out.print("A record counts once for each of its versions, and for each file that has it.")
        if record_type is not None:
            forgotten = "would be forgotten" if is_plan else "are forgotten"
            out.print(f"Mappings of values that they had {forgotten}: a later preview asks again.")
    if report.discarded:
        out.print(f"Previews to make again: {', '.join(report.discarded)}")
    out.print("\nNot reached:")
    for sentence in report.beyond:
        out.print(escape(f"  {sentence}"))
    if report.receipt is not None:
        out.print(f"\nThe receipt, without any value: {escape(report.receipt)}")
