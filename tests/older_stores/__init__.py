"""Stores that older programs made, packed: `<commit>.tar.xz`. `python -m tests.older_stores COMMIT` makes one.

Each has the account `demo` with two imports of contacts that can be rolled back, and an export.
"""
