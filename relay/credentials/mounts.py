"""Which files may keep whoever looks at them waiting: those that others serve.

A file system on a network, or one that another process or the host of a virtual machine answers
for, holds a system call until it is answered, if ever. What is one is told by the kernel's table
of mounts, and by looking at nothing that is on one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# On disks and in memory. All others count as served by somebody: NFS, SMB, FUSE, 9p, virtiofs,
# Docker Desktop's shared folders, and automounts, which become one when they are looked at.
_OWN: Final = frozenset(
    (
        *("aufs", "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus"),
        *("iso9660", "jfs", "ntfs3", "reiserfs", "squashfs", "udf", "vfat", "xfs", "zfs"),
        *("overlay", "ramfs", "rootfs", "tmpfs"),
        *("cgroup", "cgroup2", "devpts", "devtmpfs", "mqueue", "proc", "sysfs"),
    )
)
_MOUNTS: Final = Path("/proc/self/mountinfo")
_LINK_LIMIT: Final = 40  # path_resolution(7)


def may_hang(path: str) -> bool:
    """Whether a look at this file may take for as long as somebody else likes."""
    mounts = _mounts()
    place = "/"
    steps = os.path.join(os.getcwd(), path).split("/")[::-1]  # noqa: PTH109, PTH118
    links = 0
    while steps and links <= _LINK_LIMIT:
        step = steps.pop()
        place = os.path.normpath(os.path.join(place, step))  # noqa: PTH118
        if _kind_at(place, mounts) not in _OWN:
            return True
        target = _link_at(place)
        if target:
            links += 1
            place = "/" if target.startswith("/") else os.path.dirname(place)  # noqa: PTH120
            steps += target.split("/")[::-1]
    return False


def _link_at(place: str) -> str:
    try:
        return os.readlink(place)  # noqa: PTH115
    except OSError:
        return ""


def _kind_at(place: str, mounts: Mapping[str, str]) -> str:
    """Return the kind of the file system that a path is on, by name alone."""
    while place not in mounts and place != "/":
        place = os.path.dirname(place)  # noqa: PTH120
    return mounts.get(place, "rootfs")


def _mounts() -> dict[str, str]:
    """Return the kind of file system at each mount point (proc_pid_mountinfo(5))."""
    try:
        lines = os.fsdecode(_MOUNTS.read_bytes()).splitlines()
    except OSError:
        return {}
    rows = [line.split(" ") for line in lines]
    return {_unescaped(row[4]): row[row.index("-", 6) + 1] for row in rows}


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
