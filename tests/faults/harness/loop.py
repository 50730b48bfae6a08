"""Copies the disk of a mounted file system directly after an answer: a real power cut."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults.harness import actions
from tests.faults.harness.actions import ACTIONS, Place
from tests.faults.harness.shim import Orders
from tests.faults.harness.testbed import Fault, NotRun, Testbed

_ACTIONS = ("import", "commit", "rollback", "export", "maintain", "arrivals", "grow", "init", "migrate")
_MEGABYTES = 64
_OPTIONS = "loop,commit=300,noatime"


def real_cuts(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Perform each action in turn on ext4. Raises NotRun if nothing can be mounted."""
    disk = testbed.folder() / "probe.img"
    try:
        _format(disk)
        with _mounted(disk, testbed.folder()):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotRun(f"a file system cannot be mounted here ({_why(error)})") from None
    for number in range(count):
        action = _ACTIONS[number % len(_ACTIONS)]
        yield Fault(f"{number}: {action}, then the disk as it is", partial(_happens, testbed, action, number))


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"{error.cmd[0]}: {(error.stderr or b'').decode().strip().splitlines()[-1:]}"
    return str(error)


def _happens(testbed: Testbed, action: str, number: int) -> list[str]:
    template = testbed.template()
    folder = testbed.folder()
    disk, copy = folder / "disk.img", folder / "copy.img"
    mount = folder / "mount"
    mount.mkdir()
    try:
        _format(disk)
        with _mounted(disk, mount):
            place = Place(mount / "case")
            shutil.copytree(template.place.root, place.root)
            os.sync()
            orders = Orders(eras=template.eras)
            outcome = testbed.call(_do_and_copy, action, place, disk, copy, orders=orders)
            if not outcome.ended_well:
                return [f"{action}: {outcome}"]
        with _mounted(copy, mount):
            after = testbed.reference(action).after
            place = Place(mount / "case")
            names = {Path(path).parent.name for path in template.before.exports}
            exports = {path: sha for path, sha in after.exports.items() if Path(path).parent.name in names}
            expected = actions.State(after.records, after.statuses, exports)
            return testbed.verify(place, expected, expected, template.eras)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _do_and_copy(action: str, place: Place, disk: Path, copy: Path) -> None:
    """Perform the action, and copy the disk before anything else happens."""
    with actions.opened(place) as store:
        ACTIONS[action](store, place)
        shutil.copyfile(disk, copy)


def _format(disk: Path) -> None:
    with disk.open("wb") as file:
        file.truncate(_MEGABYTES << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True, capture_output=True)


@contextmanager
def _mounted(disk: Path, folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", _OPTIONS, disk, folder], check=True, capture_output=True)
    try:
        yield
    finally:
        for _ in range(20):  # a killed process lets go of the mount a little later
            if subprocess.run(["umount", folder], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
