import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from bridge.image.builders.layered.layers import EPOCH, below, pack, parted


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}", encoding="utf-8")
    (folder / "data" / "weights").write_bytes(bytes(range(256)) * 40_000)
    (folder / "data" / "latest").symlink_to("weights")
    return folder


def packed(model: Path, to: Path) -> dict[str, str | int]:
    return pack(below(str(model), "opt/ml/model"), str(to), 10001)


def test_the_same_files_at_another_time_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    first = packed(model, tmp_path / "1")
    os.utime(model / "MLmodel", (1, 1))
    (model / "MLmodel").chmod(0o600)
    assert packed(model, tmp_path / "2") == first
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_other_content_gives_another_digest(model: Path, tmp_path: Path) -> None:
    first = packed(model, tmp_path / "1")
    (model / "MLmodel").write_text("flavors: []", encoding="utf-8")
    assert packed(model, tmp_path / "2")["diff_id"] != first["diff_id"]


def test_the_digests_are_of_the_file_and_of_what_is_in_it(model: Path, tmp_path: Path) -> None:
    said = packed(model, tmp_path / "layer")
    content = (tmp_path / "layer").read_bytes()
    assert said["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert said["diff_id"] == f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}"
    assert said["size"] == len(content)


def test_all_is_there_and_belongs_to_the_user_that_serves_it(model: Path, tmp_path: Path) -> None:
    packed(model, tmp_path / "layer")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress((tmp_path / "layer").read_bytes()))) as tar:
        names, entries = tar.getnames(), tar.getmembers()
        weights = tar.extractfile("opt/ml/model/data/weights")
        assert weights is not None
        assert weights.read() == (model / "data" / "weights").read_bytes()
    inside = ["", "/MLmodel", "/data", "/data/latest", "/data/weights"]
    assert names == ["opt/ml", *(f"opt/ml/model{each}" for each in inside)]
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(10001, 10001, EPOCH)}
    assert {entry.mode for entry in entries if entry.isfile()} == {0o644}


def tree(folder: Path, sizes: dict[str, int]) -> list[tuple[str, str]]:
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
    return [(str(folder / name), f"{folder}/{name}".lstrip("/")) for name in sizes]


def test_parts_are_about_as_large_as_each_other_and_together_hold_all_in_order(tmp_path: Path) -> None:
    entries = tree(tmp_path, {f"a/{place:02}": 100 for place in range(12)})
    parts = parted(entries, 3)
    names = [[entry for entry in part if entry in entries] for part in parts]
    assert [len(part) for part in names] == [4, 4, 4]
    assert [entry for part in names for entry in part] == entries


def test_each_part_begins_with_the_folders_that_its_files_lie_in(tmp_path: Path) -> None:
    for part in parted(tree(tmp_path, {"a/b/1": 5, "a/b/2": 5, "a/c/3": 5}), 3):
        seen: set[str] = set()
        for path, name in part:
            assert path == f"/{name}"
            assert not Path(name).parent.parts or str(Path(name).parent) in seen
            seen.add(name)


def test_one_large_file_makes_no_empty_part(tmp_path: Path) -> None:
    entries = tree(tmp_path, {"1": 1000, "2": 1, "3": 1})
    assert [[entry for entry in part if entry in entries] for part in parted(entries, 3)] == [
        [each] for each in entries
    ]
    assert parted([], 3) == []
