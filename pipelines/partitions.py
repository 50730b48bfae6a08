"""Accounts as Dagster partitions."""

import dagster as dg

ACCOUNTS = dg.DynamicPartitionsDefinition(name="accounts")
"""One partition an account. The store is the truth about which exist; `ledger_events` brings them here."""
