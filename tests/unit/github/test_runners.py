import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.github.runners import RunnerUnavailable, RunsOn, RunsOnInvalid, check_owners, read_runs_on


@pytest.mark.parametrize(
    ("text", "runs_on"),
    [
        ("self-hosted", RunsOn(("self-hosted",))),
        ("My runner", RunsOn(("My runner",))),
        ('["self-hosted", "linux"]', RunsOn(("self-hosted", "linux"))),
        ('{"group": "models"}', RunsOn((), "models")),
        ('{"group": "org/models", "labels": "linux"}', RunsOn(("linux",), "org/models")),
        ('{"labels": ["linux", "x64"]}', RunsOn(("linux", "x64"))),
    ],
)
def test_a_label_a_list_and_a_group_are_read(text: str, runs_on: RunsOn) -> None:
    assert read_runs_on(text) == runs_on


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "label ", "[", "[]", '["a", 1]', '[""]', '["a"] x', "{", "{}", '{"group": ""}', '{"group": 1}'),
        *('{"group": null}', '{"labels": []}', '{"group": "g", "labels": null}', '{"group": "g", "label": "l"}'),
        *("{'group': 'models'}", "[self-hosted]", "[" * 100_000, '{"group": "g", "labels": {"a": 1}}'),
    ],
)
def test_a_text_that_selects_no_runner_is_refused(text: str) -> None:
    with pytest.raises(RunsOnInvalid) as raised:
        read_runs_on(text)
    assert "group" in raised.value.hint


@given(st.text('[]{}":, agrouplbes1', max_size=30))
def test_any_text_selects_runners_or_is_refused(text: str) -> None:
    with contextlib.suppress(RunsOnInvalid):
        assert read_runs_on(text) != RunsOn(())


@pytest.mark.parametrize(
    ("runs_on", "is_hosted"),
    [
        ("ubuntu-latest", True),
        ("ubuntu-24.04", True),
        ("ubuntu-24.04-arm", True),
        ('["ubuntu-22.04"]', True),
        ("ubuntu-gpu", False),
        ("self-hosted", False),
        ('["self-hosted", "ubuntu-latest"]', False),
        ('{"group": "models", "labels": "ubuntu-latest"}', False),
    ],
)
def test_only_githubs_standard_labels_are_hosted(runs_on: str, is_hosted: bool) -> None:
    assert read_runs_on(runs_on).is_hosted is is_hosted


@pytest.mark.parametrize(
    ("runs_on", "called", "caller", "works"),
    [
        ("ubuntu-latest", "one/bridge", "two/models", True),
        ("mine", "one/bridge", "One/models", True),
        ("mine", "one/bridge", "two/models", False),
        ("mine", "one/bridge", "", False),
        ('{"group": "g"}', "one/bridge", "two/models", False),
    ],
)
def test_a_self_hosted_runner_needs_one_owner(runs_on: str, called: str, caller: str, works: bool) -> None:
    with contextlib.nullcontext() if works else pytest.raises(RunnerUnavailable) as raised:
        check_owners(read_runs_on(runs_on), called, caller)
    if not works:
        assert raised is not None
        assert "--bridge ." in raised.value.hint
        assert f"{caller.partition('/')[0] or 'your-organization'}/bridge" in raised.value.hint
