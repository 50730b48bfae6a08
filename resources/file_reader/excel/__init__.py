"""Untrusted .xlsx and .xlsm workbooks to numbered text records, one worksheet in one pass and bounded memory.

What a cell means is kept as the text that `schemas.parsing` understands:

- **Numbers** are plain decimals: the workbook's own text where it is one, without needless zeros; an exponent is
  written out where at most some 30 zeros are needed for it. Whole numbers keep every stored digit. Excel stores 17
  digits of a binary double (1.1 as 1.1000000000000001), so of a fraction with 16 or 17 digits the shortest decimal
  of the same double is taken, and nothing is lost; only the result of a formula, which carries the error of binary
  arithmetic, is rounded to the 15 digits that Excel itself shows (=0.1+0.2 is 0.3). A percentage is its fraction.
- **Dates** are told by the number format: `2024-05-31`, with a time `2024-05-31 09:30:00` (no offset: Excel knows
  none), a time alone `09:30:00`, elapsed time `[h]:mm` in hours `36:00:00`; to the millisecond, as Excel. Both date
  systems; days that never were (29 February 1900, day 0) keep Excel's text and are cell problems.
- **Text** is kept to the last space: shared, inline and rich text without its phonetic guide, `_x000D_` decoded.
- **Booleans** are `true` and `false`. An error keeps its text (#N/A), a formula that was never computed is empty;
  both are cell problems.

Rows in the form that programs write are read by Arrow, a megabyte at once (`canonical`); any other row by expat, cell
by cell (`rows`). A second reading counts rows and cells and compares their places and texts (`witness`).
Only the worksheet, the shared strings, the styles and the parts that lead there are read; no link is followed.
"""

from resources.file_reader.excel.excel_file import ExcelFile
from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.texts import encode

__all__ = ["ExcelFile", "ExcelLimits", "encode"]
