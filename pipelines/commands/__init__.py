"""The `records` command."""
