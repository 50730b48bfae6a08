"""A store copied to another catalog and other data, and compared."""

from resources.migration.migration import Migration

__all__ = ["Migration"]
