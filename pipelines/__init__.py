"""Dagster definitions, the web servers and the command line."""
