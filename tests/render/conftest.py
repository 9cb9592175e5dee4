"""The screens need compiled catalogues, which a source tree does not have until it was built or installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigprobe.words import i18n

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session", autouse=True)
def catalogues() -> None:
    """Compile the catalogues of this tree."""
    spec = importlib.util.spec_from_file_location("build_catalogues", ROOT / "tools" / "build_catalogues.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module.compile_all()) == 2


@pytest.fixture
def speak() -> Iterator[Callable[[str], None]]:
    """Choose a language for one test."""
    before = i18n.language()
    yield i18n.set_language
    i18n.set_language(before)


@pytest.fixture(autouse=True)
def english(catalogues: None) -> Iterator[None]:
    """Begin each test in English."""
    i18n.set_language("en")
    yield
    i18n.set_language("en")
