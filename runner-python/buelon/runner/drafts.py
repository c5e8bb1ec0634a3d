"""The file into which a returned table is written. The worker is told how far it is, and stores that part meanwhile."""

from . import frames

_TOLD_BYTES_MIN = 1 << 20
"""Size from which on a table is worth that."""


class Draft:
    """A file to be, and who is told of it."""

    __slots__ = ("path", "_name", "_tell", "_told_bytes")

    def __init__(self, path, name, tell):
        self.path = path
        self._name = name
        self._tell = tell
        self._told_bytes = 0

    def written(self, size_bytes):
        """Says that so many bytes of the file stay as they are."""
        if self._tell is None or size_bytes < max(_TOLD_BYTES_MIN, self._told_bytes + 1):
            return
        self._told_bytes = size_bytes
        try:
            self._tell(frames.to_line(frames.draft(self._name, size_bytes)))
        except OSError:
            # Whoever is gone needs nothing of it.
            self._tell = None
