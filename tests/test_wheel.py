"""The wheel has one package, so that its names collide with no other."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from schemas.contacts import Contacts

pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, beside foreign packages with the names of the repository's packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for name in ("pipelines", "resources", "schemas"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text('raise ImportError("This package is a foreign one.")\n')
    return site


def python(site: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_has_one_package_and_names_the_command_in_it(site: Path) -> None:
    packages = {path.name for path in site.iterdir() if path.suffix != ".dist-info"}
    assert packages == {"records_exchange", "pipelines", "resources", "schemas"}, "the last three are foreign packages"
    (points,) = site.glob("*.dist-info/entry_points.txt")
    assert "records = records_exchange.pipelines.commands.start:main" in points.read_text()
    assert (site / "records_exchange/deploy/embedded/dagster.yaml").exists()


def test_its_command_imports_a_file_beside_packages_of_the_same_names(home: Path, site: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text("id,status\nC-1,lead\n")
    command = "from records_exchange.pipelines.commands.start import main; main()"
    python(site, command, "init")
    ended = python(site, command, "import", str(file), "-a", "ua", "-t", "contacts")
    assert ended.returncode == 0, ended.stderr
    assert "created    1" in ended.stdout


def test_its_definitions_and_record_types_are_in_the_package(home: Path, site: Path) -> None:
    code = """
from records_exchange.pipelines.commands.ui import _EMBEDDED, _WEB_SERVER, _WORKSPACE
from records_exchange.pipelines.definitions import defs
from records_exchange.schemas import load_model
print(_EMBEDDED.exists(), _WEB_SERVER[-1], _WORKSPACE["load_from"][0]["python_module"]["module_name"])
print(load_model("contacts").__module__, len(list(defs().get_repository_def().get_all_jobs())) > 5)
"""
    ended = python(site, code)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [
        *("True", "records_exchange.pipelines.web.server:main", "records_exchange.pipelines.definitions"),
        *("records_exchange.schemas.contacts", "True"),
    ]
    assert Contacts.__module__ == "schemas.contacts", "the repository keeps its names"
