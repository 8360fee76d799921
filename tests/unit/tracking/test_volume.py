"""The folder with the tracking data."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tracking import volume
from tracking.settings import FERNET_KEY
from tracking.volume import VolumeUnusable


def test_a_key_is_created_once_and_readable_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / volume.WEBHOOK_KEY
    key = volume.kept_key(file)
    assert FERNET_KEY.fullmatch(key)
    assert volume.kept_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [volume.WEBHOOK_KEY]


def test_all_that_create_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(volume.kept_key, [tmp_path / volume.WEBHOOK_KEY] * 64))
    assert len(keys) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"sentinel", b"\xff\xfe"])
def test_a_damaged_key_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / volume.WEBHOOK_KEY
    file.write_bytes(content)
    with pytest.raises(VolumeUnusable, match=r"webhook\.key") as caught:
        volume.kept_key(file)
    assert file.read_bytes() == content
    assert "sentinel" not in str(caught.value)


def test_checking_a_usable_folder_leaves_nothing_there(tmp_path: Path) -> None:
    volume.check(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_or_file_that_cannot_be_written_is_named_with_the_user(tmp_path: Path) -> None:
    with pytest.raises(VolumeUnusable, match=rf"{tmp_path}/gone .*{os.getuid()}:{os.getgid()}"):
        volume.check(tmp_path / "gone")
    (tmp_path / "mlflow.db").mkdir()  # root may write every file, but no folder
    with pytest.raises(VolumeUnusable, match=rf"{tmp_path}/mlflow\.db "):
        volume.check(tmp_path)


def test_the_configuration_of_users_contains_no_password(tmp_path: Path) -> None:
    text = volume.auth_config(tmp_path).read_text()
    assert f"sqlite:///{tmp_path}/basic_auth.db" in text
    assert "admin_username = admin" in text
    assert "password" not in text
