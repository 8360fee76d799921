import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import Problem
from bridge.core.events import EventKind
from bridge.core.limits import MAX_ROUTES_FILE
from bridge.core.routes_file import RoutesInvalid, read
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


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(RoutesInvalid) as refused:
        routes(text)
    return refused.value.problems


def test_a_route_needs_only_a_repository() -> None:
    assert routes('[[route]]\nrepository = "owner/models"') == (
        Route("route 1", "owner/models", "mlflow-model-version"),
    )


def test_every_key_of_a_route_is_read() -> None:
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


def test_a_route_with_an_alias_or_a_tag_matches_their_events_by_default() -> None:
    alias, tag = routes('[[route]]\nrepository="o/m"\nalias="a"\n[[route]]\nrepository="o/m"\ntag="t"')
    assert alias.kinds == frozenset({EventKind.ALIAS_CREATED})
    assert tag.kinds == frozenset({EventKind.TAG_SET})


def test_everything_that_is_wrong_is_named_at_once_by_route_and_key_with_a_hint() -> None:
    reported = problems(WRONG)
    assert [problem.message.removeprefix("routes.toml, route ").split()[:2] for problem in reported] == [
        ["1:", "events"],
        ["1:", "repository"],
        ["2:", "alias"],
        ["2:", "colour"],
        ["2:", "event_type"],
        ["2:", "inputs.base-image"],
        ["2:", "inputs.push-to"],
        ["2:", "inputs.smoke-test"],
        ["2:", "ref"],
        ["2:", "repository"],
        ["2:", "workflow"],
        ["3:", "name"],
        ["3:", "ref"],
        ["3:", "tag"],
    ]
    assert all(problem.hint and "\n" not in str(problem) for problem in reported)
    assert "sentinel" not in "".join(map(str, reported))


def test_each_invalid_value_is_a_problem_of_its_key() -> None:
    reported = problems(
        '[[route]]\nrepository = "bad"\nworkflow = "../x.yml"\ndispatch = "workflow_dispatch"\nref = ""'
    )
    assert [problem.message.split()[3] for problem in reported] == ["ref", "repository", "workflow"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "routes.toml: route is missing"),
        ("\n\nroute = 1", "routes.toml: route is invalid ("),
        ("route = [1]", "routes.toml, route 1: route is invalid ("),
        ("a = 1\n\nb = ]", "routes.toml is not TOML (Invalid value (at line 3"),
        ("a = " + "[" * 20_000, "routes.toml can't be read (RecursionError)"),
        ("#" * (MAX_ROUTES_FILE + 1), f"routes.toml is longer than {MAX_ROUTES_FILE} characters"),
        ('[[route]]\nrepository = "o/m"\nalias = "a"\ntag = "t"', "routes.toml, route 1: tag "),
        (
            '[[route]]\nrepository = "o/m"\n"a\\n\\u001b" = 1',
            "routes.toml, route 1: a \N{REPLACEMENT CHARACTER} is unknown",
        ),
        ('[[route]]\nrepository = "o/.."', "routes.toml, route 1: repository is invalid ("),
    ],
)
def test_a_file_that_is_not_a_list_of_routes_is_refused(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert problem.message.startswith(message)
    assert problem.hint


@given(st.text() | st.text(alphabet='[]route="\n# {},.7').map(lambda text: f'[[route]]\nrepository="o/m"\n{text}'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reported: tuple[Problem, ...] = ()
        assert routes(text)
    except RoutesInvalid as error:
        reported = error.problems
    assert all(problem.message.startswith("routes.toml") and "\n" not in str(problem) for problem in reported)


KEYS = st.sampled_from(["name", "model", "alias", "tag", "ref", "colour", "inputs", "events"])
VALUES = st.sampled_from(["7", '"x"', '""', "[\n1,\n]", '"""\n[[route]]\n"""', "{a=1}", "nan", "2020-01-01"])


@given(st.lists(st.dictionaries(KEYS, VALUES), min_size=1, max_size=4))
def test_a_problem_names_the_route_that_has_it(tables: list[dict[str, str]]) -> None:
    text = "".join("[[route]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for table in tables)
    for problem in problems(text):  # no route has a repository
        place, key = problem.message.removeprefix("routes.toml, route ").split()[:2]
        has_key = key.split(".")[0] in tables[int(place.rstrip(":")) - 1]
        assert has_key != problem.message.endswith(" is missing")
