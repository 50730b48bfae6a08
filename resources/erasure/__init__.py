"""Erases a person's records, or a whole account, from every file of a store."""
