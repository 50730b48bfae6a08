"""Prints exports and presets for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import filesize

from pipelines.commands.terminal import Listing, console, escape, print_list
from schemas.exports import ExportManifest
from schemas.filters import parse_filter
from schemas.record_type import RecordType

_RATED_SECONDS = 3
"""An export that takes less time shows no rate, because starting takes most of it."""


def print_export(manifest: ExportManifest, record_type: RecordType) -> None:
    """Print what an export holds, how long it took, where its file is, and its notes."""
    out = console()
    took = "" if manifest.seconds is None else f" in {manifest.seconds:.1f} s"
    if manifest.rate is not None and (manifest.seconds or 0) >= _RATED_SECONDS:
        took += f", {manifest.rate:,.0f} rows/s"
    out.print(f"[bold]{manifest.export_id}[/]  {manifest.rows:,} {manifest.record_type} of {manifest.account}{took}")
    out.print(f"{escape(str(manifest.path))}  ({filesize.decimal(manifest.bytes)})")
    out.print(f"Snapshot {manifest.snapshot} of {manifest.snapshot_at:%Y-%m-%d %H:%M:%S} UTC; sha256 {manifest.sha256}")
    for note in manifest.notes:
        out.print(escape(note))
    filters = manifest.request.filters if manifest.request is not None else ()
    if filters and not manifest.rows:
        out.print(escape(f"No record matches: {'; '.join(filters)}."))
        for name in dict.fromkeys(parse_filter(each, record_type).field for each in filters):
            choices = record_type.field(name).choices
            if choices:
                out.print(escape(f"The values of {name}: {', '.join(choices)}."))


def print_exports(manifests: Sequence[ExportManifest], following: int | None) -> None:
    """Print exports as a table, newest first."""
    rows = [
        [
            manifest.export_id,
            manifest.account,
            manifest.record_type,
            f"{manifest.at:%Y-%m-%d %H:%M:%S}",
            escape(manifest.actor),
            f"{manifest.rows:,}",
            filesize.decimal(manifest.bytes),
            escape(str(manifest.path)),
        ]
        for manifest in manifests
    ]
    columns = ("Export", "Account", "Type", "At (UTC)", "By", "Rows", "Size", "Path")
    shown = Listing(columns, rows, ("Rows", "Size"), ("By", "Size", "Type", "Account", "At (UTC)", "Rows"))
    print_list(shown, "There is no export: records export -a ACCOUNT -t TYPE.", following)


def print_presets(presets: Sequence[Mapping[str, Any]]) -> None:
    """Print presets as a table."""
    rows = [[preset["name"], preset["record_type"], ", ".join(preset["columns"])] for preset in presets]
    shown = Listing(("Preset", "Type", "Columns"), rows)
    print_list(shown, "There is no preset: records presets save NAME.", None)
