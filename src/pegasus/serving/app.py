"""The application: every route, in front of an engine room."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

import pegasus
from pegasus.errors import PegasusError
from pegasus.serving.desk import Desk
from pegasus.serving.guard import Guard
from pegasus.serving.openai_routes import openai_routes
from pegasus.serving.options import ServeOptions
from pegasus.serving.own_routes import own_routes
from pegasus.serving.page_routes import page_routes
from pegasus.serving.pipeline_routes import pipeline_routes
from pegasus.serving.problems import JsonResponse, Problem, problem_of, problem_of_fields
from pegasus.serving.room import Room
from pegasus.serving.streaming import ClientLeft


def create_app(room: Room, options: ServeOptions) -> Guard:
    """Return the application.

    Args:
        room: computes; somebody else starts and stops it.
        options: keys and limits.
    """
    app = FastAPI(
        title="pegasus",
        version=pegasus.__version__,
        summary="Abstractive summarization with PEGASUS.",
        docs_url=None,  # these pages ask other machines for their scripts
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=JsonResponse,
    )
    desk = Desk(room, options)
    routes = [*app.routes]
    for router in (own_routes(desk), openai_routes(desk), pipeline_routes(desk), page_routes()):
        app.include_router(router)
        routes += router.routes
    app.add_exception_handler(RequestValidationError, _bad_fields)
    app.add_exception_handler(HTTPException, _not_here)
    app.add_exception_handler(ClientLeft, _gone)
    app.add_exception_handler(Problem, _refused)
    app.add_exception_handler(PegasusError, _refused)

    def route_of(scope: Scope) -> str | None:
        for route in routes:
            matched, _ = route.matches(scope)
            if matched is not Match.NONE:
                return str(getattr(route, "path", "other"))
        return None

    return Guard(app, options, room.watcher, route_of)


async def _bad_fields(request: Request, error: Any) -> Response:
    return problem_of_fields(error.errors()).response()


async def _not_here(request: Request, error: Any) -> Response:
    known = {404: "There is no such path here.", 405: "This path does not take that method."}
    code = {404: "no_route", 405: "no_method", 400: "bad_json"}.get(error.status_code, "refused")
    message = known.get(error.status_code, "The body cannot be read.")
    response = Problem(error.status_code, message, code).response()
    response.headers.update(error.headers or {})
    return response


async def _refused(request: Request, error: Exception) -> Response:
    return problem_of(error).response()


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody will read it
