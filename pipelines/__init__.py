"""Dagster wiring with thin bodies, and the command line."""
