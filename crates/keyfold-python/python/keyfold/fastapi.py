"""Users' keys in FastAPI: a dependency, a middleware, and answers for what goes wrong.

Who the user is comes from the application: a function that checked it, such as a dependency that verifies a token.
Nothing here reads a user from a header.

    Keys = Annotated[UserKeys, Depends(keys_of(current_user))]

    @app.post("/generate")
    async def generate(prompt: str, keys: Keys):
        gemini_key = keys.get("gemini")
"""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Union

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from ._context import UserKeys, user_api_keys
from .errors import KeyfoldError

__all__ = ["UserKeysMiddleware", "answer_errors", "keys_of"]

# What the HTTP API of Keyfold answers with, too.
_STATUS: Final = {
    "audit_unavailable": 503,
    "cannot_start": 503,
    "database_unavailable": 503,
    "invalid_request": 401,
    "master_key_unavailable": 503,
    "no_api_key": 404,
    "shut_down": 503,
    "unknown_provider": 404,
    "user_deleted": 410,
    "user_suspended": 403,
}

_TITLES: Final = {
    "audit_unavailable": "Audit unavailable",
    "cannot_start": "Keyfold cannot start",
    "database_unavailable": "Database unavailable",
    "env_file_error": "The .env file cannot be used",
    "internal_error": "Internal error",
    "invalid_request": "Invalid request",
    "invalid_settings": "Invalid settings",
    "key_unreadable": "Stored key unreadable",
    "master_key_unavailable": "Master key unavailable",
    "no_api_key": "No API key",
    "state_directory_error": "The state directory cannot be used",
    "unknown_provider": "Unknown provider",
    "user_deleted": "Deleted",
    "user_suspended": "Suspended",
    # These are Python's only.
    "environ_replaced": "os.environ was replaced",
    "environment_write": "The environment is not changed",
    "no_user": "There is no user",
    "shut_down": "Shutting down",
}

# A caller's own id that is passed on, as Keyfold's server does.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")

# These are for whoever runs the application.
_FOR_OPERATORS: Final = {"cannot_start", "env_file_error", "invalid_settings", "shut_down", "state_directory_error"}


def keys_of(user: Callable[..., Any]) -> Callable[..., AsyncIterator[UserKeys]]:
    """A dependency: the keys of the user that the dependency `user` returns, until the request is over.

    `user` returns the id of a user whose identity it checked, and refuses everybody else itself. `None` is the user of
    local mode, and refused in production.
    """

    async def keys(user_id: Any = Depends(user)) -> AsyncIterator[UserKeys]:
        async with user_api_keys(user_id) as keys:
            yield keys

    return keys


class UserKeysMiddleware:
    """Every request is inside its user's block: for code that reads keys deep down, or from `os.environ`.

    `user` is called with each connection, and returns (or is awaited for) the id of a user whose identity it checked.
    Where it returns `None` there is no block: public pages.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        user: Callable[[HTTPConnection], Union[str, None, Awaitable[Union[str, None]]]],
    ) -> None:
        self._app = app
        self._user = user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        user = self._user(HTTPConnection(scope))
        if inspect.isawaitable(user):
            user = await user
        if user is None:
            await self._app(scope, receive, send)
            return
        async with AsyncExitStack() as block:
            try:
                await block.enter_async_context(user_api_keys(user))
            except KeyfoldError as error:
                if scope["type"] == "websocket":
                    raise
                await _answer(error, HTTPConnection(scope))(scope, receive, send)
                return
            await self._app(scope, receive, send)


def answer_errors(app: FastAPI) -> None:
    """Keyfold's exceptions become answers: `application/problem+json` with `code` and what to do."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, KeyfoldError):
            return _answer(error, request)
        raise error

    app.add_exception_handler(KeyfoldError, handle)


def _answer(error: KeyfoldError, connection: HTTPConnection) -> JSONResponse:
    status = _STATUS.get(error.code, 500)
    detail = str(error)
    if error.code in _FOR_OPERATORS:
        detail = "Users' keys cannot be used at the moment. The operator finds the cause in the log."
    given = connection.headers.get("x-request-id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    headers = {"X-Request-Id": request_id}
    if status == 503:
        headers["Retry-After"] = "5"
    problem = {
        "type": f"urn:keyfold:problem:{error.code}",
        "title": _TITLES.get(error.code, "Internal error"),
        "status": status,
        "detail": detail,
        "code": error.code,
        "request_id": request_id,
    }
    return JSONResponse(problem, status_code=status, media_type="application/problem+json", headers=headers)
