"""JSON records as RFC 8259 describes JSON: an array of objects, or an object on each line.

`records` reads the file once, with every check: by msgspec a block at a time, and by `walk` where msgspec cannot.
`columns` turns values into texts. `spool` keeps them until the names of all members are known. `cross_check` has DuckDB
read the file again, and compares.
"""

from resources.file_reader.json_records.file import JsonFile
from resources.file_reader.json_records.limits import JsonLimits

__all__ = ["JsonFile", "JsonLimits"]
