"""What every problem must be, whichever route answers it."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpx

from bide.web.problems import PROBLEMS

#: Submits an order and gives its open interaction.
Park: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]
#: Waits for the end of a submission and gives its execution.
Ended: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
#: Makes a client of an app.
Connect: TypeAlias = Callable[..., httpx.AsyncClient]


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is this problem, in full, and give its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"].rsplit("/")[-1] == code
    assert body["status"] == status == PROBLEMS[code].status
    assert body["title"] == PROBLEMS[code].title
    assert body["detail"]
    assert body["instance"] == httpx.URL(str(answer.request.url)).raw_path.decode().split("?")[0]
    for error in body.get("errors", []):
        assert set(error) == {"path", "message"}
    return body
