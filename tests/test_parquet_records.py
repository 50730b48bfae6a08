"""Untrusted Parquet: every value becomes a text that the parsers accept, or a problem of its cell."""

import contextlib
import io
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.file_reader.chunk import CellProblem
from resources.file_reader.parquet import ParquetFile, ParquetLimits
from resources.file_reader.parquet.cross_check import ParquetCrossCheck
from schemas.errors import UnreadableFile
from schemas.parsing import parse_column
from schemas.record_type import Field
from tests.examples import tried


def _written(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def _file(content: bytes) -> BinaryIO:
    """Return an unnamed file: DuckDB reads it by its descriptor."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.flush()
    return file


class Whole:
    """Everything that the reader reads from a file."""

    def __init__(self, content: pa.Table | bytes, **options: Any) -> None:
        data = content if isinstance(content, bytes) else _written(content)
        self.columns: dict[str, list[str]] = {}
        self.cells: list[tuple[int, CellProblem]] = []
        self.records: list[int] = []
        self.chunks = 0
        with _file(data) as bytes_of_it, ParquetFile(bytes_of_it, "f.parquet", **options) as file:
            self.headers = file.headers
            self.file = file
            for chunk in file.chunks():
                self.chunks += 1
                assert chunk.values.num_rows == len(chunk.records)
                assert chunk.lines == chunk.records
                assert set(chunk.values.schema.types) <= {pa.string()}
                for name, column in zip(self.headers, chunk.values.columns, strict=True):
                    self.columns.setdefault(name, []).extend(column.to_pylist())
                self.cells += [(chunk.records[cell.row].as_py(), cell) for cell in chunk.cells]
                self.records += chunk.records.to_pylist()
        assert self.records == list(range(1, file.read + 1))


def _timestamps(*values: int | None, unit: str = "us", zone: str | None = None) -> pa.Array:
    return pa.array(values, pa.int64()).cast(pa.timestamp(unit)).cast(pa.timestamp(unit, zone))


SECONDS = int(datetime(2024, 5, 31, 9, 30, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array(["ü\0", None, ""]), ["ü\0", "", ""]),
        (pa.array(["x", None, "x"]).dictionary_encode(), ["x", "", "x"]),
        (pa.array(["x", None], pa.large_string()), ["x", ""]),
        (pa.array([2**64 - 1, None], pa.uint64()), ["18446744073709551615", ""]),
        (pa.array([-(2**63), 0]), ["-9223372036854775808", "0"]),
        (pa.array([True, False, None]), ["true", "false", ""]),
        (
            pa.array([Decimal("1.10"), None, Decimal("0.0000000001")], pa.decimal128(38, 10)),
            ["1.1000000000", "", "0.0000000001"],
        ),
        (pa.array([Decimal("9" * 70)], pa.decimal256(76, 0)), ["9" * 70]),
        (pa.array([0.1, 1e22, 1e-7, 5e-324, None]), ["0.1", "1" + "0" * 22, "0.0000001", "0." + "0" * 323 + "5", ""]),
        (pa.array([0.1, 16777216.0], pa.float32()), ["0.1", "16777216"]),
        (pa.array([123456792.0, -123456792.0, None], pa.float32()), ["123456792", "-123456792", ""]),
        (pa.array([2.0**70], pa.float32()), ["1180591620717411300000"]),
        (pa.array([0.1, 65504.0, None], pa.float16()), ["0.0999755859375", "65504", ""]),
        (pa.array([date(1, 1, 1), None, date(9999, 12, 31)]), ["0001-01-01", "", "9999-12-31"]),
        (
            _timestamps(SECONDS * 10**6, None, SECONDS * 10**6 + 500_000, zone="Europe/Berlin"),
            ["2024-05-31T09:30:00Z", "", "2024-05-31T09:30:00.5Z"],
        ),
        (_timestamps(SECONDS * 10**6 + 1), ["2024-05-31T09:30:00.000001"]),
        (_timestamps(SECONDS * 10**9 + 1000, unit="ns"), ["2024-05-31T09:30:00.000001"]),
        (_timestamps(SECONDS * 1000 + 20, unit="ms", zone="+02:00"), ["2024-05-31T09:30:00.02Z"]),
        (pa.nulls(2), ["", ""]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_value_becomes_its_text(values: pa.Array, texts: list[str]) -> None:
    file = Whole(pa.table({"v": values}))
    assert (file.headers, file.columns["v"], file.cells) == (("v",), texts, [])


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        (pa.array([1.5, float("nan"), None]), "number_out_of_range", "must be a number"),
        (pa.array([1.5, float("-inf"), None], pa.float32()), "number_out_of_range", "must be a number"),
        (pa.array([None, b"\xff", None]), "not_text", "must be text"),
        (pa.array([None, b"ab", None], pa.binary(2)), "not_text", "must be text"),
        (pa.array([None, ["x"], None]), "nested_value", "must be a single value"),
        (pa.array([None, {"a": 1}, None]), "nested_value", "must be a single value"),
        (_timestamps(0, 2**62, None, unit="ms"), "date_out_of_range", "must be in the years 1 to 9999"),
        (_timestamps(0, 1, None, unit="ns", zone="UTC"), "too_precise", "must have at most 6 decimals of a second"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_value_that_is_no_text_is_a_problem_of_its_cell(values: pa.Array, rule: str, expected: str) -> None:
    file = Whole(pa.table({"a": ["x", "y", "z"], "v": values}), chunk_rows=2)
    ((record, cell),) = file.cells
    assert (record, cell.row, cell.column, cell.rule, cell.expected) == (2, 1, 1, rule, expected)
    assert file.columns["v"][1:] == ["", ""]
    assert file.chunks == 2


def _stored(*values: int | None, kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_TICKING = [
    *(pa.time32(unit) for unit in ("s", "ms")),
    *(pa.time64(unit) for unit in ("us", "ns")),
    *(pa.timestamp(unit, zone) for unit in _PER_SECOND for zone in (None, "Asia/Tokyo")),
]


def _meant(value: int, kind: pa.DataType) -> str | None:
    """Return the text of a number of units; None if there is none."""
    is_time = pa.types.is_time(kind)
    days, rest = divmod(value, 86_400 * _PER_SECOND[kind.unit])
    seconds, parts = divmod(rest, _PER_SECOND[kind.unit])
    fine = kind.unit == "ns" and parts % 1000 and not is_time
    if fine or (days if is_time else not 1 <= days + 719_163 <= date.max.toordinal()):
        return None
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if parts:
        clock += "." + f"{parts:0{len(str(_PER_SECOND[kind.unit])) - 1}}".rstrip("0")
    return clock if is_time else f"{date.fromordinal(days + 719_163)}T{clock}{'Z' if kind.tz else ''}"


@settings(max_examples=tried(60))
@given(st.data(), st.sampled_from(_TICKING))
def test_a_time_that_has_no_text_is_a_problem_and_never_arrows_message(data: st.DataObject, kind: pa.DataType) -> None:
    day, bits = 86_400 * _PER_SECOND[kind.unit], kind.bit_width
    edges = [0, -1, 1, day - 1, day, day + 1, -719_162 * day, 2_932_897 * day, 2**62, -(2**62), 2**31 - 1]
    # Arrow writes seconds as milliseconds, if they fit.
    most = 2 ** (bits - 1) // (1000 if kind.unit == "s" else 1) - 1
    edge = st.sampled_from([value for value in edges if abs(value) <= most])
    values = data.draw(st.lists(edge | st.integers(-most, most) | st.integers(0, min(day, most)), min_size=1))
    file = Whole(pa.table({"v": _stored(*values, kind=kind)}))
    texts = [_meant(value, kind) for value in values]
    assert file.columns["v"] == [text or "" for text in texts]
    assert [record for record, _ in file.cells] == [at for at, text in enumerate(texts, 1) if text is None]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (_stored(2**31 - 1, -(2**31), kind=pa.date32()), "date_out_of_range"),
        (_stored(86_400_000_000, -1, kind=pa.time64("us")), "time_out_of_range"),
        (_stored(86_400_000_000, -1, kind=pa.time64("us")).dictionary_encode(), "time_out_of_range"),
        (_stored(1, 2, kind=pa.duration("us")), "unknown_type"),
        (pa.array([b"a", b"b"], pa.large_binary()), "not_text"),
        (pa.array([b"a", b"b"], pa.binary_view()), "not_text"),
        (pa.array([b"a", b"b"]).dictionary_encode(), "not_text"),
        (pa.array([float("nan"), float("inf")], pa.float16()), "number_out_of_range"),
        (pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())), "nested_value"),
        (pa.array([[1], []], pa.list_view(pa.int64())), "nested_value"),
        (pa.array([[1], [2]], pa.list_(pa.int64(), 1)), "nested_value"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_no_value_of_a_type_without_a_text_is_read(values: pa.Array, rule: str) -> None:
    file = Whole(pa.table({"v": values}))
    assert (file.columns["v"], [cell.rule for _, cell in file.cells]) == (["", ""], [rule, rule])


@pytest.mark.parametrize(
    "value",
    ["TIME '24:00:00'", "'infinity'::DATE", "'-infinity'::TIMESTAMP", "DATE '0044-03-15 (BC)'", "'nan'::DOUBLE",
     "INTERVAL 1 DAY", "'x'::BLOB", "[1]", "{'a': 1}", "MAP {'a': 1}"],
)  # fmt: skip
def test_what_duckdb_writes_and_no_text_expresses_is_a_problem(value: str, tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    duckdb.sql(f"COPY (SELECT {value} AS v) TO '{path}' (FORMAT parquet)")
    file = Whole(path.read_bytes())
    assert (file.columns, len(file.cells)) == ({"v": [""]}, 1)


TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "Asia/Tokyo"),
    "decimal(20,4)": pa.decimal128(20, 4),
}


@settings(max_examples=tried(40))
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "text": st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
                "integer": st.none() | st.integers(-(2**63), 2**63 - 1),
                "float": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "boolean": st.none() | st.booleans(),
                "date": st.none() | st.dates(),
                "timestamp": st.none() | st.datetimes(timezones=st.just(UTC)),
                "decimal(20,4)": st.none() | st.decimals(-(10**16) + 1, 10**16 - 1, places=4),
            }
        ),
        min_size=1,
    ),
    st.integers(1, 50),
)
def test_what_is_written_comes_back_through_the_parsers(rows: list[dict[str, Any]], chunk_rows: int) -> None:
    table = pa.Table.from_pylist(rows, pa.schema(TYPES))
    file = Whole(_written(table, row_group_size=7), chunk_rows=chunk_rows)
    assert file.cells == []
    for name in TYPES:
        values, lost = parse_column(pa.array(file.columns[name]), Field(name=name.partition("(")[0], type=name))
        assert (values.to_pylist(), len(lost)) == ([row[name] for row in rows], 0)


def _refusal(content: pa.Table | bytes, **options: Any) -> str:
    with pytest.raises(UnreadableFile) as refused:
        Whole(content, **options)
    return refused.value.message


def test_damage_is_refused_whatever_it_is() -> None:
    table = pa.table({"a": [f"text {i % 7}" for i in range(500)], "b": list(range(500)), "c": [[1]] * 500})
    whole = _written(table, compression="zstd", write_page_checksum=True)
    chance = random.Random(1)
    survived = 0
    for _ in range(200):
        damaged = bytearray(whole)
        if chance.random() < 0.3:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(UnreadableFile):
            survived += Whole(bytes(damaged)).records == list(range(1, 501))
    assert survived < 100  # damage to unused bytes, such as a name
    for content in (b"", b"PAR1", b"PAR1PAR1", b"a,b\n1,2\n", whole[:-1]):
        assert "f.parquet cannot be read as Parquet" in _refusal(content)


def test_text_that_is_not_utf8_is_refused() -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"], pa.binary()).buffers())
    assert "UTF8" in _refusal(_written(pa.table({"v": broken})))


def test_limits_and_columns_of_one_name() -> None:
    table = pa.table({"ab": ["xxx"], "c": ["y"]})
    assert Whole(table, limits=ParquetLimits(columns=2, name_characters=2, cell_characters=3)).records == [1]
    assert "more than 1 columns" in _refusal(table, limits=ParquetLimits(columns=1))
    assert "longer than 1 characters" in _refusal(table, limits=ParquetLimits(name_characters=1))
    assert "the value of 'ab' in record 1 is longer than 2" in _refusal(table, limits=ParquetLimits(cell_characters=2))
    assert "more than one column 'a'" in _refusal(pa.table([["x"], ["y"]], names=["a", "a"]))


def test_records_that_are_almost_all_equal_are_bounded_by_the_size_of_the_file() -> None:
    """500 KB once held 20,000,000 records."""
    row = pa.array([0] * 1_000_001, pa.int32())
    content = _written(pa.table({"v": pa.DictionaryArray.from_arrays(row, pa.array(["x"]))}))
    assert _refusal(content) == (
        f"f.parquet says it has 1,000,001 records in {len(content):,} bytes, more than 10 for each byte "
        "(RECORDS_MAX_RECORDS_PER_BYTE)."
    )
    for read, limit in ((content, 10_000), (_written(pa.table({"v": row[:1_000_000]})), 10)):
        with _file(read) as file:
            assert ParquetFile(file, "f.parquet", limits=ParquetLimits(records_per_byte=limit)).headers == ("v",)


def test_a_text_that_is_there_many_times_is_handed_out_in_parts() -> None:
    """50 KB that unpack to 10 GB."""
    table = pa.table(
        {"v": pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 1_000_000]))}
    )
    content = _written(table)
    assert len(content) < 100_000
    with _file(content) as bytes_of_it, ParquetFile(bytes_of_it, "f.parquet") as file:
        chunk = next(file.chunks())
    assert chunk.values.nbytes < 80 << 20


class _Defective(pq.ParquetFile):  # type: ignore[misc]
    """Arrow's reader with a defect: a record is dropped, doubled, split in two or shifted."""

    how = ""
    victim = 0

    def iter_batches(self, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        before = 0
        for batch in super().iter_batches(*arguments, **options):
            at, rows = self.victim - before, batch.to_pylist()
            before += len(rows)
            if 0 <= at < len(rows):
                row = rows[at]
                rows[at : at + 1] = {
                    "drop": [],
                    "double": [row, row],
                    "split": [{**row, "b": None}, {**row, "a": None}],
                    "shift": [{**row, "a": row["b"], "b": row["a"]}],
                    "empty": [{**row, "n": None}],
                    "other": [{**row, "l": None}],
                }[self.how]
            yield pa.RecordBatch.from_pylist(rows, batch.schema)


@pytest.mark.parametrize("victim", [0, 2500, 4999], ids=["first", "middle", "last"])
@pytest.mark.parametrize("how", ["drop", "double", "split", "shift", "empty", "other"])
def test_a_record_that_one_of_the_readers_reads_otherwise_stops_the_reading(
    monkeypatch: pytest.MonkeyPatch, how: str, victim: int
) -> None:
    numbers = range(5000)
    columns = {"a": [f"x{n}" for n in numbers], "b": [f"y{n}" for n in numbers], "n": numbers, "l": [["z"]] * 5000}
    content = _written(pa.table(columns), row_group_size=700)
    assert Whole(content, chunk_rows=1000).records[-1] == 5000
    monkeypatch.setattr(pq, "ParquetFile", _Defective)
    monkeypatch.setattr(_Defective, "how", how)
    monkeypatch.setattr(_Defective, "victim", victim)
    differing = victim + 1 + (how == "double")
    message = f"f.parquet can be read in two ways: two parsers disagree about record {differing:,}."
    if how == "drop" and victim == 4999:
        message = "f.parquet says it has 5,000 records and has 4,999."
    assert _refusal(content, chunk_rows=1000) == message


def test_long_texts_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _written(pa.table({"v": ["x" * 40_000, "y" * 40_000], "n": [1, 2]}))
    assert Whole(content).records == [1, 2]
    monkeypatch.setattr(ParquetCrossCheck, "_shortened", lambda _, texts: texts)
    assert "disagree about record 1" in _refusal(content)


def _with_footer(content: bytes, old: str, new: str) -> bytes:
    """Return the file with other bytes, in hexadecimal digits, in its footer."""
    size = int.from_bytes(content[-8:-4], "little")
    start = len(content) - 8 - size
    footer = content[start:-8].replace(bytes.fromhex(old), bytes.fromhex(new))
    assert footer != content[start:-8]
    return content[:start] + footer + len(footer).to_bytes(4, "little") + content[-4:]


@pytest.mark.parametrize(("unit", "logical_type"), [("us", "4c8c111c2c00000000"), ("ms", "4c8c111c1c00000000")])
def test_a_timestamp_with_the_older_annotation_alone_is_in_utc(unit: str, logical_type: str) -> None:
    """DuckDB reads it without a time zone. https://github.com/apache/parquet-format/blob/master/LogicalTypes.md"""
    content = _written(
        pa.table({"t": _timestamps(SECONDS * 1000, None, unit="ms", zone="UTC").cast(pa.timestamp(unit, "UTC"))}),
        store_schema=False,
    )
    older = _with_footer(content, logical_type, "")
    assert pq.ParquetFile(io.BytesIO(older)).schema.column(0).converted_type.startswith("TIMESTAMP_M")
    assert Whole(older).columns == {"t": ["2024-05-31T09:30:00Z", ""]}


def test_timestamps_in_int96_are_read_and_those_that_arrow_cannot_read_are_problems() -> None:
    """Spark, Hive and Impala write them. Arrow reads nanoseconds, and so the years 1678 to 2261 alone."""
    for years, texts in (([2024, 1999], ["2024-05-31T09:30:00.000005", "1999-05-31T09:30:00.000005"]), ([9999], [""])):
        times = pa.array([datetime(year, 5, 31, 9, 30, 0, 5, UTC) for year in years], pa.timestamp("us"))
        content = _written(pa.table({"t": times}), use_deprecated_int96_timestamps=True)
        assert pq.ParquetFile(io.BytesIO(content)).schema.column(0).physical_type == "INT96"
        whole = Whole(content)
        assert whole.columns == {"t": texts}
        problem = ("too_precise", "must be in the years 1678 to 2261, in microseconds, as INT96 has no others")
        assert [(cell.rule, cell.expected) for _, cell in whole.cells] == [problem] * texts.count("")
        assert [cell.value for _, cell in whole.cells] == ["a timestamp of the type INT96"] * texts.count("")


def test_a_variant_is_a_problem_of_its_record(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    duckdb.sql("SELECT 'a' AS id, 5::VARIANT AS v UNION ALL SELECT 'b', NULL").write_parquet(str(path))
    whole = Whole(path.read_bytes())
    assert whole.columns == {"id": ["a", "b"], "v": ["", ""]}
    assert {(cell.column, cell.rule, cell.expected) for _, cell in whole.cells} == {
        (1, "nested_value", "must be a single value")
    }


def test_an_enum_and_a_uuid_are_their_texts(tmp_path: Path) -> None:
    enum = _with_footer(_written(pa.table({"e": ["ü", None, "b"]}), store_schema=False), "25004c1c0000", "25084c4c0000")
    assert pq.ParquetFile(io.BytesIO(enum)).schema.column(0).logical_type.type == "ENUM"
    assert Whole(enum).columns == {"e": ["ü", "", "b"]}
    path = tmp_path / "u.parquet"
    text = "123e4567-e89b-12d3-a456-4266141740ff"
    duckdb.sql(f"SELECT unnest(['{text}', NULL])::UUID AS u, INTERVAL 1 DAY AS i").write_parquet(str(path))
    whole = Whole(path.read_bytes())
    assert whole.columns == {"u": [text, ""], "i": ["", ""]}
    assert [(record, cell.column, cell.rule) for record, cell in whole.cells] == [
        (1, 1, "not_text"),
        (2, 1, "not_text"),
    ]


@pytest.mark.parametrize("encoding", ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
def test_texts_that_arrow_cannot_put_into_dictionaries_are_read(encoding: str) -> None:
    """DuckDB writes the first with PARQUET_VERSION v2."""
    texts = [f"text {number}" for number in range(10_000)]
    table = pa.table({"a": texts, "b": texts})
    content = _written(table, use_dictionary=["b"], column_encoding={"a": encoding}, row_group_size=4_000)
    assert Whole(content, chunk_rows=1_000).columns == {"a": texts, "b": texts}


@pytest.mark.parametrize("wide", [1_000, 1])
def test_a_column_that_the_second_reader_cannot_read_is_read_with_one_witness(
    monkeypatch: pytest.MonkeyPatch, wide: int
) -> None:
    monkeypatch.setattr("resources.file_reader.parquet.file._WIDE", wide)
    table = pa.table(
        {"a": list(range(5_000)), "b": [f"x{n}" for n in range(5_000)], "c": [n / 2 for n in range(5_000)]}
    )
    split = Whole(_written(table, use_dictionary=False, column_encoding={"a": "BYTE_STREAM_SPLIT"}))
    assert split.columns["a"] == [str(n) for n in range(5_000)]
    assert split.file.notes == (
        "Only one parser could read `a`. The other lacks its encoding or compression, so it confirms nothing there.",
    )
    raw = _written(table, compression={"a": "SNAPPY", "b": "LZ4", "c": "LZ4"})
    older = Whole(_with_footer(raw, "150e16", "150a16"))  # LZ4 as Hadoop writes it
    assert (older.columns["b"], older.records[-1]) == (table["b"].to_pylist(), 5_000)
    assert older.file.notes[0].startswith("Only one parser could read `b`, `c`. The other lacks their encoding")
    assert Whole(_written(table)).file.notes == ()


def test_a_wide_file_is_confirmed_some_columns_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 columns took 10 seconds, because the types of all were built anew for each."""
    monkeypatch.setattr("resources.file_reader.parquet.file._WIDE", 100)
    table = pa.table({f"column.{n}": [f"{n} {row}" for row in range(3)] for n in range(250)})
    asked: list[int] = []
    genuine = ParquetCrossCheck.__init__

    def started(check: ParquetCrossCheck, *args: Any) -> None:
        asked.append(len(args[3]))
        genuine(check, *args)

    monkeypatch.setattr(ParquetCrossCheck, "__init__", started)
    assert Whole(table, chunk_rows=2).columns == table.to_pydict()
    assert asked == [100, 100, 50]

    monkeypatch.setattr(
        ParquetCrossCheck, "_next", lambda check, size: pa.table({str(n): ["x"] * size for n in range(100)})
    )
    assert "disagree about record 1" in _refusal(_written(table))
