"""Takes from this process what reading one file does not need, with Linux' Landlock and seccomp.

Landlock refuses to open files: all but the given ones and the interpreter's libraries, which are read-only. The filter
of seccomp refuses system calls: sockets, processes, programs, tracing and the like. Neither can be lifted again, and
both hold for root, too. They are two of the oldest parts of the kernel that need no rights, and take four system calls.
So no library is between: those of PyPI are young, or need libseccomp.

See https://docs.kernel.org/userspace-api/landlock.html and https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

_NO_NEW_PRIVILEGES = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every machine
_ASK_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_TRUNCATE = 1 << 14
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many kinds of access to files each version of Landlock knows. Later versions know 16."""
_NETWORK, _SCOPES = 0b11, 0b11
"""Binding and connecting, since version 4. Abstract sockets and signals, since version 6."""

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
_SYSTEM = (
    *("/proc/self/cgroup", "/proc/stat", "/proc/meminfo", "/proc/sys/vm/overcommit_memory", "/sys/fs/cgroup"),
    "/sys/devices/system/cpu",
)
"""Where DuckDB and the C library find out about processors and memory. DuckDB ends the process if it may not."""
_OWN = ("resources", "schemas")
"""The packages of ours that the process imports from."""

_SECCOMP_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_THREAD = 0x10000
"""The flag by which clone starts a thread instead of a process."""
_OTHER_NUMBERS = 0x40000000
"""The first number of the x32 calls on x86-64. They do the same as others, so all are refused."""

_SINCE_5_1 = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
}  # fmt: skip
_CLONE3 = 435

_X86_64 = {
    "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49, "listen": 50, "socketpair": 53,
    "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "shmget": 29, "semget": 64, "msgget": 68, "ptrace": 101,
    "setuid": 105, "setgid": 106, "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117,
    "setresgid": 119, "capset": 126, "rt_sigqueueinfo": 129, "personality": 135, "pivot_root": 155, "chroot": 161,
    "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169, "sethostname": 170,
    "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "tkill": 200, "mq_open": 240,
    "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "accept4": 288,
    "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "memfd_create": 319,
    "kexec_file_load": 320, "bpf": 321, "execveat": 322, "userfaultfd": 323,
    **_SINCE_5_1,
}  # fmt: skip
_ARM_64 = {
    "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "acct": 89, "personality": 92, "unshare": 97,
    "kexec_load": 104, "init_module": 105, "delete_module": 106, "ptrace": 117, "kill": 129, "tkill": 130,
    "rt_sigqueueinfo": 138, "reboot": 142, "setregid": 143, "setgid": 144, "setreuid": 145, "setuid": 146,
    "setresuid": 147, "setresgid": 149, "setgroups": 159, "sethostname": 161, "settimeofday": 170, "mq_open": 180,
    "msgget": 186, "semget": 190, "shmget": 194, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201,
    "accept": 202, "connect": 203, "sendto": 206, "sendmsg": 211, "add_key": 217, "request_key": 218, "keyctl": 219,
    "execve": 221, "swapon": 224, "rt_tgsigqueueinfo": 240, "perf_event_open": 241, "accept4": 242,
    "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "finit_module": 273, "memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282,
    "kexec_file_load": 294, "capset": 91,
    **_SINCE_5_1,
}  # fmt: skip


@dataclass(frozen=True)
class _Machine:
    """The numbers of a kind of machine: how the kernel names it, its call clone, and the calls to refuse."""

    architecture: int
    clone: int
    refused: dict[str, int]


_MACHINES = {"x86_64": _Machine(0xC000003E, 56, _X86_64), "aarch64": _Machine(0xC00000B7, 220, _ARM_64)}


@dataclass(frozen=True)
class Confinement:
    """What confines the process that reads a file on this machine, and what is missing, each as a sentence."""

    on: tuple[str, ...]
    missing: tuple[str, ...]


def confinement() -> Confinement:
    """Returns what the kernel of this machine offers to confine the process that reads a file."""
    on, missing = ["It can gain no privileges, and it has limits on memory, time, files and processes."], []
    version = _landlock_version()
    if version:
        on.append(f"Landlock {version}: it opens no file but its own one and the interpreter's libraries.")
    else:
        missing.append("Landlock: the reading process can open what its user can. Linux 5.13 has it, if it is enabled.")
    if _can_filter():
        on.append("seccomp: it opens no connection, and starts and traces no process.")
    else:
        missing.append("seccomp: the reading process can open connections. Linux has it on x86-64 and 64-bit ARM.")
    return Confinement(tuple(on), tuple(missing))


def confine_files(readable: Iterable[int], writable: Iterable[int]) -> bool:
    """Refuse this thread, and those that it starts, to open other files than these. Returns whether the kernel can.

    readable, writable: descriptors of open files, which may be opened again by /dev/fd. Other open files stay open.
    """
    _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    version = _landlock_version()
    if not version:
        return False
    handled = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("QQQ", handled, _NETWORK if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for number in readable:
            _allow(ruleset, number, _READ)
        for number in writable:
            _allow(ruleset, number, (_READ | _WRITE | _TRUNCATE) & handled)
        for place in _places():
            with suppress(OSError):  # it is not there, or is not for this user
                number = os.open(place, os.O_PATH | os.O_CLOEXEC)
                try:
                    _allow(ruleset, number, _READ | _LIST if Path(place).is_dir() else _READ)
                finally:
                    os.close(number)
        return bool(_LIBC.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def confine_calls() -> bool:
    """Refuse all threads of this process what reading needs no system call for. Returns whether the kernel can."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    program = _program(machine)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    return bool(_LIBC.syscall(_seccomp(), _SECCOMP_FILTER, _ALL_THREADS, header) == 0)


def _allow(ruleset: int, descriptor: int, rights: int) -> None:
    _LIBC.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)


def _places() -> list[str]:
    """Returns the folders from which the interpreter loads modules and libraries."""
    root = Path(__file__).parent.parent.parent
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    given = [*sys.path, *filter(None, libraries), f"{sys.base_prefix}/lib", *_LIBRARIES, *_SYSTEM]
    places = []
    for place in dict.fromkeys(filter(None, given)):
        is_checkout = Path(place) == root and not (root / "duckdb").exists()
        places += [str(root / name) for name in _OWN] if is_checkout else [place]
    return places


def _landlock_version() -> int:
    """Returns the version of Landlock; 0 if the kernel has none."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)))


def _can_filter() -> bool:
    action = ctypes.c_uint32(_REFUSE)
    return platform.machine() in _MACHINES and _LIBC.syscall(_seccomp(), 2, 0, ctypes.byref(action)) == 0


def _seccomp() -> int:
    return 317 if platform.machine() == "x86_64" else 277


def _program(machine: _Machine) -> bytes:
    """Returns the filter, as instructions of the kernel's packet filter: code, jumps if true and if false, value.

    A clone that starts a thread is allowed. clone3 has its flags in memory, which a filter cannot read. So it does not
    exist, and the C library uses clone.
    """
    refused = [number for _, number in sorted(machine.refused.items())]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, machine.architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _CALL_AT),
        (_AT_LEAST, 0, 1, _OTHER_NUMBERS),
        (_RETURN, 0, 0, _REFUSE | _EPERM),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _REFUSE | _ENOSYS),
    ]
    for number in refused:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | _EPERM)]
    lines += [
        (_EQUAL, 0, 3, machine.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_ANY_BIT, 1, 0, _THREAD),
        (_RETURN, 0, 0, _REFUSE | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
