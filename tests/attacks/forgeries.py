"""Forged resume tokens by the thousand, and whether any of them opens anything.

    python -m tests.attacks.forgeries -n 100000

Each forgery begins with genuine tokens of several tenants, units and keys and is bent in one of the
ways below; the same seed gives the same forgeries. They are brought to the door of an app on SQLite
that has no other check, and every call of its store is counted.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import random
import sys
import tempfile
import time
import timeit
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bide.app.app import App
from bide.runtime.clock import system_clock
from bide.runtime.runtime import Runtime
from bide.runtime.views import Completion
from bide.security.access import Caller
from bide.security.desk import TokenDesk
from bide.security.keyring import Key, Keyring, new_key
from bide.security.tokens import Claims, Purpose, claims_of, sign, verify
from bide.settings import Settings
from bide.stores.sqlite.store import SqliteStore
from tests.web.flows import orders

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RETENTION_MS = 30 * 86_400_000
TENANTS = ("acme", "default", "other")


class CountingStore:
    """A store that counts what it is asked for; the wait for a change asks for nobody's rows."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name not in {"wait_for_change", "open", "close"}:
            self.calls[name] += 1
        return getattr(self._store, name)


@dataclass
class Target:
    """An app with open interactions, its keys, and genuine tokens for them."""

    runtime: Runtime
    store: CountingStore
    keyring: Keyring
    retired: Key
    claims: list[Claims] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


# --- the ways to forge, each from a genuine token ---------------------------------------------------

Forge = Callable[[random.Random, Target], str]


def flipped(chance: random.Random, target: Target) -> str:
    """One bit of one character."""
    token = chance.choice(target.tokens)
    place = chance.randrange(len(token))
    return token[:place] + chr(ord(token[place]) ^ 1 << chance.randrange(8)) + token[place + 1 :]


def truncated(chance: random.Random, target: Target) -> str:
    """Its end, its beginning or a part of its middle is gone."""
    token = chance.choice(target.tokens)
    first, last = sorted(chance.sample(range(len(token) + 1), 2))
    return chance.choice(
        (token[:first], token[last:], token[:first] + token[last:], token[first:last])
    )


def extended(chance: random.Random, target: Target) -> str:
    """Something follows a part, stands before it, or doubles it: padding, blanks, dots, NUL."""
    parts = chance.choice(target.tokens).split(".")
    place = chance.randrange(len(parts))
    more = chance.choice(("=", "==", "A", ".", "\n", "\0", " ", "%3D", "-", parts[place] or "A"))
    parts[place] = chance.choice((parts[place] + more, more + parts[place]))
    return ".".join(parts)


def spelled(chance: random.Random, target: Target) -> str:
    """The same to the eye or to a lenient decoder: wide letters, zero widths, other alphabets."""
    token = chance.choice(target.tokens)
    place = chance.randrange(len(token))
    letter = token[place]
    other = chance.choice(
        (
            chr(ord(letter) + 0xFEE0),
            letter + "\u200b",
            letter + "\u0301",
            f"%{ord(letter):02X}",
            letter.swapcase(),
            {"-": "+", "_": "/", "a": "\u0430", "e": "\u0435", "o": "\u043e"}.get(letter, "\u2024"),
        )
    )
    return token[:place] + other + token[place + 1 :]


def swapped(chance: random.Random, target: Target) -> str:
    """One part comes from another token: key id, purpose, tenant, claims or signature."""
    parts, others = (chance.choice(target.tokens).split(".") for _ in range(2))
    place = chance.randrange(1, len(parts))
    parts[place] = others[place]
    return ".".join(parts)


def renamed(chance: random.Random, target: Target) -> str:
    """A part says something else: another version, key, purpose or tenant."""
    parts = chance.choice(target.tokens).split(".")
    place = chance.randrange(4)
    words = (
        ("bide", "bide0", "bide2", "BIDE1", "none", ""),
        (*target.keyring.keys, target.retired.id, "none", "HS256", "", "../k1", "k" * 500),
        ("decide", "resume", "RESUME", "", "admin", "resume\0decide"),
        tuple(_b64(tenant.encode()) for tenant in (*TENANTS, "", "a\0b", "acme ")),
    )
    parts[place] = chance.choice(words[place])
    return ".".join(parts)


def resigned(chance: random.Random, target: Target) -> str:
    """Rightly made, with a key that is none of the app's: of the same name, empty, or taken away."""
    claims = chance.choice(target.claims)
    signing = target.keyring.signing
    foreign = Key.of(signing.id, chance.randbytes(32), NOW)
    key = chance.choice((foreign, target.retired))
    return sign(_bent(chance, claims), Keyring.of(key))


def underived(chance: random.Random, target: Target) -> str:
    """Signed with what is near at hand: nothing, the key's name, or a key for something else."""
    parts = sign(_bent(chance, chance.choice(target.claims)), target.keyring).split(".")
    body = ".".join(parts[:-1])
    signing = target.keyring.signing
    keys = (
        b"",
        signing.id.encode(),
        hashlib.sha256(body.encode()).digest(),
        signing.derive("decide", parts[3]),
        signing.derive("resume", _b64(b"nobody")),
    )
    return f"{body}.{_b64(hmac.digest(chance.choice(keys), body.encode(), 'sha256'))}"


def for_people(chance: random.Random, target: Target) -> str:
    """A genuine link's token, brought where a program's is taken."""
    return sign(replace(chance.choice(target.claims), purpose=Purpose.DECIDE), target.keyring)


def expired(chance: random.Random, target: Target) -> str:
    """Genuine, and over for a second or more."""
    over = system_clock() - chance.choice((1_000, 1_001, 60_000, 10**12))
    return sign(replace(chance.choice(target.claims), expires_at=over), target.keyring)


def foreign(chance: random.Random, target: Target) -> str:
    """Tokens of other kinds: JWTs, signed with nothing and with HMAC, and noise."""
    claims = {"iss": "bide", "sub": "acme", "exp": 10**10}
    header = {"alg": chance.choice(("none", "None", "HS256")), "typ": "JWT", "kid": "k1"}
    body = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
    mac = _b64(hmac.digest(chance.randbytes(32), body.encode(), "sha256"))
    noise = _b64(chance.randbytes(chance.randrange(0, 900)))
    return chance.choice(
        (f"{body}.", f"{body}.{mac}", f"bide1.{noise}", noise, f"bide1.k1.resume.{noise}")
    )


WAYS: tuple[Forge, ...] = (
    flipped, truncated, extended, spelled, swapped, renamed, resigned, underived, for_people, expired,
    foreign,
)  # fmt: skip


def _bent(chance: random.Random, claims: Claims) -> Claims:
    """Claims with something changed that an attacker would want changed."""
    place = claims.interaction
    return chance.choice(
        (
            replace(claims, tenant=chance.choice(TENANTS)),
            replace(claims, interaction=place._replace(unit=place.unit + 1)),
            replace(claims, interaction=place._replace(item=place.item + 1)),
            replace(claims, interaction=place._replace(generation=place.generation + 1)),
            replace(claims, expires_at=claims.expires_at + 1_000),
            replace(claims, actor="root"),
            claims,
        )
    )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forgeries(target: Target, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """So many forgeries: the way, and the token, none of which is genuine."""
    chance = random.Random(seed)
    genuine = set(target.tokens)
    made = 0
    while made < count:
        way = WAYS[made % len(WAYS)]
        token = way(chance, target)
        if token not in genuine:
            made += 1
            yield way.__name__, token


# --- what they are brought to -----------------------------------------------------------------------


async def opened(folder: Path) -> Target:
    """An app on SQLite with an open interaction of each tenant, and tokens under two keys."""
    store = CountingStore(SqliteStore(str(folder / "bide.db"), system_clock))
    old, retired = new_key(NOW), new_key(NOW)
    keyring = Keyring.of(new_key(NOW), old)
    desk = TokenDesk(lambda: keyring, retention_ms=RETENTION_MS)
    plans = App(orders, store="memory://", settings=Settings())._plans
    runtime = Runtime(store, plans, Settings(), system_clock, tokens=desk, resources=(), given={})  # type: ignore[arg-type]  # it answers every verb of the store that it wraps
    await runtime.start(workers=True)
    target = Target(runtime, store, keyring, retired)
    for tenant in TENANTS:
        for number in range(3):
            made = await runtime.service.submit("orders", {"item": f"{number}"}, tenant=tenant)
            await runtime.service.wait(tenant, made.execution_id, 60, parked=True)
        for asked in await runtime.store.pending(_all_of(tenant)):
            claims = claims_of(asked.interaction, Purpose.RESUME, retention_ms=RETENTION_MS)
            target.claims.append(claims)
            target.tokens += [sign(claims, keyring), sign(claims, Keyring.of(old))]
    await runtime.stop()
    runtime = Runtime(store, plans, Settings(), system_clock, tokens=desk, resources=(), given={})  # type: ignore[arg-type]  # it answers every verb of the store that it wraps
    await runtime.start(workers=False)  # so that whatever asks the store from here on is a forgery
    target.runtime = runtime
    store.calls.clear()
    return target


def _all_of(tenant: str) -> Any:
    from bide.spi.store import PendingQuery

    return PendingQuery(tenant)


STRANGER = Caller("default", binds_tenant=False, is_stranger=True)
ANSWER = {"accepted": {"note": "mine"}}


async def attack(target: Target, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Bring forgeries in; gives how many of each way were refused, and those that were not."""
    refused: Counter[str] = Counter()
    taken: list[str] = []
    for way, token in forgeries(target, count, seed):
        completion = Completion(resume_token=token, payload=ANSWER)
        reply = await target.runtime.service.complete("default", completion, by=STRANGER)
        good = reply.code in {"invalid-token", "expired-token", "wrong-token", "unauthenticated"}
        if good and reply.receipt.outcome == "rejected":
            refused[way] += 1
        else:
            taken.append(f"{way}: {reply.code}: {token}")
    return refused, taken


async def _run(count: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        target = await opened(Path(folder))
        started = time.perf_counter()
        refused, taken = await attack(target, count, seed)
        seconds = time.perf_counter() - started
        calls = sum(target.store.calls.values())
        genuine = await target.runtime.service.complete(
            "default", Completion(resume_token=target.tokens[0], payload=ANSWER), by=STRANGER
        )
        await target.runtime.stop()
    claims, token, keyring = target.claims[0], target.tokens[0], target.keyring
    for what, work in (
        ("made", lambda: sign(claims, keyring)),
        ("verified", lambda: verify(token, Purpose.RESUME, keyring, 0)),
    ):
        each = min(timeit.repeat(work, number=1_000, repeat=5)) / 1_000
        print(f"  a genuine one is {what} in {each * 1e6:.1f} microseconds")
    for way, number in sorted(refused.items()):
        print(f"  {way:<12} {number:>8,} refused")
    print(
        f"{sum(refused.values()):,} forgeries refused, {len(taken)} accepted, {calls} calls of the"
    )
    print(f"store, {seconds / count * 1e6:.0f} microseconds each; a genuine one was {genuine.code}")
    print(*taken[:20], sep="\n")
    return 1 if taken or calls or genuine.code != "applied" else 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Bring forged resume tokens to an app's door.")
    parser.add_argument("-n", type=int, default=100_000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    arguments = parser.parse_args()
    return asyncio.run(_run(arguments.n, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
