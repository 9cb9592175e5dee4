"""The soft limit of open files is raised to what the system allows."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from sigprobe.collector.serve import raise_file_limit
print(raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.process
@pytest.mark.parametrize(("soft", "hard"), [(256, 1024), (1024, 1024)], ids=["raised", "nothing to raise"])
def test_a_low_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int) -> None:
    """In a process of its own, since a hard limit cannot be raised again."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed != resource.RLIM_INFINITY and allowed < hard:
        pytest.skip(f"this system allows {allowed} open files")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(soft), str(hard)], capture_output=True, text=True, check=True, timeout=60
    )
    assert [int(word) for word in done.stdout.split()] == [1024, 1024, 1024]
