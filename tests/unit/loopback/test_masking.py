import base64
from pathlib import Path

import pytest

from tests.loopback.runner.masking import Masking, masks, write_private


@pytest.mark.parametrize(
    "shape",
    [
        'p w"/x\n2nd',
        "2nd",
        "p%20w%22%2Fx",
        'p w\\"/x',
        base64.b64encode(b'p w"/x\n2nd').decode(),
        base64.b64encode(b' w"/x\n2nd').decode(),
    ],
)
def test_a_secret_is_known_by_its_lines_and_by_its_usual_encodings(shape: str) -> None:
    assert any(mask in f"..{shape}.." for mask in masks(['p w"/x\n2nd']))
    assert not any(mask in f"..{shape}.." for mask in masks(["something else"]))


def test_an_empty_secret_hides_nothing_and_longer_masks_come_first() -> None:
    assert masks([""]) == []
    found = masks(["ab", "abcdef"])
    assert found == sorted(found, key=len, reverse=True)


def test_a_mask_that_comes_later_hides_from_then_on(tmp_path: Path) -> None:
    masking = Masking({"PASSWORD": "one", "EMPTY": ""}, tmp_path / "masks.json")
    assert masking.masked("one two") == "*** two"
    masking.add("two")
    assert masking.masked("one two") == "*** ***"
    assert '"two"' in (tmp_path / "masks.json").read_text()


def test_a_private_file_is_for_its_owner_alone_even_where_there_was_another(tmp_path: Path) -> None:
    file = tmp_path / "secrets.yml"
    file.touch(mode=0o644)
    assert write_private(file, {"A": "ü"}) == file
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text(encoding="utf-8") == '{"A": "ü"}'
