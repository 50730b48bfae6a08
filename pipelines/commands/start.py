"""Starts the command `records`."""

from resources.process_state import collect_rarely


def main() -> None:
    """Run the command line. Garbage is searched for rarely from its first import on."""
    collect_rarely()
    from pipelines.commands.cli import main as command

    command()
