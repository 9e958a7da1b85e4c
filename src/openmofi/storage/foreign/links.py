"""Folders that others made, and links in them that lead to files of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from openmofi.errors import OpenMofiError


def require_inside(folder: Path) -> None:
    """Refuse a folder with a link that leads out of it.

    What is read would be a file of the user's that the folder's maker chose, and travels on with copies and exports.
    The hub's cache consists of links to the blobs beside its snapshots, which belong to the repository.

    Raises:
        OpenMofiError: there is such a link.
    """
    root = (folder.parent.parent if folder.parent.name == "snapshots" else folder).resolve()
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and not (target := path.resolve()).is_relative_to(root):
                raise OpenMofiError(
                    f"{path} is a link out of its folder, to {target}.",
                    "Put a copy in its place, if the file belongs there.",
                )
