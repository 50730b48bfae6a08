"""`Commands`: the group of all commands. It groups them in the help, and prints failures in one form."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from pipelines import logs
from pipelines.commands.options import print_json
from resources.defects import defect, keep_details
from resources.process_state import private_files
from resources.settings import home_of
from resources.system_errors import system_error
from schemas.errors import NotAccessible, RecordsError

_WHOLE = 1_000
"""Characters of a summary in the help: all of them."""


class _Group(click.Group):
    """A group in which each wrong usage knows its command, so that the hint names the help of that command."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An option without its argument has no context of its own in click."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = self.commands.get(ctx.invoked_subcommand or "")
            if error.ctx is None and command is not None:
                error.ctx = click.Context(command, parent=ctx, info_name=command.name)
            raise


class Commands(_Group):
    """A group of commands in sections.

    A failure prints a sentence and a hint on standard error, or an object on stdout with `--json`. Then the process
    ends with an exit code: 0 done, 1 failed, 2 wrong usage or not found, 3 refused by a rule.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sections: dict[str, list[str]] = {}

    def add_section(self, title: str, commands: Iterable[click.Command]) -> None:
        """Add the commands, which the help lists under the title."""
        for command in commands:
            self.add_command(command)
            self._sections.setdefault(title, []).append(command.name or "")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands in the order of the sections."""
        return [name for names in self._sections.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of commands for each section, each with its whole summary."""
        _write_sections(formatter, self._sections, self.commands)

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run the command line, then end the process with the exit code."""
        arguments = list(sys.argv[1:] if args is None else args)
        with private_files(), logs.logging_as_set():
            self._run(arguments, extra)
        sys.exit(0)

    def _run(self, arguments: Sequence[str], extra: Mapping[str, Any]) -> None:
        try:
            super().main([*arguments], **{**extra, "prog_name": "records", "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as help_page:
            help_page.show()
            sys.exit(2)
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            command = context.command_path if context is not None else "records"
            _fail(arguments, "wrong_usage", error.format_message(), f"See the help: {command} --help.", 2)
        except (click.Abort, KeyboardInterrupt):
            _fail(arguments, "interrupted", "Interrupted; nothing is half done.", "", 1)
        except Exception as error:
            shown = _shown(error)
            message = shown.message if logs.are_json() else f"{shown.message} {shown.quoted}".rstrip()
            _fail(arguments, shown.code, message, shown.hint, shown.exit_code)


class Subcommands(_Group):
    """A group inside a command. Its help has whole summaries too."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, each with its whole summary."""
        _write_sections(formatter, {"Commands": self.list_commands(ctx)}, self.commands)


def _write_sections(
    formatter: click.HelpFormatter, sections: Mapping[str, Sequence[str]], commands: Mapping[str, click.Command]
) -> None:
    width = max(map(len, commands))
    for title, names in sections.items():
        with formatter.section(title):
            formatter.write_dl([(name.ljust(width), commands[name].get_short_help_str(_WHOLE)) for name in names])


def _shown(error: Exception) -> RecordsError:
    """Returns the error for people. A defect is shown without its text, because the text may quote records."""
    home = home_of(os.environ)
    known = system_error(error, home)
    if known is not None:
        return known
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return NotAccessible(
            f"{os.fsdecode(error.filename)} is missing.", "Check whether it was moved, or whether its disk is mounted."
        )
    details = keep_details(error, home)
    where = "The details could not be saved." if details is None else f"The details are in {details}."
    unexpected = RecordsError(
        f"{defect(error)}: this is a defect of records. {where}", "Please report it. The details may quote records."
    )
    unexpected.code = "unexpected"
    return unexpected


def _fail(arguments: Sequence[str], code: str, message: str, hint: str, exit_code: int) -> None:
    if "--json" in arguments:
        print_json({"error": {"code": code, "message": message, "hint": hint}})
    elif logs.are_json():
        click.echo(logs.line(message, "error", code=code, hint=hint), err=True)
    else:
        click.echo(click.style("Error: ", fg="red", bold=True) + message, err=True)
        if hint:
            click.echo(hint, err=True)
    sys.exit(exit_code)
