import hashlib
import itertools
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.image.naming import InvalidImageName, alias_tag, former_slug, repository, slug

names = st.text(min_size=1, max_size=400)
component = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


SAME_SIX_DIGITS = ("churn!model_ eu;weekly", "churn=model(eu&Weekly")
"""Two names with the same remainder, whose SHA-256 begin with the same six digits; which takes seconds to find."""


def test_a_name_that_can_stand_in_an_image_name_stays_as_it_is() -> None:
    for name in ("iris-clf-eu", "a.b_c__d--e", "7", "iris-clf-12345", "facade", "a-" + "0" * 65):
        assert slug(name) == name
        assert former_slug(name) is None


def test_any_other_name_keeps_what_it_can_and_gets_a_hash() -> None:
    assert re.fullmatch(r"iris-clf-eu-[0-9a-f]{16}", slug("Iris Clf (EU)"))
    assert re.fullmatch(r"model-[0-9a-f]{16}", slug("模型"))
    assert re.fullmatch(r"model-[0-9a-f]{16}", slug("()"))
    assert former_slug("Iris Clf (EU)") == slug("Iris Clf (EU)")[:-10]


@pytest.mark.parametrize("digits", [6, 7, 12, 16, 40, 64])
def test_a_name_that_ends_like_a_slug_gets_a_hash_of_its_own(digits: int) -> None:
    name = "iris-clf-" + "0123456789abcdef"[:digits].ljust(digits, "0")
    assert re.fullmatch(rf"{name}-[0-9a-f]{{16}}", slug(name))
    assert former_slug(name) == name


def test_three_names_alike_get_an_image_each() -> None:
    assert len({slug(name) for name in ("Iris Clf (EU)", "iris-clf-eu", "模型", "IRIS-CLF-EU", "()")}) == 5


def test_two_names_that_share_six_digits_share_the_former_slug_and_not_the_slug() -> None:
    first, second = SAME_SIX_DIGITS
    assert former_slug(first) == former_slug(second)
    assert slug(first) != slug(second)


def test_a_search_that_finds_former_slugs_that_are_shared_finds_no_slug_that_is() -> None:
    """22,000 names with one remainder: enough for six digits, and 2^32 would be needed for sixteen."""
    ways = [" ", "  ", "_ ", " .", "(", ")", "+", "!", "?", "=", ",", ";", "'", "&"]
    words = [(word, word.upper()) for word in ("churn", "model", "eu")]
    names = {f"{a}{x}{b}{y}{c}{z}1" for a, b, c, x, y, z in itertools.product(*words, ways, ways, ways)}
    assert len({former_slug(name) for name in names}) < len(names)
    assert len({slug(name) for name in names}) == len(names)


@given(names)
def test_every_slug_can_stand_in_an_image_name(name: str) -> None:
    for component_name in (slug(name), former_slug(name) or "none"):
        assert component.fullmatch(component_name)
        assert len(component_name) <= 117


@given(names, st.integers(6, 64))
def test_a_model_that_is_named_as_anothers_slug_gets_another(name: str, digits: int) -> None:
    """Whatever is made of a name by this release, an earlier one or one with another number of digits."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    for attack in {slug(name), former_slug(name) or slug(name), f"{slug(name).rpartition('-')[0]}-{digest[:digits]}"}:
        assume(attack != name)
        assert slug(attack) != slug(name)


@given(names, names)
def test_two_names_have_two_slugs_though_groups_ignore_case(first: str, second: str) -> None:
    assume(first != second)
    assert slug(first).lower() != slug(second).lower()


@given(names, st.sampled_from([str.upper, str.title, lambda name: name + " "]))
def test_names_that_differ_little_get_slugs_of_their_own(name: str, change: object) -> None:
    other = change(name)  # type: ignore[operator]  # each sampled value takes a text
    assume(other != name)
    assert slug(other) != slug(name)


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
