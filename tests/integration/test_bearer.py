"""JWT bearer tokens: real keys, a real address to get them from, and every way to be refused."""

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from bide import DefinitionError, Settings
from bide.security.bearer import JwtBearer
from bide.security.files import write_key_file
from bide.security.jwks import RemoteKeys, parse_jwks

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: Any, key: Any, kid: str, **more: Any) -> dict[str, Any]:
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **more}


JWKS = {
    "keys": [
        jwk(RSAAlgorithm, RSA, "r1", alg="RS256"),
        jwk(ECAlgorithm, EC, "e1"),
        jwk(OKPAlgorithm, ED, "d1"),
        jwk(RSAAlgorithm, OTHER_RSA, "enc", alg="RSA-OAEP", use="enc") | {"use": "enc"},
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode(), "kid": "shared"},
    ]
}


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    said = {
        "iss": "https://issuer.example", "aud": "bide", "sub": "ada", "exp": now + 60,
        "tenant": "acme", "groups": ["kitchen"], "roles": ["decide", "owner"], **more,
    }  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r1", **more: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=headers)


@pytest.fixture
def bearer_of(tmp_path: Path) -> Callable[..., JwtBearer]:
    """Make a bearer over the keys in a file; keywords are settings."""
    path = tmp_path / "jwks.json"
    write_key_file(path, json.dumps(JWKS).encode())

    def make(**more: Any) -> JwtBearer:
        said = {"jwt_issuer": "https://issuer.example", "jwt_audience": "bide",
                "jwt_algorithms": "RS256,ES256,EdDSA", "jwt_jwks": str(path)}  # fmt: skip
        bearer = JwtBearer.of(Settings(**{**said, **more}))
        assert bearer is not None
        return bearer

    return make


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "r1"), (EC, "ES256", "e1"), (ED, "EdDSA", "d1")]
)
async def test_a_good_token_names_its_owner(
    bearer_of: Callable[..., JwtBearer], key: Any, algorithm: str, kid: str
) -> None:
    """Tenant, actor, groups and the roles that there are come from its claims."""
    who = await bearer_of().identify(token(key, algorithm, kid))

    assert who is not None
    assert (who.id, who.tenant, who.groups, who.roles) == ("ada", "acme", {"kitchen"}, {"decide"})
    assert who.credential == f"jwt:{kid}"


def unsigned(algorithm: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT", "kid": "r1"}, claims())
    return ".".join(_b64(json.dumps(part).encode()) for part in parts) + "."


def confused() -> str:
    """HMAC with the text of the public key, which everybody knows."""
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "r1"}
    body = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims()))
    return f"{body}.{_b64(hmac.digest(public, body.encode(), 'sha256'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


BAD = {
    "expired": lambda: token(exp=int(time.time()) - 31),
    "without expiry": lambda: token(exp=None),
    "not yet": lambda: token(nbf=int(time.time()) + 60),
    "other issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "other audience": lambda: token(aud="another"),
    "no audience": lambda: token(aud=None),
    "no subject": lambda: token(sub=None),
    "blank subject": lambda: token(sub=" "),
    "a subject to log": lambda: token(sub="ada\nroot"),
    "long subject": lambda: token(sub="a" * 256),
    "no tenant": lambda: token(tenant=None),
    "a tenant that is none": lambda: token(tenant=["acme"]),
    "other key": lambda: token(OTHER_RSA),
    "unknown key": lambda: token(OTHER_RSA, kid="r2"),
    "no key": lambda: token(kid=None),
    "a key for something else": lambda: token(OTHER_RSA, kid="enc"),
    "a shared secret": lambda: token("s" * 32, "HS256", "shared"),
    "algorithm not taken": lambda: token(RSA, "RS384"),
    "algorithm of another key": lambda: token(EC, "ES256", "r1"),
    "none": lambda: unsigned("none"),
    "None": lambda: unsigned("None"),
    "empty algorithm": lambda: unsigned(""),
    "public key as a secret": confused,
    "cut": lambda: token()[:-1],
    "nothing": lambda: "",
    "no JWT": lambda: "a.b.c",
    "huge": lambda: token(more="x" * 9_000),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_nobodys(bearer_of: Callable[..., JwtBearer], kind: str) -> None:
    """None of them is anybody's, and none raises."""
    assert await bearer_of().identify(BAD[kind]()) is None


async def test_claims_lie_where_the_settings_say(bearer_of: Callable[..., JwtBearer]) -> None:
    """By their very name, dots or not, or further in; one tenant for all where that is said."""
    bearer = bearer_of(
        jwt_tenant="acme", jwt_roles_claim="realm_access.roles",
        jwt_groups_claim="https://bide.example/groups",
    )  # fmt: skip
    who = await bearer.identify(
        token(
            tenant="other",
            realm_access={"roles": ["submit"]},
            **{"https://bide.example/groups": "kitchen bar"},
        )
    )

    assert who is not None
    assert (who.tenant, who.roles, who.groups) == ("acme", {"submit"}, {"kitchen", "bar"})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"jwt_issuer": ""}, "BIDE_JWT_ISSUER"),
        ({"jwt_audience": ""}, "BIDE_JWT_AUDIENCE"),
        ({"jwt_algorithms": "RS256,HS256"}, "'HS256' is none of"),
        ({"jwt_algorithms": "none"}, "'none' is none of"),
        ({"jwt_tenant_claim": ""}, "BIDE_JWT_TENANT"),
        ({"jwt_jwks": "/nowhere/jwks.json"}, "cannot read"),
        ({"jwt_jwks": "http://issuer.example/jwks"}, "not https"),
        ({"jwt_jwks": "ftp://issuer.example/jwks"}, "not https"),
    ],
)
def test_settings_that_cannot_work_are_an_error_at_the_start(
    bearer_of: Callable[..., JwtBearer], changes: dict[str, str], why: str
) -> None:
    """Each names what to set."""
    with pytest.raises(DefinitionError, match=why):
        bearer_of(**changes)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b'{"keys": [1]}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "RSA"}]}',
    ],
)
def test_what_is_no_set_of_keys_is_refused(text: bytes) -> None:
    """Nothing is taken in part."""
    with pytest.raises(DefinitionError, match=r"jwks\.json"):
        parse_jwks(text, "jwks.json")


class Issuer:
    """An address that gives keys, and counts how often it is asked."""

    def __init__(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.asked, self.status = 0, 200
        self.body = json.dumps(JWKS).encode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


async def test_keys_are_fetched_seldom(issuer: Issuer) -> None:
    """Once for ten minutes; for a key that is not known, twice a minute at most."""
    seconds = [0.0]
    source = RemoteKeys(issuer.url, clock=lambda: seconds[0])
    for _ in range(5):
        assert "r1" in await source.keys("r1")
    asked_for_known = issuer.asked
    for _ in range(5):
        assert "new" not in await source.keys("new")
    asked_at_once = issuer.asked
    issuer.body = json.dumps({"keys": [jwk(RSAAlgorithm, OTHER_RSA, "new")]}).encode()
    seconds[0] = 30.0
    found = await source.keys("new")
    asked_for_new = issuer.asked
    seconds[0] = 630.0
    await source.keys("new")

    assert (asked_for_known, asked_at_once, asked_for_new, issuer.asked) == (1, 1, 2, 3)
    assert list(found) == ["new"]


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b""), (302, b""), (200, b"no keys"), (200, b'{"keys": []}'), (200, b" " * 300_000)],
)
async def test_what_cannot_be_fetched_changes_nothing(
    issuer: Issuer, status: int, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that are there stay good while the issuer is away; the log says so."""
    seconds = [0.0]
    source = RemoteKeys(issuer.url, clock=lambda: seconds[0])
    before = await source.keys("r1")
    issuer.status, issuer.body = status, body
    seconds[0] = 600.0
    after = await source.keys("r1")

    assert set(after) == set(before) == {"r1", "e1", "d1"}
    assert "cannot get the keys of JWTs" in caplog.text


async def test_tokens_are_good_by_fetched_keys(
    issuer: Issuer, bearer_of: Callable[..., JwtBearer]
) -> None:
    """From the address to the principal; while nothing answers, nobody is known."""
    bearer = bearer_of(jwt_jwks=issuer.url)
    who = await bearer.identify(token())

    assert who is not None
    assert who.id == "ada"
    assert await bearer_of(jwt_jwks="http://127.0.0.1:9/jwks").identify(token()) is None
