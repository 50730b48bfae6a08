"""Untrusted bytes to numbered text records: JSON as RFC 8259 describes it, an array of objects or one on each line.

`records` reads the file once, with every check: msgspec a block at a time, and `walk` where msgspec has no word.
`columns` makes texts of the values, `spool` keeps them until the names of all members are known, and `cross_check`
has another parser read the file again and compares what is handed out.
"""

from resources.file_reader.json_records.file import JsonFile
from resources.file_reader.json_records.limits import JsonLimits

__all__ = ["JsonFile", "JsonLimits"]
