import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.events import EventKind
from bridge.core.routes_file import MAX_FILE, RoutesInvalid, read
from bridge.core.routing import DispatchMethod, Route

WRONG = '''\
# [[route]] in a comment begins none
[[route]]
name = "first"
events = ["model_version.created",
  "nonsense"]
repository = "bad"

[[ route ]]   # second
alias = "champion"
events = ["model_version.created"]
model = """
[[route]]
repository = 7
"""
dispatch = "workflow_dispatch"
event_type = "x"
colour = 1
[route.inputs]
base-image = 7
push-to = "sentinel"
smoke-test = "none"

[[route]]
name = "first"
repository = "owner/models"
tag = "image.uri"
ref = "main"
'''


def routes(text: str) -> tuple[Route, ...]:
    return read(text, name="routes.toml", event_type="mlflow-model-version")


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(RoutesInvalid) as refused:
        routes(text)
    return refused.value.problems


def test_a_route_needs_a_repository_alone() -> None:
    assert routes('[[route]]\nrepository = "owner/models"') == (
        Route("route 1", "owner/models", "mlflow-model-version"),
    )


def test_everything_that_a_route_may_say_is_read() -> None:
    text = """
        [[route]]
        name = "champions"
        events = ["model_version_alias.created"]
        model = "iris-*"
        alias = "champ*"
        repository = "owner/.github"
        dispatch = "workflow_dispatch"
        workflow = "on-mlflow-event.yml"
        ref = "release/1"
        [route.inputs]
        builder = "mlflow"
        base-image = "python:3.12-slim"
        platforms = "linux/amd64,linux/arm64"
        smoke-test = "ping"

        [[route]]
        tag = "stage"
        repository = "owner_corp/models"
        event_type = "tagged"
        """
    assert routes(text) == (
        Route(
            "champions",
            "owner/.github",
            "mlflow-model-version",
            frozenset({EventKind.ALIAS_CREATED}),
            model="iris-*",
            alias="champ*",
            inputs={
                "builder": "mlflow",
                "base-image": "python:3.12-slim",
                "platforms": "linux/amd64,linux/arm64",
                "smoke-test": "ping",
            },
            dispatch=DispatchMethod.WORKFLOW,
            workflow="on-mlflow-event.yml",
            ref="release/1",
        ),
        Route("route 2", "owner_corp/models", "tagged", frozenset({EventKind.TAG_SET}), tag="stage"),
    )


def test_a_route_of_an_alias_or_a_tag_takes_their_events_without_naming_them() -> None:
    alias, tag = routes('[[route]]\nrepository="o/m"\nalias="a"\n[[route]]\nrepository="o/m"\ntag="t"')
    assert alias.kinds == frozenset({EventKind.ALIAS_CREATED})
    assert tag.kinds == frozenset({EventKind.TAG_SET})


def test_everything_that_is_wrong_is_named_at_once_by_line_key_and_mend() -> None:
    told = problems(WRONG)
    assert [line.removeprefix("routes.toml:").split(" is ")[0] for line in told] == [
        "4: events",
        "6: repository",
        "8: ref",
        "8: repository",
        "8: workflow",
        "9: alias",
        "16: event_type",
        "17: colour",
        "19: base-image",
        "20: push-to",
        "21: smoke-test",
        "24: name",
        "26: tag fits only tags of the runs' own (image.*), which are never dispatched: give another",
        "27: ref",
    ]
    assert all(line.count(": ") >= 2 and "\n" not in line for line in told)
    assert "sentinel" not in "".join(told)


def test_the_mend_says_what_to_write() -> None:
    told = problems('[[route]]\nrepository = "bad"\nworkflow = "../x.yml"\ndispatch = "workflow_dispatch"\nref = ""')
    assert told == (
        "routes.toml:2: repository is wrong (it is not of that form): "
        "give the repository whose workflow is to run, as owner/name",
        "routes.toml:3: workflow is wrong (it is not of that form): "
        "give the name of the workflow's file, such as on-mlflow-event.yml",
        "routes.toml:5: ref is wrong (String should have at least 1 character): "
        "give the branch or tag that the workflow is to run on, such as main",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "routes.toml:1: route is missing: begin each route with [[route]]"),
        ("\n\nroute = 1", "routes.toml:3: route is wrong ("),
        ("route = [1]", "routes.toml:1: route is wrong (it is no table): begin each route with [[route]]"),
        ("a = 1\n\nb = ]", "routes.toml:3: this is no TOML ("),
        ('\na = """', "routes.toml:2: this is no TOML ("),
        ("a = " + "[" * 20_000, "routes.toml can't be read (RecursionError)"),
        ("#" * (MAX_FILE + 1), f"routes.toml is longer than {MAX_FILE} characters"),
        ('[[route]]\nrepository = "o/m"\nalias = "a"\ntag = "t"', "routes.toml:4: tag never comes with an alias"),
        ('[[route]]\nrepository = "o/.."', "routes.toml:2: repository is wrong ("),
    ],
)
def test_what_is_no_list_of_routes_is_told_by_its_line(text: str, told: str) -> None:
    assert problems(text)[0].startswith(told)


def test_an_inline_table_is_told_by_the_line_on_which_its_statement_begins() -> None:
    (told,) = problems('\nroute = [\n  {repository = "o/m"},\n  {repository = "o/m", inputs = {secret = "x"}},\n]')
    assert told.startswith("routes.toml:2: secret is unknown: leave it out, or use one of builder, base-image,")


def test_a_long_file_is_told_of_quickly() -> None:
    route = '[[route]]\nname = "{}"\nrepository = "owner/models"\nmodel = "iris-*"\n\n'
    text = "".join(route.format(number) for number in range(800)) + "[[route]]\nmodel = 1\n"
    began = time.process_time()
    assert [line.split(":")[1] for line in problems(text)] == ["4001", "4002"]
    assert time.process_time() - began < 60


@given(st.text() | st.text(alphabet='[]route="\n# {},.7').map(lambda text: f'[[route]]\nrepository="o/m"\n{text}'))
def test_whatever_the_text_it_is_read_or_refused_with_a_line(text: str) -> None:
    try:
        told = tuple(route.repository for route in routes(text))
    except RoutesInvalid as error:
        told = error.problems
    assert told
    assert all(line.startswith(("routes.toml", "o/m")) and "\n" not in line for line in told)


KEYS = st.sampled_from(["name", "model", "alias", "tag", "ref", "colour", "inputs", "events"])
VALUES = st.sampled_from(["7", '"x"', '""', "[\n1,\n]", '"""\n[[route]]\n"""', "{a=1}", "nan", "2020-01-01"])


@given(st.lists(st.dictionaries(KEYS, VALUES), min_size=1, max_size=4))
def test_the_line_that_is_told_of_holds_the_key_or_begins_the_route(tables: list[dict[str, str]]) -> None:
    text = "".join("[[route]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for table in tables)
    tomllib.loads(text)
    lines = text.split("\n")
    for told in problems(text):  # no route has a repository
        _, line, said = told.split(":", 2)
        key = said.split()[0]
        assert lines[int(line) - 1].startswith((f"{key} =", "[[route]]", "inputs ="))
        assert lines[int(line) - 1].startswith("[[route]]") == (" is missing" in said)
