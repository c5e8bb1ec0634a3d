"""The upload under the name that scripts of older versions import."""

from os import PathLike
from typing import Optional, Union

from buelon.client import Run, upload

__all__ = ["upload_pipe_code_from_file"]


def upload_pipe_code_from_file(path: "Union[str, PathLike[str]]", hub: Optional[str] = None) -> Run:
    """Uploads a script and the files of its folder, and returns at once. `Run.wait` waits for it."""
    return upload(path, hub=hub, wait=False)
