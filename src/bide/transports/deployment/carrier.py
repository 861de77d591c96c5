"""Offers publications to other deployments of Bide: `POST /api/v1/handoffs`, a line each.

A batch goes as few requests of many lines, which the other side admits in shared commits and answers
line by line. Only such a line is believed: a status of the request as a whole may be a proxy's, or
that of a release which does not know the route yet, and then the batch is offered again.

The address is the author's own, so no guard of webhooks stands in the way: where a deployment is, in
a private network for instance, is no secret that a request could be made to tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import httpx
import orjson

from bide.authoring.publications import Deployment, Destination
from bide.authoring.secrets import Secret
from bide.errors import DefinitionError
from bide.model.ids import parse_execution
from bide.settings import Settings
from bide.spi.handoff import Answer, Offer, Taken, turned_away
from bide.spi.transport import Problem, Unclear

#: Below what the other side takes at once by default (`http_max_body_bytes`, `batch_max_lines`).
_BODY_BYTES_MAX: Final = 4 * 1_048_576
_LINES_MAX: Final = 500


class DeploymentCarrier:
    """A `Carrier` for `to=Deployment(...)`."""

    def __init__(self, named: Mapping[str, Deployment], settings: Settings) -> None:
        """Take the deployments by what messages call them; nothing is opened."""
        self._named = named
        self._connect_ms = settings.webhook_connect_timeout_ms
        self.timeout_ms = settings.webhook_timeout_ms
        self._keys: dict[Secret, str] = {}
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Read the credentials and get ready to connect."""
        for name, to in self._named.items():
            if to.api_key is not None:
                self._keys[to.api_key] = _read(to.api_key, name)
        timeout = httpx.Timeout(self.timeout_ms / 1_000, connect=self._connect_ms / 1_000)
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def endpoint(self, to: Destination) -> str:
        """The deployment's address."""
        assert isinstance(to, Deployment)
        return to.url

    async def offer(self, batch: Sequence[Offer]) -> list[Answer]:
        """Offer a batch, as few requests as its sizes allow; a tenant's lines go together."""
        answers: dict[bytes, Answer] = {}
        for part in _parts(batch):
            answers |= await self._post(part)
        missing = Unclear("the deployment said nothing about it")
        return [answers.get(each.handoff, missing) for each in batch]

    async def problems(self) -> list[Problem]:
        """Nothing that could be seen from here: what fails, the courier tells."""
        return []

    async def _post(self, part: Sequence[Offer]) -> dict[bytes, Answer]:
        assert self._http is not None, "a carrier is opened before it is used"
        to = cast("Deployment", part[0].to)
        body = b"".join(orjson.dumps(each.line()) + b"\n" for each in part)
        headers = {"content-type": "application/x-ndjson", "x-tenant-id": part[0].tenant}
        if to.api_key is not None:
            headers["authorization"] = f"Bearer {self._keys[to.api_key]}"
        try:
            url = f"{to.url.rstrip('/')}/api/v1/handoffs"
            response = await self._http.post(url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return _all(part, Unclear(f"{type(error).__name__}: {error}"))
        if response.status_code != httpx.codes.OK:
            why = f"it answered {response.status_code}{_detail(response)}"
            return _all(part, Unclear(why, _retry_after_ms(response)))
        lines = response.content.removesuffix(b"\n").split(b"\n")
        return {each.handoff: _answer(line) for each, line in zip(part, lines, strict=False)}


def _parts(batch: Sequence[Offer]) -> Iterator[list[Offer]]:
    """Cut a batch into requests: one address and tenant each, within the other side's bounds."""
    ordered = sorted(batch, key=lambda each: (_address(each), each.tenant))
    part: list[Offer] = []
    size = 0
    for each in ordered:
        alike = part and (_address(each), each.tenant) == (_address(part[0]), part[0].tenant)
        if part and (
            not alike or len(part) >= _LINES_MAX or size + len(each.body) > _BODY_BYTES_MAX
        ):
            yield part
            part, size = [], 0
        part.append(each)
        size += len(each.body)
    if part:
        yield part


def _address(offer: Offer) -> tuple[str, str]:
    to = cast("Deployment", offer.to)
    return to.url, str(to.api_key)


def _all(part: Sequence[Offer], answer: Answer) -> dict[bytes, Answer]:
    return dict.fromkeys([each.handoff for each in part], answer)


def _answer(line: bytes) -> Answer:
    """Read one line; what cannot be read says nothing."""
    try:
        said: Any = orjson.loads(line)
        if "executionId" in said:
            execution = parse_execution(str(said["executionId"]))
            if execution is not None and isinstance(said["duplicate"], bool):
                return Taken(execution, said["duplicate"])
        code = str(said["type"]).rpartition("/")[2]
        message = str(said.get("detail") or said.get("title") or code)
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        return Unclear("it answered what cannot be read")
    return turned_away(code, message)


def _detail(response: httpx.Response) -> str:
    """What a problem says, if it is one: from a deployment of ours, in words for people."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return ""
    try:
        return f": {orjson.loads(response.content).get('detail', '')}"
    except (orjson.JSONDecodeError, AttributeError):
        return ""


def _retry_after_ms(response: httpx.Response) -> int | None:
    given = response.headers.get("retry-after", "")
    return int(given) * 1_000 if given.isdigit() and len(given) < 8 else None


def _read(secret: Secret, name: str) -> str:
    """The credential; no message repeats it.

    Raises:
        DefinitionError: it is not there, or no header can carry it.
    """
    try:
        found = (
            os.environ.get(secret.env, "")
            if secret.env is not None
            else Path(secret.file or "").read_text("utf-8")
        ).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(
            f"{name}: the API key in {secret} cannot be read: {type(error).__name__}"
        ) from error
    if not found or not found.isascii() or not found.isprintable() or " " in found:
        raise DefinitionError(f"{name}: the API key in {secret} is missing, or is no key")
    return found
