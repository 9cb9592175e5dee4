"""Compile the catalogues: the wheel's build hook, and a script for a source tree (`python tools/build_catalogues.py`).

The compiled files are not committed, so a build from a clean clone must make them; that is what the hook is for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

if TYPE_CHECKING:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    Hook = BuildHookInterface[Any]
else:
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook
    except ImportError:  # the script needs Babel alone
        Hook = object

ROOT = Path(__file__).resolve().parent.parent
PATTERN = "sigprobe/words/locale/*/LC_MESSAGES/sigprobe.po"


def compile_all(root: Path = ROOT) -> list[Path]:
    """Compile every catalogue below `root` beside its source; returns what was written.

    Each file is replaced in one step, since another process may be reading it. A translation that repeats its message
    is left out, which is nearly all of English: reading them takes a tenth of the time of `sigprobe --help`.
    """
    written = []
    for source in sorted(root.glob(PATTERN)):
        with source.open("rb") as file:
            catalogue = read_po(file, locale=source.parts[-3], abort_invalid=True)
        for message in list(catalogue):
            if message.id and message.id == message.string:
                catalogue.delete(message.id, message.context)
        target = source.with_suffix(".mo")
        draft = target.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("wb") as file:
            write_mo(file, catalogue)
        draft.replace(target)
        written.append(target)
    return written


class CustomBuildHook(Hook):
    """Hatchling's hook, for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files of the build are collected."""
        del version, build_data
        compile_all(Path(self.root))


if __name__ == "__main__":
    made = compile_all()
    for path in made:
        print(path.relative_to(ROOT))
    sys.exit(0 if made else 1)
