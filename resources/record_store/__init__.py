"""The store of records: a DuckLake. The only package with SQL on records and ledger."""

from resources.record_store.account_records import AccountRecords
from resources.record_store.databases import Databases
from resources.record_store.staging import Comparison, Staging
from resources.record_store.store import RecordStore

__all__ = ["AccountRecords", "Comparison", "Databases", "RecordStore", "Staging"]
