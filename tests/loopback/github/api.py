"""The endpoints of the loopback GitHub, and a page for each run. `faults` makes requests fail in front of them."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from bridge.github.workflow_file import Workflow
from tests.loopback.github.bodies import read_json
from tests.loopback.github.gate import VERSIONS, ApiError, Gate
from tests.loopback.github.runs import Run
from tests.loopback.github.views import Views, moment, select

if TYPE_CHECKING:
    from tests.loopback.github.server import LoopbackGitHub

_PER_PAGE, _MAX_PER_PAGE = 30, 100


def create_app(repository: "LoopbackGitHub", gate: Gate) -> FastAPI:
    """Return the app; all state is in the repository and the gate."""
    app = FastAPI(openapi_url=None)
    app.middleware("http")(_guarded(gate))
    app.add_exception_handler(ApiError, _refuse)
    app.add_exception_handler(HTTPException, _not_found)
    _add_pages(app, repository)
    _add_events(app, repository, gate)
    _add_reading(app, repository, gate)
    return app


def _guarded(gate: Gate) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def guarded(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        if not request.url.path.startswith(("/repos/", "/app/", "/rate_limit")):
            return await go_on(request)  # a page, without sign-in
        return gate.seal(request, gate.admit(request) or await go_on(request))

    return guarded


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return error.answer()


async def _not_found(_: Request, error: Exception) -> Response:
    return ApiError(getattr(error, "status_code", 404), "Not Found").answer()


def _permission(
    repository: "LoopbackGitHub", gate: Gate, permission: str, access: str, creates: bool = False
) -> Callable[[str, str], None]:
    """Return the check of an endpoint: the right repository, the right permission, not too many requests."""

    def check(owner: str, name: str) -> None:
        if f"{owner}/{name}".lower() != repository.name.lower():
            raise ApiError(404, "Not Found")
        gate.permit(permission, access)
        if creates:
            gate.create()

    return check


async def _body(request: Request) -> dict[str, Any]:
    return read_json(await request.body())


Body = Annotated[dict[str, Any], Depends(_body)]


def _add_events(app: FastAPI, repository: "LoopbackGitHub", gate: Gate) -> None:
    contents = Depends(_permission(repository, gate, "contents", "write", creates=True))
    actions = Depends(_permission(repository, gate, "actions", "write", creates=True))

    @app.post("/repos/{owner}/{name}/dispatches", dependencies=[contents])
    def repository_dispatch(body: Body) -> Response:
        repository.repository_dispatch(body)
        return Response(status_code=204)

    @app.post("/repos/{owner}/{name}/actions/workflows/{workflow}/dispatches", dependencies=[actions])
    def workflow_dispatch(request: Request, workflow: str, body: Body) -> Response:
        views = _views(request, repository)
        run = repository.workflow_dispatch(_workflow(repository, workflow), body)
        newest = request.headers.get("x-github-api-version") == VERSIONS[-1]
        if not newest and body.get("return_run_details") is not True:
            return Response(status_code=204)
        page = views.run(run)
        return JSONResponse({"workflow_run_id": run.id, "run_url": page["url"], "html_url": page["html_url"]})


def _add_reading(app: FastAPI, repository: "LoopbackGitHub", gate: Gate) -> None:
    metadata = _permission(repository, gate, "metadata", "read")
    actions = [Depends(_permission(repository, gate, "actions", "read"))]
    root = "/repos/{owner}/{name}"

    @app.get("/rate_limit")
    def rate_limit() -> dict[str, Any]:
        return {"resources": {"core": gate.quota()}, "rate": gate.quota()}

    @app.get(root)
    def about(request: Request, owner: str, name: str) -> Response:
        private = repository.visible.get(f"{owner}/{name}")
        if private is not None:
            other = Views(str(request.base_url).rstrip("/"), f"{owner}/{name}")
            return _answer(request, other.about() | {"private": private})
        metadata(owner, name)
        return _answer(request, _views(request, repository).about())

    @app.get(root + "/contents/{path:path}", dependencies=[Depends(_permission(repository, gate, "contents", "read"))])
    def contents(request: Request, path: str, ref: str = "main") -> Response:
        if "raw" in request.headers.get("accept", ""):
            return PlainTextResponse(repository.contents.raw(path, ref))
        return _answer(request, repository.contents.described(path, ref))

    @app.get(
        root + "/actions/permissions",
        dependencies=[Depends(_permission(repository, gate, "administration", "read"))],
    )
    def permissions(request: Request) -> Response:
        enabled = repository.actions_enabled
        return _answer(request, {"enabled": enabled, **({"allowed_actions": "all"} if enabled else {})})

    @app.get(root + "/actions/workflows", dependencies=actions)
    def list_workflows(request: Request) -> Response:
        workflows = [_views(request, repository).workflow(workflow) for workflow in repository.workflows]
        return _answer(request, {"total_count": len(workflows), "workflows": _page(request, workflows)})

    @app.get(root + "/actions/runs", dependencies=actions)
    def list_runs(request: Request) -> Response:
        runs, views = select(repository.listed, request.query_params), _views(request, repository)
        body = {"total_count": len(runs), "workflow_runs": [views.run(run) for run in _page(request, runs)]}
        return _answer(request, body)

    @app.get(root + "/actions/runs/{run_id}", dependencies=actions)
    def run(request: Request, run_id: str) -> Response:
        return _answer(request, _views(request, repository).run(_run(repository, run_id)))


def _add_pages(app: FastAPI, repository: "LoopbackGitHub") -> None:
    @app.get("/{owner}/{name}/actions/runs/{run_id}")
    def page(run_id: str) -> Response:
        run = _run(repository, run_id)
        steps = "\n".join(
            f"{job.name}: {step.name}: {step.conclusion or step.status}" for job in run.jobs for step in job.steps
        )
        head = f"{run.title}\n{run.name} #{run.number}: {run.conclusion or run.status}, {moment(run.updated_at)}"
        return PlainTextResponse("\n\n".join((head, steps, run.summary, run.log)))


def _views(request: Request, repository: "LoopbackGitHub") -> Views:
    return Views(str(request.base_url).rstrip("/"), repository.name)


def _run(repository: "LoopbackGitHub", run_id: str) -> Run:
    for run in repository.runs:
        if str(run.id) == run_id:
            return run
    raise ApiError(404, "Not Found")


def _workflow(repository: "LoopbackGitHub", file: str) -> Workflow:
    for workflow in repository.workflows:
        if workflow.path.rpartition("/")[2] == file:
            return workflow
    raise ApiError(404, "Not Found")


def _page(request: Request, items: list[Any]) -> list[Any]:
    """Return the requested page; a value that is not a number counts as the default, as on GitHub."""
    size = min(_number(request, "per_page", _PER_PAGE), _MAX_PER_PAGE)
    first = (_number(request, "page", 1) - 1) * size
    return items[first : first + size]


def _number(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name, "")
    return max(1, int(value)) if value.isascii() and value.isdigit() else default


def _answer(request: Request, body: dict[str, Any] | list[dict[str, Any]]) -> Response:
    """Return the body with its ETag, or 304 if the client has it already."""
    response = JSONResponse(body)
    etag = f'W/"{hashlib.sha256(response.body).hexdigest()}"'
    if request.headers.get("if-none-match") == etag:
        response = Response(status_code=304)  # type: ignore[assignment]
    response.headers["ETag"] = etag
    return response
