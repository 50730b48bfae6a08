"""Which cells of some rows are numbers with a number format, as `TextChunk.formats` has them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FORMATTED_CELLS = pa.list_(pa.struct([("column", pa.int32()), ("format", pa.int32())]))
"""The type of `TextChunk.formats`."""

Numbers = npt.NDArray[np.int64]


def formatted_cells(count: int, row: Numbers, column: Numbers, format_: Numbers) -> pa.Array:
    """Returns a list of cells for each of so many rows. The cells are given by ascending rows."""
    ends = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=count)))).astype(np.int32)
    cells = pa.StructArray.from_arrays(
        [pa.array(column.astype(np.int32)), pa.array(format_.astype(np.int32))], fields=list(FORMATTED_CELLS.value_type)
    )
    return pa.ListArray.from_arrays(pa.array(ends), cells, type=FORMATTED_CELLS)
