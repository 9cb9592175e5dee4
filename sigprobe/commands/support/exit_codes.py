"""Exit codes of the command line; docs/reliability.md and the help of each command name them."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
BELOW_THRESHOLD: Final = 3
NOT_ACKNOWLEDGED: Final = 4
SECOND_AGENT: Final = 5
NOT_SAVED: Final = 6
INTERRUPTED: Final = 130
"""After Ctrl-C."""
TERMINATED: Final = 143
"""After SIGTERM, in the middle of work."""
