import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.naming import InvalidImageName, alias_tag, group, repository, slug

names = st.text(min_size=1, max_size=400)
component = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def test_a_name_that_can_stand_in_an_image_name_stays_as_it_is() -> None:
    assert [slug(name) for name in ("iris-clf-eu", "a.b_c__d--e", "7")] == ["iris-clf-eu", "a.b_c__d--e", "7"]


def test_any_other_name_keeps_what_it_can_and_gets_a_hash() -> None:
    assert re.fullmatch(r"iris-clf-eu-[0-9a-f]{6}", slug("Iris Clf (EU)"))
    assert re.fullmatch(r"model-[0-9a-f]{6}", slug("模型"))
    assert re.fullmatch(r"model-[0-9a-f]{6}", slug("()"))


def test_three_names_alike_get_an_image_each() -> None:
    assert len({slug(name) for name in ("Iris Clf (EU)", "iris-clf-eu", "模型", "IRIS-CLF-EU", "()")}) == 5


@given(names)
def test_every_slug_can_stand_in_an_image_name(name: str) -> None:
    assert component.fullmatch(slug(name))
    assert len(slug(name)) <= 107


@given(names, names)
def test_groups_of_two_models_differ_though_group_names_ignore_case(one: str, other: str) -> None:
    assume(one != other)
    assert group(one).lower() != group(other).lower()


@given(names, st.sampled_from([str.upper, str.title, lambda name: name + " "]))
def test_names_that_differ_little_get_groups_and_slugs_of_their_own(name: str, change: object) -> None:
    other = change(name)  # type: ignore[operator]  # each sampled value takes a text
    assume(other != name)
    assert slug(other) != slug(name)
    assert group(other) != group(name)


def test_registry_and_namespace_are_put_before_the_slug_in_lower_case() -> None:
    assert repository("ghcr.io", "Octo/Models", "iris") == "ghcr.io/octo/models/iris"
    assert repository("127.0.0.1:5000", "", "iris") == "127.0.0.1:5000/iris"
    assert repository("[::1]:5000", "/a/", "iris") == "[::1]:5000/a/iris"


@pytest.mark.parametrize(
    "registry",
    ["", "https://ghcr.io", "ghcr.io/octo", "ghcr.io/", "GHCR.io", "harbor", "a b", "x\ny", "ghcr.io:port", "-x"],
)
def test_a_registry_that_is_no_host_is_refused_by_name(registry: str) -> None:
    with pytest.raises(InvalidImageName, match="DOCKER_REGISTRY"):
        repository(registry, "octo", "iris")


@pytest.mark.parametrize("namespace", ["a//b", "a b", "../x", "a/-b", "ä", "a:b", "a@b"])
def test_a_namespace_that_can_not_stand_in_a_name_is_refused_by_name(namespace: str) -> None:
    with pytest.raises(InvalidImageName, match="DOCKER_NAMESPACE"):
        repository("ghcr.io", namespace, "iris")


@pytest.mark.parametrize("alias", ["champion", "v1.2", "A_b-c", "_x", "7a", "a" * 128])
def test_an_alias_that_is_a_tag_stays_as_it_is(alias: str) -> None:
    assert alias_tag(alias) == alias


@pytest.mark.parametrize("alias", ["7", "007", "-x", ".x", "sha256-abc", "a b", "é", "a" * 129, "", "a\n", "٧"])
def test_an_alias_that_would_be_taken_for_something_else_is_no_tag(alias: str) -> None:
    assert alias_tag(alias) is None
