"""The web server: Dagster's application and the accounts' files, behind our own guard."""
