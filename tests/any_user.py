"""Takes from this process the right of root to read any file."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
_READS_ANYTHING = (1 << 1) | (1 << 2)
"""The capabilities CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def as_any_user() -> Iterator[None]:
    """Let file modes bind this thread, and those that it starts, until the block ends. They bind other users anyway."""
    libc, header, sets = ctypes.CDLL(None, use_errno=True), _Header(_VERSION_3, 0), (_Sets * 2)()

    def call(name: str) -> None:
        if getattr(libc, name)(ctypes.byref(header), ctypes.byref(sets)):
            raise OSError(ctypes.get_errno(), name)

    call("capget")
    before = sets[0].effective
    sets[0].effective = before & ~_READS_ANYTHING
    call("capset")
    try:
        if os.geteuid() == 0:
            assert not sets[0].effective & _READS_ANYTHING
        yield
    finally:
        sets[0].effective = before
        call("capset")
