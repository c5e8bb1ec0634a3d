"""What the process of a step says of the bounds that it meets."""

import errno

import pytest

from buelon.runner import bounds


@pytest.mark.parametrize(
    "limit, told",
    [
        (64 * 10**6, "64 MB"),
        (64 << 20, "64 MiB"),
        (1_500_000_000, "1500 MB"),
        (2 << 30, "2 GiB"),
        (16_000_001, "16000001 bytes"),
    ],
)
def test_a_bound_is_told_as_it_was_written(monkeypatch, limit, told):
    monkeypatch.setattr(bounds, "_limit", lambda _: limit)
    assert bounds.met(MemoryError()) == ("memory", f"each process of the step may use {told}: `!memory` sets how much")
    kind, sentence = bounds.met(OSError(errno.EFBIG, "File too large"))
    assert (kind, told in sentence) == ("disk", True)
