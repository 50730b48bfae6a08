"""Parquet files, read by two readers in step.

Arrow's reader delivers the values, `texts` turns them into text, and `cross_check` compares them with DuckDB's.
"""

from resources.file_reader.parquet.file import ParquetFile
from resources.file_reader.parquet.limits import ParquetLimits

__all__ = ["ParquetFile", "ParquetLimits"]
