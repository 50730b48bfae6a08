"""Drafts a record type from a sample file: `records types draft FILE`.

The whole file is read in bounded memory. Each chunk is examined, and written as Parquet to a temporary folder, where
DuckDB searches for a key. `schemas.parsing` decides what type a text can have, so that the drafted type takes every
well-formed record of the file. What comes from the file is in the source only as a quoted literal, or as a name of
letters, digits and "_".

What nobody has said about the file is read in the likeliest way, and the module says so. A key is proposed only if its
values are unique and look like ids. Without one the module does not load until a person names the key.
"""

from resources.type_drafter.drafter import Draft, draft, draft_from

__all__ = ["Draft", "draft", "draft_from"]
