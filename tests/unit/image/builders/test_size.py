import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.builders.size import ImageTooLarge, check_size, size_limit
from bridge.image.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "size"), [("", None), ("500 MB", 500_000_000), ("2.5GB", 2_500_000_000), ("1.001 GB", 1_001_000_000)]
)
def test_a_limit_is_a_number_with_its_unit(text: str, size: int | None) -> None:
    assert size_limit(text) == size


@pytest.mark.parametrize("text", ["5", "5GiB", "-1 GB", "0 MB", "1e9 GB", "١ GB", "1 GB\n", "lots"])
def test_what_is_no_size_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"with MB or GB, such as 2\.5 GB"):
        size_limit(text)


@given(st.text())
def test_any_text_is_a_limit_or_our_error(text: str) -> None:
    try:
        limit = size_limit(text)
    except BridgeError:
        return
    assert limit is None or limit > 0


def test_an_image_of_the_limits_size_passes_and_a_byte_more_does_not() -> None:
    check_size("iris:7", 10**9, size_limit("1 GB"))
    check_size("iris:7", 10**12, None)
    with pytest.raises(ImageTooLarge, match=r"iris:7 has 1\.00 GB"):
        check_size("iris:7", 10**9 + 1, size_limit("1 GB"))
