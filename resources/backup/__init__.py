"""Backs a store up while writers run, and restores it."""

from resources.backup.backup import Backup, last_backup
from resources.backup.place import BackupPlace
from resources.backup.restore import Restore

__all__ = ["Backup", "BackupPlace", "Restore", "last_backup"]
