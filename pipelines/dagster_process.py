"""Runs one of Dagster's commands, after the logs are set up: `python -m pipelines.dagster_process MODULE:NAME …`.

An interrupt is the ordinary end of a server: systemd and containers send it. So it ends the process with 0.
"""

import importlib
import sys

import click

from pipelines.logs import log_as_set


def main(place: str, *arguments: str) -> None:
    """Run the command that has this name in this module, with its arguments."""
    log_as_set()
    module, _, name = place.partition(":")
    try:
        command: click.Command = getattr(importlib.import_module(module), name)
        command.main(arguments, standalone_mode=False, obj={})
    except (click.Abort, KeyboardInterrupt):
        sys.exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
