"""Workbooks (.xlsx and .xlsm) as numbered text records: one worksheet, in one pass and bounded memory.

A cell becomes the text that `schemas.parsing` reads as the same value:

- **Numbers** are plain decimals without needless zeros. Exponents are written out if that takes at most 30 zeros.
  Whole numbers keep every stored digit. Excel stores 17 digits of a binary double (1.1 as 1.1000000000000001). So a
  fraction with 16 or 17 digits becomes the shortest decimal of the same double, which loses nothing. The result of a
  formula also carries the error of binary arithmetic. It is rounded to Excel's 15 digits: =0.1+0.2 is 0.3. A percentage
  is its fraction.
- **Dates** are known by the number format: `2024-05-31`, with a time `2024-05-31 09:30:00`, a time alone `09:30:00`,
  elapsed time `[h]:mm` in hours `36:00:00`; to the millisecond, and without an offset, as in Excel. Both date systems
  are read. Days that do not exist (29 February 1900, day 0) keep Excel's text, and are cell problems.
- **Text** keeps every character: shared, inline and rich text, without its phonetic guide, `_x000D_` decoded.
- **Booleans** are `true` and `false`. An error keeps its text (#N/A), and a formula without a value is empty. Both are
  cell problems.

Arrow reads rows in the form that most programs write, a megabyte at once (`canonical`). Expat reads all other rows,
cell by cell (`rows`, `cells`, `records`). `cross_check` compares rows, cells, places and texts with its own parser.
Only the worksheet, the shared strings, the styles and the parts that lead to them are read. No link is followed.
"""

from resources.file_reader.excel.excel_file import ExcelFile
from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.texts import encode

__all__ = ["ExcelFile", "ExcelLimits", "encode"]
