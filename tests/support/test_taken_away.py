"""A negative control's replacement is used, or the control fails: never a pass or a failure by chance."""

from __future__ import annotations

import pytest

from sigprobe.protocol import batches
from sigprobe.upload import batch_size
from tests.support.at_import import copies, readers
from tests.support.taken_away import hold_patch, hold_read, taken_away


@pytest.mark.slow
def test_a_constant_copied_by_a_default_is_found() -> None:
    """A dataclass default copies a constant at import, so a new value of the constant is not read there."""
    assert [at.partition(":")[0] for at in copies("sigprobe.upload.batch_size", "LARGEST_BATCH")] == [
        "sigprobe.upload.batch_size"
    ]
    fault = pytest.raises(AssertionError, match=r"nothing in the package reads .*LARGEST_BATCH")
    with fault, taken_away(batch_size, "LARGEST_BATCH", 5):
        raise AssertionError("the block must not run")


@pytest.mark.slow
def test_a_name_copied_by_another_module_is_found() -> None:
    """`from module import name` copies; `module.name` in a function body reads."""
    assert readers("sigprobe.protocol.batches", "read_receipt")
    assert not copies("sigprobe.protocol.batches", "read_receipt")
    with pytest.raises(AssertionError, match=r"SMALL_BATCH is copied at import by sigprobe\.upload\.drain:\d+"):
        hold_read("sigprobe.upload.batch_size", "SMALL_BATCH")
    hold_read("sigprobe.upload.batch_size", "SMALL_BATCH", ("sigprobe.upload.drain",))


def test_a_function_must_be_called() -> None:
    """A replaced function that nothing called has taken nothing away, whatever else went wrong in the block."""
    fault = pytest.raises(AssertionError, match="read_problem was replaced, but never called")
    with fault, taken_away(batches, "read_problem", lambda *_: None):
        raise ValueError("another reason")
    before = batches.read_problem
    with taken_away(batches, "read_problem", lambda *_: "used"):
        assert batches.read_problem(0, None, b"") == "used"  # type: ignore[comparison-overlap]
    assert batches.read_problem is before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        ("from sigprobe.upload import batch_size\nbatch_size.TARGET_S = 1.0\n", "nothing in the package reads"),
        ("from sigprobe.upload import batch_size\nbatch_size.GONE = 1.0\n", "has no GONE"),
        ("x = 1\n", "replaces nothing"),
    ],
)
def test_a_patch_for_another_process_is_checked(patch: str, fault: str) -> None:
    """The text of a patch is checked before the process starts."""
    with pytest.raises(AssertionError, match=fault):
        hold_patch(patch)
    assert hold_patch("") == ""
