"""A volume as the kubelet lays it out for a Secret, a ConfigMap or a projection of several.

Its files are links by way of `..data`, and that is a link to a folder of the day: to change
anything, all is written anew beside it, and the one link replaced by rename
(https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter).
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


class Volume:
    """A folder to mount."""

    def __init__(
        self, folder: Path, files: Mapping[str, str], mode: int = 0o644, group: int = -1
    ) -> None:
        self.folder = folder
        self._mode, self._group = mode, group
        self._days = itertools.count(1)
        folder.mkdir()
        self.swap(files)
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")

    def swap(self, files: Mapping[str, str]) -> None:
        """Put other contents in place of all."""
        link = self.folder / "..data"
        old = link.resolve() if link.exists() else None
        today = self.folder / f"..2026_11_{next(self._days):02}"
        today.mkdir(mode=0o755)
        for name, value in files.items():
            self._write(today / name, value)
        new = self.folder / "..data_tmp"
        new.symlink_to(today.name)
        new.replace(link)
        if old is not None:
            shutil.rmtree(old)

    def _write(self, path: Path, value: str) -> None:
        path.write_text(value)
        path.chmod(self._mode)
        if os.getuid() == 0:
            os.chown(path, -1, self._group)
