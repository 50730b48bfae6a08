"""Files that are no records are refused with what they are and what to do, and text like them is read."""

import bz2
import gzip
import hashlib
import io
import lzma
import sqlite3
import struct
import tarfile
import zipfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pytest

from resources.file_reader import FileReader
from schemas.errors import UnreadableFile

TABLE = pa.table({"external_id": ["C-1"], "status": ["lead"]})
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024)


def made(write: object) -> bytes:
    buffer = io.BytesIO()
    write(buffer)  # type: ignore[operator]
    return buffer.getvalue()


RANDOM = hashlib.shake_256(b"random").digest(4_000)


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name in names:
            written.writestr(name, b"x")
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("contacts.csv")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"a,b\n"))
    return buffer.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as connection:
        connection.execute("CREATE TABLE contacts (id)")
    connection.close()
    return (folder / "x.db").read_bytes()


def duck(folder: Path) -> bytes:
    with duckdb.connect(folder / "x.duckdb") as connection:
        connection.execute("CREATE TABLE contacts (id INT)")
    return (folder / "x.duckdb").read_bytes()


FOREIGN = {
    "report.pdf": (b"%PDF-1.7\n1 0 obj\n", "is a PDF."),
    "renamed.csv": (b"%PDF-1.7\n1 0 obj\n", "is a PDF."),
    "scan.png": (b"\x89PNG\r\n\x1a\n" + bytes(64), "is an image (PNG)."),
    "scan.jpg": (b"\xff\xd8\xff\xe0" + bytes(64), "is an image (JPEG)."),
    "page.xls": (b"\xef\xbb\xbf \n<HTML><body><table><tr><td>external_id", "is an HTML page."),
    "meta.xls": (b"\xef\xbb\xbf\n <meta charset=utf-8><table><tr><td>external_id", "is an HTML page."),
    "page.csv": (b"<!DOCTYPE html>\n<html>", "is an HTML page."),
    "old.xls": (
        b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">',
        "is an XML spreadsheet of Excel 2003.",
    ),
    "feed.xml": (b'<?xml version="1.0"?><contacts/>', "is an XML file."),
    "locked.xlsx": (OLE + "EncryptedPackage".encode("utf-16-le") + bytes(64), "is an encrypted workbook."),
    "letter.doc": (OLE + "WordDocument".encode("utf-16-le") + bytes(64), "of the older format .doc."),
    "book.xls": (OLE + "Workbook".encode("utf-16-le") + bytes(64), "is a workbook of the older format .xls."),
    "unknown.xls": (OLE, "is encrypted, or a workbook of the older format .xls."),
    "~$book.xlsx": (b"\x05Paula" + bytes(150), "is a lock file"),
    "all.tar": (tar(), "is a .tar archive."),
    "in.csv.xz": (lzma.compress(b"a,b\n"), "is a file packed as .xz."),
    "twice.csv.gz": (gzip.compress(gzip.compress(b"a,b\n", mtime=0), mtime=0), "packed twice, the second time as .gz."),
    "in.csv.bz2": (bz2.compress(b"a,b\n"), "is a file packed as .bz2."),
    "in.orc": (made(lambda file: pyarrow.orc.write_table(TABLE, file)), "is an ORC file."),
    "in.feather": (made(lambda file: pyarrow.feather.write_feather(TABLE, file)), "is a Feather or Arrow file."),
    "in.dbf": (b"\x03\x7d\x01\x01" + bytes(60), "is a dBASE file."),
    "utf16.xml": ('<?xml version="1.0"?><contacts/>'.encode("utf-16"), "is an XML file."),
    "bare.xml": (b"<contacts><contact/></contacts>", "is an XML file."),
    "saved.html": (b"<!-- saved from url -->\n<html><table>", "is an HTML page."),
    "scan.tif": (b"II*\0" + bytes(64), "is an image."),
    "book.xlsb": (archive("[Content_Types].xml", "xl/workbook.bin"), "is a binary workbook, as .xlsb."),
    "book.numbers": (archive("Index/Document.iwa", "preview.jpg"), "is a Numbers or Pages document."),
    "letter.docx": (archive("[Content_Types].xml", "word/document.xml"), "is a Word document."),
    "talk.pptx": (archive("[Content_Types].xml", "ppt/presentation.xml"), "is a PowerPoint presentation."),
    "old.mdb": (b"\0\1\0\0Standard Jet DB\0" + bytes(64), "is an Access database."),
    "in.csv.lz4": (b"\x04\x22\x4d\x18" + RANDOM[:60], "is a file packed as .lz4."),
    "random.parquet": (RANDOM, "is neither text nor of a known kind."),
    "random.csv": (RANDOM[:800], "is neither text nor of a known kind."),
    "excel5.xls": (b"\x09\x08\x10\0\0\x06\x05\0" + bytes(500), "is neither text nor of a known kind."),
    "in.parquet": (b"PARE" + bytes(40) + b"PARE", "is an encrypted Parquet file."),
}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("others", [{}, {"__MACOSX/._contacts.csv": b"x", "folder/": b""}], ids=["alone", "from macOS"])
@pytest.mark.parametrize("name", ["contacts.csv", "folder/contacts.ndjson"])
@pytest.mark.usefixtures("quick_reading")
def test_the_only_file_of_an_archive_is_read_and_named(name: str, others: dict[str, bytes], tmp_path: Path) -> None:
    content = b"external_id\nC-1\n" if name.endswith("csv") else b'{"external_id": "C-1"}\n'
    with FileReader(zipped(tmp_path / "export.zip", {name: content, **others})) as reader:
        assert reader.headers == ("external_id",)
        assert ("Packed with", f"ZIP, as {name!r}") in reader.understood
        assert reader.packing is None
        assert [chunk.values.column(0).to_pylist() for chunk in reader.chunks()] == [["C-1"]]


@pytest.mark.usefixtures("quick_reading")
def test_an_archive_of_several_files_a_damaged_one_and_a_bomb_are_refused(tmp_path: Path) -> None:
    several = zipped(tmp_path / "several.zip", {"a.csv": b"a\n", "b.csv": b"a\n"})
    assert "is a ZIP archive with 2 files. Only an archive of one file is read." in refusal(several).message
    equal = zipped(tmp_path / "equal.zip", {"a.csv": b"a\n1\n", "b.csv": b"a\n2\n"})
    equal.write_bytes(equal.read_bytes().replace(b"b.csv", b"a.csv"))
    assert "is a ZIP archive with 2 files." in refusal(equal).message
    within = zipped(tmp_path / "within.zip", {"in.zip": zipped(tmp_path / "in.zip", {"a.csv": b"a\n"}).read_bytes()})
    assert refusal(within).message.startswith("in.zip is packed twice, the second time as .zip.")
    assert "is a ZIP archive without a file." in refusal(zipped(tmp_path / "empty.zip", {"folder/": b""})).message
    bomb = zipped(tmp_path / "bomb.zip", {"a.csv": bytes(64 << 20)})
    assert "is a ZIP bomb" in refusal(bomb).message
    packed = zipped(tmp_path / "packed.zip", {"a.csv.gz": gzip.compress(b"a,b\n", mtime=0)})
    assert "a.csv.gz is packed twice, the second time as .gz" in refusal(packed).message
    damaged = bytearray(zipped(tmp_path / "damaged.zip", {"a.csv": b"external_id\n" + b"C-1\n" * 999}).read_bytes())
    damaged[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "damaged.zip").write_bytes(damaged)
    assert "is damaged: it cannot be unpacked with ZIP" in refusal(tmp_path / "damaged.zip").message


@pytest.mark.parametrize(("version", "method"), [(20, zipfile.ZIP_STORED), (51, 99)], ids=["ZipCrypto", "AES"])
@pytest.mark.usefixtures("quick_reading")
def test_an_encrypted_archive_is_refused_as_that(version: int, method: int, tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", {"a.csv": b"a\n"})
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 4), (b"PK\1\2", 6)):
        start = content.index(signature) + place
        content[start : start + 6] = struct.pack("<HHH", version, 1, method)
    path.write_bytes(content)
    error = refusal(path)
    assert error.message == "in.zip is an encrypted ZIP archive."
    assert error.hint == "Unpack it with its password, and import the file that is inside."


def refusal(path: Path) -> UnreadableFile:
    with FileReader(path) as reader, pytest.raises(UnreadableFile) as raised:
        reader.headers  # noqa: B018
    return raised.value


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.usefixtures("quick_reading")
def test_a_foreign_file_is_named_and_the_hint_says_what_to_do(name: str, tmp_path: Path) -> None:
    content, what = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    error = refusal(tmp_path / name)
    assert error.message.startswith(f"{name} is ")
    assert what in error.message
    assert error.hint.endswith(".")


@pytest.mark.parametrize(("make", "what"), [(database, "is an SQLite database."), (duck, "is a DuckDB database.")])
@pytest.mark.usefixtures("quick_reading")
def test_a_database_is_named(make: object, what: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(make(tmp_path))  # type: ignore[operator]
    assert what in refusal(tmp_path / "in.csv").message


@pytest.mark.parametrize("first", ["ORC", "PARE", "ARROW1", "<name>", "BZh", "Obj", "DUCK", "GIF"])
@pytest.mark.usefixtures("quick_reading")
def test_text_that_begins_like_a_foreign_file_is_read(first: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"{first},external_id\n1,C-1\n")
    with FileReader(tmp_path / "in.csv") as reader:
        assert reader.headers == (first, "external_id")
