"""Accounts as Dagster partitions."""

import dagster as dg

ACCOUNTS = dg.DynamicPartitionsDefinition(name="accounts")
"""One partition for each account. The store defines which accounts exist; `ledger_events` adds the partitions."""
