"""A wheel built from a clean clone, without the network, speaks both languages and holds all its data."""

from __future__ import annotations

import gettext
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.system("git", "git")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built with what is installed here: no isolation, no index."""
    base = tmp_path_factory.mktemp("wheel")
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, base / "clone"], check=True)
    assert not list((base / "clone").rglob("*.mo")), "compiled catalogues must not be committed"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    made = subprocess.run(
        [*command, "--wheel-dir", base / "out", base / "clone"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (path,) = (base / "out").glob("sigprobe-*.whl")
    return zipfile.ZipFile(path)


def test_holds_its_data(wheel: zipfile.ZipFile) -> None:
    """Profiles, templates, the typing marker and both compiled catalogues are inside; tests are not."""
    names = set(wheel.namelist())
    for name in (
        "sigprobe/py.typed",
        "sigprobe/record/profiles/sirekap-need.yaml",
        "sigprobe/words/locale/id/LC_MESSAGES/sigprobe.mo",
        "sigprobe/words/locale/en/LC_MESSAGES/sigprobe.mo",
    ):
        assert name in names
    assert any(name.startswith("sigprobe/collector/web/templates/") for name in names)
    assert not any(name.startswith(("tests/", "tools/")) for name in names)


def test_speaks_indonesian(wheel: zipfile.ZipFile) -> None:
    """The catalogue from the wheel translates a sentence of the table."""
    mo = wheel.read("sigprobe/words/locale/id/LC_MESSAGES/sigprobe.mo")
    catalogue = gettext.GNUTranslations(io.BytesIO(mo))
    assert catalogue.gettext("The storage is full. THE RESULT WAS NOT SAVED.") == (
        "Ruang penyimpanan penuh. HASIL TIDAK TERSIMPAN."
    )
    assert catalogue.ngettext("{n} waiting", "{n} waiting", 5) == "{n} menunggu"
