"""Layers as files: the same content gives the same bytes, whoever packs it and whenever.

Runs on the runner, for the model, and inside the build as a script, under any Python from 3.8 on: it imports nothing of
ours. Compressed in independent pieces (RFC 1952 allows several members), so that all cores work.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

EPOCH = 315532800
"""1980-01-01, the first time that a zip archive can hold."""
_PIECE = 1 << 22
_LEVEL = 1
"""zlib's fastest: the highest takes four times as long to save a seventh of the bytes."""
_PARTS = 6
"""An engine fetches three layers at a time and unpacks one after another: of small ones, the first is there sooner."""
_NEVER = (
    "proc", "sys", "dev", "run", "tmp", "root", "var/tmp", "var/cache", "var/log", "var/lib/apt",
    "etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/mtab", ".dockerenv",
)  # fmt: skip
"""Not part of an image, or what installing leaves lying about: caches, logs, lists of packages."""


class _Compressed:
    """A file to write a tar to, which is compressed on its way; knows the digests of both."""

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor) -> None:
        self._file, self._pool = file, pool
        self._buffer = bytearray()
        self._waiting: deque[Future[bytes]] = deque()
        self.plain, self.packed, self.size = hashlib.sha256(), hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._buffer += data
        while len(self._buffer) >= _PIECE:
            self._hand_over(_PIECE)
        return len(data)

    def finish(self) -> None:
        self._hand_over(len(self._buffer))
        while self._waiting:
            self._take()

    def _hand_over(self, length: int) -> None:
        piece = bytes(self._buffer[:length])
        del self._buffer[:length]
        self.plain.update(piece)
        self._waiting.append(self._pool.submit(_gzip, piece))
        if len(self._waiting) > 8:
            self._take()

    def _take(self) -> None:
        packed = self._waiting.popleft().result()
        self.packed.update(packed)
        self.size += len(packed)
        self._file.write(packed)


def _gzip(piece: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(piece) + packer.flush()


def pack(entries: Iterable[tuple[str, str]], to: str, owner: int | None = None) -> dict[str, str | int]:
    """Write the files, given as (where they lie, name in the layer), compressed to `to`; give digests and size.

    Times are `EPOCH`. With an owner everything is theirs, and readable by them; without, owners stay as they are.
    """
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool, open(to, "wb") as file:  # noqa: PTH123  3.8
        sink = _Compressed(file, pool)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]  # has write()
            for path, name in entries:
                _add(tar, path, name, owner)
        sink.finish()
    return {
        "diff_id": f"sha256:{sink.plain.hexdigest()}",
        "digest": f"sha256:{sink.packed.hexdigest()}",
        "size": sink.size,
    }


def _add(tar: tarfile.TarFile, path: str, name: str, owner: int | None) -> None:
    said = os.lstat(path)
    entry = tarfile.TarInfo(name)
    entry.mtime, entry.mode = EPOCH, said.st_mode & 0o7777
    entry.uid, entry.gid = (said.st_uid, said.st_gid) if owner is None else (owner, owner)
    if os.path.islink(path):  # noqa: PTH114  a str, for speed
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(path), 0o777  # noqa: PTH115
        tar.addfile(entry)
    elif os.path.isdir(path):  # noqa: PTH112
        entry.type = tarfile.DIRTYPE
        entry.mode = entry.mode if owner is None else 0o755
        tar.addfile(entry)
    elif os.path.isfile(path):  # noqa: PTH113
        entry.size = said.st_size
        entry.mode = entry.mode if owner is None else 0o755 if entry.mode & 0o100 else 0o644
        with open(path, "rb") as file:  # noqa: PTH123
            tar.addfile(entry, file)


def below(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    """Give a folder with all that is below it, sorted, under the name `prefix`.

    The folder that `prefix` is in comes first: an engine would make it itself, and for root alone.
    """
    yield folder, os.path.dirname(prefix)  # noqa: PTH120
    yield folder, prefix
    for path, name in _walk(folder):
        yield path, f"{prefix}/{name}"


def changed(since: float, *, bytecode: bool = False) -> Iterator[tuple[str, str]]:
    """Give what has changed in this file system since then, sorted; without what does not belong in an image.

    Bytecode and all else are given apart, for one is still being written when the other can be packed.
    """
    for path, name in _walk("/", skip=_NEVER):
        if ("__pycache__" in name.split("/")) is bytecode and os.lstat(path).st_ctime > since:
            yield path, name


def _walk(folder: str, name: str = "", skip: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        inside = f"{name}/{entry.name}" if name else entry.name
        if inside in skip:
            continue
        yield entry.path, inside
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, inside, skip)


def parted(entries: Iterable[tuple[str, str]], parts: int) -> list[list[tuple[str, str]]]:
    """Divide entries of `/` into at most that many parts of about the same bytes, in order.

    Each part begins with the folders that what is in it lies in: an engine would make them itself, for root alone.
    """
    found = list(entries)
    sizes = [os.lstat(path).st_size for path, _ in found]
    share, filled = sum(sizes) / parts, 0
    divided: list[dict[str, str]] = []
    for (path, name), size in zip(found, sizes):  # noqa: B905  3.8
        if not divided or filled >= share * len(divided):
            divided.append({})
        words = name.split("/")
        for place in range(1, len(words)):
            above = "/".join(words[:place])
            divided[-1].setdefault(above, f"/{above}")
        divided[-1][name] = path
        filled += size
    return [[(path, name) for name, path in part.items()] for part in divided]


def main(mark: str, folder: str, what: str) -> None:
    """Pack what is newer than the file `mark` into layers in `folder`, layer-N.tar.gz.

    `what` is `files` or `bytecode`. Names sort in the order of the layers.
    """
    bytecode = what == "bytecode"
    entries = changed(os.lstat(mark).st_ctime, bytecode=bytecode)
    for place, part in enumerate(parted(entries, 1 if bytecode else _PARTS)):
        name = os.path.join(folder, f"layer-{9 if bytecode else place}")  # noqa: PTH118
        pack(part, f"{name}.tar.gz")


if __name__ == "__main__":
    main(*sys.argv[1:])
