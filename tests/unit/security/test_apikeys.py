"""API keys: known by their hash, scoped, and replaced without a gap."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bide.errors import DefinitionError
from bide.security.apikeys import NO_KEYS, ApiKeys

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DAY = timedelta(days=1)


def issued(**more: Any) -> tuple[ApiKeys, str, str]:
    scope = {"actor": "ada", "tenant": "acme", "groups": ["kitchen"], "roles": ["decide"], **more}
    keys, key, text = NO_KEYS.issued(NOW, **scope)
    return keys, key.id, text


def test_a_key_names_its_owner() -> None:
    """Tenant, actor, groups and roles are those that it was made with."""
    keys, id, text = issued()
    who = keys.identify(text, NOW)

    assert who is not None
    assert (who.id, who.tenant, who.groups, who.roles) == ("ada", "acme", {"kitchen"}, {"decide"})
    assert who.credential == f"api-key:{id}"


def test_what_is_kept_is_no_key() -> None:
    """The file holds a hash, and neither it nor a `repr` holds the secret."""
    keys, _, text = issued(expires=NOW + DAY)
    secret = text.rpartition("_")[2]

    assert secret not in keys.render().decode()
    assert secret not in repr(keys)
    assert ApiKeys.parse(keys.render(), "the file") == keys


def test_other_texts_are_nobodys() -> None:
    """A changed, cut, longer or foreign key is refused."""
    keys, id, text = issued()
    _, _, foreign = issued()
    letters = [text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
               for place in range(len(text))]  # fmt: skip
    others = [text[:-1], text + "A", text.upper(), f" {text}", text + "\n", "", foreign,
              f"bidekey_{id}_", text.replace("bidekey", "bide1"), *letters]  # fmt: skip

    assert keys.identify(text, NOW) is not None
    assert [other for other in others if keys.identify(other, NOW) is not None] == []


@pytest.mark.parametrize(("late", "known"), [(-1, True), (0, False), (1, False)])
def test_a_key_expires(late: int, known: bool) -> None:
    """It is good until its time, and not at it."""
    keys, _, text = issued(expires=NOW + DAY)

    assert (keys.identify(text, NOW + DAY + timedelta(seconds=late)) is not None) == known


def test_a_rotation_leaves_no_gap() -> None:
    """The new key is good at once and has the same scope; the old one until its overlap is over."""
    keys, id, old = issued()
    keys, made, new = keys.rotated(id, NOW, NOW + DAY)
    before, after = NOW + DAY - timedelta(seconds=1), NOW + DAY

    assert made.principal.groups == {"kitchen"}
    assert [keys.identify(text, before) is not None for text in (old, new)] == [True, True]
    assert [keys.identify(text, after) is not None for text in (old, new)] == [False, True]
    assert list(keys.without(id).keys) == [made.id]


def test_a_rotation_does_not_prolong() -> None:
    """A key that was about to expire still does."""
    keys, id, old = issued(expires=NOW + DAY)
    keys, _, _ = keys.rotated(id, NOW, NOW + 9 * DAY)

    assert keys.identify(old, NOW + DAY) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"roles": ["admin"]}, "no role 'admin'"),
        ({"hash": "x"}, "its id or its hash"),
        ({"id": "A"}, "its id or its hash"),
        ({"actor": " "}, "the id is blank"),
        ({"tenant": ""}, "the tenant is blank"),
        ({"groups": "kitchen"}, "groups"),
        ({"expires": "2027-01-01T00:00:00"}, "no zone"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_no_list_of_keys_is_refused(change: dict[str, Any], why: str) -> None:
    """The message names the file and what is wrong."""
    document = json.loads(issued()[0].render())
    document["api_keys"][0] |= change

    with pytest.raises(DefinitionError, match=why) as refused:
        ApiKeys.parse(json.dumps(document).encode(), "/etc/bide/api.json")
    assert "/etc/bide/api.json" in str(refused.value)


def test_ids_are_unique() -> None:
    """Of two keys of one id, nobody could say which one was revoked."""
    document = json.loads(issued()[0].render())
    document["api_keys"] *= 2

    with pytest.raises(DefinitionError, match="same id"):
        ApiKeys.parse(json.dumps(document).encode(), "the file")
    with pytest.raises(DefinitionError, match="no API key"):
        NO_KEYS.without("a1")
