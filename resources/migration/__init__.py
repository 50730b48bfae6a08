"""Copies a store to another catalog and other data, and compares the two."""

from resources.migration.migration import Migration

__all__ = ["Migration"]
