"""Which files may keep whoever looks at them waiting, told without a look at one of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.credentials import mounts
from relay.credentials.mounts import may_hang

Mount = Callable[[str, str], None]


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mount:
    """Mount something below the test's folder, in the table that the kernel would show."""
    table = tmp_path / "mountinfo"
    lines = ["1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw"]
    monkeypatch.setattr(mounts, "_MOUNTS", table)

    def mount(point: str, kind: str) -> None:
        where = f"{tmp_path}/{point}".replace(" ", "\\040")
        lines.append(f"9 1 0:9 / {where} rw shared:7 master:1 - {kind} server:/share rw")
        table.write_text("\n".join(lines))

    mount("local", "tmpfs")
    return mount


@pytest.mark.parametrize(
    ("kind", "served"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse", "9p")),
        *((kind, True) for kind in ("virtiofs", "fakeowner", "autofs", "ceph", "unheard-of")),
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "vfat")),
    ],
)
def test_file_systems_that_somebody_serves_are_known(
    tmp_path: Path, mount: Mount, kind: str, served: bool
) -> None:
    """Those that nobody has heard of count as served."""
    mount("share", kind)
    for name in ("share", "share/key", "share/deep/below/key"):
        assert may_hang(f"{tmp_path}/{name}") is served
    for name in ("key", "shares/key", "sharekey"):
        assert not may_hang(f"{tmp_path}/{name}")


def test_what_is_mounted_below_or_above_counts_by_itself(tmp_path: Path, mount: Mount) -> None:
    """A mount in a mount, however it is spelled in the table."""
    mount("share", "nfs4")
    mount("share/own", "tmpfs")
    mount("with a space", "nfs4")
    assert may_hang(f"{tmp_path}/share/own/key")  # the way there leads through the share
    assert may_hang(f"{tmp_path}/with a space/key")
    mount("share", "ext4")
    assert not may_hang(f"{tmp_path}/share/own/key")


def test_links_are_followed_step_by_step(tmp_path: Path, mount: Mount) -> None:
    """A key may be a link, as Kubernetes makes them, and so may any folder on the way."""
    mount("share", "nfs4")
    for name, target in {
        "key": "share/key",
        "absolute": f"{tmp_path}/share/key",
        "folder": "share",
        "again": "key",
        "around": "local/../share/key",
        "fine": "local/key",
    }.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "up").symlink_to("../share/key")
    for name in ("key", "absolute", "folder/key", "again", "around", "local/up", "./key"):
        assert may_hang(f"{tmp_path}/{name}"), name
    assert may_hang(f"{tmp_path}/share/../fine")  # the kernel goes there and back
    for name in ("fine", "local/key", "local/../fine"):
        assert not may_hang(f"{tmp_path}/{name}"), name


def test_links_without_an_end_come_to_one(tmp_path: Path, mount: Mount) -> None:
    """The kernel follows forty."""
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert not may_hang(f"{tmp_path}/one")


def test_nothing_on_a_served_file_system_is_looked_at(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That look would be the one that hangs."""
    mount("share", "nfs4")
    (tmp_path / "key").symlink_to("share/key")
    read_link = os.readlink

    def look(place: str) -> str:
        assert not place.startswith(f"{tmp_path}/share")
        return read_link(place)

    monkeypatch.setattr(os, "readlink", look)
    assert may_hang(f"{tmp_path}/key")
    assert may_hang(f"{tmp_path}/share/key")


def test_real_table_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's; and where there is none, files are what they always were."""
    assert mounts._mounts()["/"]
    assert not may_hang("/proc/self/status")
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "nowhere")
    assert not may_hang("/proc/self/status")


def test_relative_paths_begin_where_the_process_is(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they do for whoever opens them."""
    mount("share", "nfs4")
    monkeypatch.chdir(tmp_path)
    assert may_hang("share/key")
    assert not may_hang("key")
