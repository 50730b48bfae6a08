"""Exports: records of one account to one file of any size. Planned, written in parts, put together, published."""

from resources.export_writer.allowed import require_allowed
from resources.export_writer.sweeping import SweptExports, sweep_exports
from resources.export_writer.writer import ExportWriter

__all__ = ["ExportWriter", "SweptExports", "require_allowed", "sweep_exports"]
