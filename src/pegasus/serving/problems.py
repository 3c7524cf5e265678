"""Why a request is refused: a status, and a body that clients of OpenAI's interface understand."""

from __future__ import annotations

import difflib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse

from pegasus.errors import (
    BadData,
    BadSetting,
    DeadlineExceeded,
    EngineLost,
    NotOffered,
    Overloaded,
    PegasusError,
    TextTooLong,
    UnsupportedArgument,
)
from pegasus.serving.failures import kind_of, place_of
from pegasus.serving.schemas import SettingsFields

logger = logging.getLogger(__name__)

_OF_THE_CLIENT = {
    TextTooLong: "text_too_long",
    BadData: "bad_text",
    BadSetting: "bad_setting",
    NotOffered: "not_offered",
    UnsupportedArgument: "not_offered",
}


class JsonResponse(JSONResponse):
    """JSON of any string: halves of characters, which UTF-8 cannot hold, stay as JSON's own escapes."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content)


def to_json(content: Any) -> bytes:
    """Return JSON in UTF-8."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")  # "\udc80": an escape of JSON's too


class Problem(Exception):
    """What is answered instead of a result.

    Attributes:
        status: of HTTP.
        message: what is wrong, what was found, what to do.
        code: one word for programs.
        param: the field that is at fault.
        retry_after: seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.param, self.retry_after = param, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """In the form of OpenAI's errors."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, kind)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JsonResponse:
        """Return the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JsonResponse(self.body, self.status, headers)


def problem_of(error: Exception) -> Problem:
    """Return what is answered to an error; an unplanned one is logged by its kind and place alone."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Overloaded):
        status, code = (503, "not_ready") if error.leaving else (429, "overloaded")
        return Problem(status, str(error), code, retry_after=error.retry_after)
    if isinstance(error, DeadlineExceeded):
        return Problem(504, str(error), "deadline_exceeded", "timeout")
    if isinstance(error, EngineLost):
        return Problem(500, str(error), "engine_lost")
    for kind, code in _OF_THE_CLIENT.items():
        if isinstance(error, kind):
            return Problem(422, str(error), code)
    if not isinstance(error, PegasusError):
        logger.error("unexpected %s at %s", kind_of(error), place_of(error))
        return Problem(500, "This server failed; its log says where.", "internal_error")
    logger.error("%s: %s", type(error).__name__, error)
    return Problem(500, "The model failed; this server's log says why.", "model_failed")


def problem_of_fields(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return what is answered to a body that does not fit; of what was sent only names are repeated."""
    told = []
    for error in errors[:5]:
        place = ".".join(str(part) for part in error["loc"] if part != "body")
        what = _unknown(str(error["loc"][-1])) if error["type"] == "extra_forbidden" else str(error["msg"])
        told.append(f"{place}: {what}" if place else what)
    malformed = any(error["type"] == "json_invalid" for error in errors)
    first = ".".join(str(part) for part in errors[0]["loc"] if part != "body") if errors else ""
    message = "; ".join(told)[:1000]
    if errors and errors[0]["type"] == "model_attributes_type" and not first:
        message = "The body must be a JSON object, sent with Content-Type: application/json."
    if malformed:
        return Problem(400, "The body is no JSON.", "bad_json")
    return Problem(422, message, "bad_field", first[:200] or None)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, SettingsFields.model_fields, n=1)
    return "there is no such field" + (f"; did you mean {near[0]}?" if near else "")


def seconds_shown(seconds: float) -> float:
    """A time as a log shows it."""
    return math.ceil(seconds * 1000) / 1000
