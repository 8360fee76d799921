"""The folder with the tracking data."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tracking import volume
from tracking.settings import is_fernet_key


def test_a_key_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / volume.WEBHOOK_KEY
    key = volume.kept_key(file)
    assert is_fernet_key(key)
    assert volume.kept_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [volume.WEBHOOK_KEY]


def test_of_many_that_make_the_key_at_once_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(volume.kept_key, [tmp_path / volume.WEBHOOK_KEY] * 64))
    assert len(keys) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"sentinel", b"\xff\xfe"])
def test_a_damaged_key_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / volume.WEBHOOK_KEY
    file.write_bytes(content)
    with pytest.raises(volume.VolumeUnusable, match=r"webhook\.key") as told:
        volume.kept_key(file)
    assert file.read_bytes() == content
    assert "sentinel" not in str(told.value)


def test_a_folder_that_can_be_written_has_no_problem(tmp_path: Path) -> None:
    assert volume.problems(tmp_path, str(tmp_path / "mlflow.db")) == ()
    assert list(tmp_path.iterdir()) == []


def test_each_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = volume.problems(tmp_path / "one", str(tmp_path / "two/mlflow.db"))
    user = f"can't be written by user {os.getuid()}:{os.getgid()} (No such file or directory): "
    assert [line.partition(user)[0].strip() for line in said] == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_the_configuration_of_users_holds_no_password(tmp_path: Path) -> None:
    text = volume.auth_config(tmp_path).read_text()
    assert f"sqlite:///{tmp_path}/basic_auth.db" in text
    assert "admin_username = admin" in text
    assert "password" not in text
