"""Resume tokens: what they bind, and that releases agree on what they say."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bide.model.ids import ExecutionId, InteractionId, format_interaction
from bide.model.records import Interaction
from bide.model.records import replace as changed
from bide.model.status import InteractionStatus
from bide.security.keyring import Key, Keyring
from bide.security.tokens import (
    TOKEN_MAX,
    Claims,
    Purpose,
    TokenRefused,
    claims_of,
    is_token,
    sign,
    verify,
)

CREATED = datetime(2026, 11, 22, tzinfo=UTC)
KEYRING = Keyring.of(Key.of("golden1", bytes(range(32)), CREATED))
EXECUTION = ExecutionId(bytes.fromhex("019ab3f0000070008000000000000000"))
ROW = Interaction(
    execution=EXECUTION,
    unit=2,
    item=417,
    generation=1,
    tenant="acme",
    step_id="await-payment-provider",
    status=InteractionStatus.DISPATCHED,
    group=None,
    assignee=None,
    deadline_at=1_795_000_300_000,
    created_at=1_795_000_000_000,
    updated_at=1_795_000_000_000,
    key=None,
    request=b"{}",
    correlation="order-42",
)
RETENTION_MS = 30 * 86_400_000
CLAIMS = claims_of(ROW, Purpose.RESUME, retention_ms=RETENTION_MS)
PERSON = claims_of(
    changed(ROW, tenant="müller & söhne", correlation=None),
    Purpose.DECIDE,
    retention_ms=RETENTION_MS,
    actor="ada@example.com",
)

#: Tokens that a release has given out. They never change: partners hold them for months.
GOLDEN = [
    (
        CLAIMS,
        (
            "bide1.golden1.resume.YWNtZQ.AZqz8AAAcACAAAAAAAAAAAAAAAIAAAGhAAAAAQAAAaHuVl4AAAAB"
            "oojZueASu2jLub7RiApcO7ZXct8OO_ixV8Qjju_lrkpm7Kgcaw.mz3S7T_ixdwFWBUzwJYxN3iijlCTS1MyeGcusy3Sn7E"
        ),
    ),
    (
        PERSON,
        (
            "bide1.golden1.decide.bcO8bGxlciAmIHPDtmhuZQ.AZqz8AAAcACAAAAAAAAAAAAAAAIAAAGhAAAA"
            "AQAAAaHuVl4AAAABoojZueASu2jLub7RiApcO7ZXct8OYCcXkkPRlDwN8-tLZx5jvGFkYUBleGFtcGxlLmNvbQ.6juz7w4CPGxJzVclOMmTHppS77mcqjuTNpgZdvJsetI"
        ),
    ),
]


def refusal(token: str, purpose: Purpose = Purpose.RESUME, now: int = 0) -> str:
    """The code that a token is refused with."""
    with pytest.raises(TokenRefused) as refused:
        verify(token, purpose, KEYRING, now)
    return refused.value.code


@pytest.mark.parametrize(("claims", "token"), GOLDEN)
def test_tokens_of_every_release_hold(claims: Claims, token: str) -> None:
    """What was given out once is made in the same way, and is good."""
    assert sign(claims, KEYRING) == token
    assert verify(token, claims.purpose, KEYRING, 0) == replace(claims, key_id="golden1")


def test_a_token_says_what_its_row_says() -> None:
    """Of an interaction everything that tells it from another is bound."""
    claims = verify(sign(CLAIMS, KEYRING), Purpose.RESUME, KEYRING, 0)

    assert (claims.tenant, claims.interaction) == ("acme", ROW.id)
    assert claims.names(step_id=ROW.step_id, correlation_id="order-42")
    assert not claims.names(step_id="another")
    assert not claims.names(correlation_id="order-43")
    assert claims.issued_at == ROW.created_at
    assert claims.expires_at == ROW.deadline_at + RETENTION_MS


def test_an_interaction_without_a_key_is_correlated_by_its_id() -> None:
    """The id stands in for the key that the author did not choose."""
    assert PERSON.names(correlation_id=format_interaction(ROW.id))


def test_a_repeat_carries_the_same_token() -> None:
    """What happens to the row after it was made changes nothing of its token."""
    later = changed(ROW, updated_at=9_000_000_000_000, assignee="ada", refusals=3)

    assert claims_of(later, Purpose.RESUME, retention_ms=RETENTION_MS) == CLAIMS


@pytest.mark.parametrize(
    ("late_ms", "code"), [(-1_000, None), (0, None), (1, "expired-token"), (1_000, "expired-token")]
)
def test_a_token_is_good_to_the_end_of_its_time(late_ms: int, code: str | None) -> None:
    """Its last millisecond counts, the next does not."""
    token, now = sign(CLAIMS, KEYRING), CLAIMS.expires_at + late_ms

    if code is None:
        assert verify(token, Purpose.RESUME, KEYRING, now).interaction == ROW.id
    else:
        assert refusal(token, now=now) == code


def test_purposes_open_only_their_own_door() -> None:
    """A link for a person is no token for a program, nor the other way round."""
    assert refusal(sign(CLAIMS, KEYRING), Purpose.DECIDE) == "invalid-token"
    assert refusal(sign(PERSON, KEYRING), Purpose.RESUME) == "invalid-token"


def test_a_rotation_leaves_old_tokens_good_and_a_revocation_does_not() -> None:
    """What a key signed is good as long as the key verifies."""
    token = sign(CLAIMS, KEYRING)
    rotated = KEYRING.rotated(Key.of("next", bytes(range(1, 33)), CREATED))

    assert verify(token, Purpose.RESUME, rotated, 0).key_id == "golden1"
    assert verify(sign(CLAIMS, rotated), Purpose.RESUME, rotated, 0).key_id == "next"
    with pytest.raises(TokenRefused):
        verify(token, Purpose.RESUME, rotated.without("golden1"), 0)


def test_the_largest_token_fits() -> None:
    """Whatever tenant and actor a token takes, it has at most 1 KiB; past that it is not made."""
    widest = replace(CLAIMS, tenant="t" * 255, actor="ü" * 127)
    keyring = Keyring.of(Key.of("k" * 16, bytes(range(32)), CREATED))
    token = sign(widest, keyring)

    assert len(token) <= TOKEN_MAX
    assert verify(token, Purpose.RESUME, keyring, 0).actor == "ü" * 127
    for more in ({"tenant": "t" * 256}, {"actor": "ü" * 128}):
        with pytest.raises(ValueError, match="255 bytes"):
            sign(replace(widest, **more), keyring)


@given(
    tenant=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    actor=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    path=st.tuples(*[st.integers(0, 999_999_999)] * 3),
    times=st.tuples(*[st.integers(0, 2**63 - 1)] * 2),
    purpose=st.sampled_from(Purpose),
)
def test_what_is_signed_is_read(
    tenant: str, actor: str | None, path: tuple[Any, ...], times: tuple[int, int], purpose: Purpose
) -> None:
    """Every claim survives the way, and the token needs no escape in a URL."""
    claims = Claims(
        tenant=tenant,
        purpose=purpose,
        interaction=InteractionId(EXECUTION, *path),
        step=bytes(16),
        correlation=bytes(range(16)),
        issued_at=times[0],
        expires_at=times[1],
        actor=actor,
    )
    token = sign(claims, KEYRING)

    assert is_token(token)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert verify(token, purpose, KEYRING, 0) == replace(claims, key_id="golden1")
