"""What `bide doctor` finds in the settings that no single one of them shows."""

import difflib
from collections.abc import Collection, Iterator

from bide.authoring.urls import parse_url
from bide.errors import BideError
from bide.runtime.views import Check
from bide.settings import Settings
from bide.wiring import authentication_of

_PREFIX = "BIDE_"
#: Variables that are no settings of an app.
_OTHERS = frozenset({"BIDE_APP", "BIDE_PACKAGES", "BIDE_DEBUG", "BIDE_FAILPOINT"})


def configured(settings: Settings, names: Collection[str]) -> Iterator[Check]:
    """Look at the settings of an app, and at the names in the environment that they came from."""
    yield from _unknown(names)
    if settings.lease_renew_ms >= settings.lease_ms:
        yield Check(
            "leases",
            ok=False,
            message=f"BIDE_LEASE_RENEW_MS is {settings.lease_renew_ms:,} and BIDE_LEASE_MS"
            f" {settings.lease_ms:,}: every lease runs out before it is renewed",
            hint="renew three times within a lease, or leave both as they are",
        )
    yield _authentication(settings)
    if settings.callback_base_url:
        try:
            parse_url("BIDE_CALLBACK_BASE_URL", settings.callback_base_url)
        except BideError as error:
            yield Check("callbacks", ok=False, message=str(error))


def _unknown(names: Collection[str]) -> Iterator[Check]:
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHERS
    for name in sorted(set(names) - known):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            meant = f"do you mean {near[0]}?" if near else "bide's settings are listed in its docs"
            yield Check("settings", ok=False, warning=True, message=f"{name} is no setting and does"
                        " nothing", hint=meant)  # fmt: skip


def _authentication(settings: Settings) -> Check:
    try:
        known_by = authentication_of(settings)
    except BideError as error:
        return Check("authentication", ok=False, message=str(error))
    if known_by is None:
        return Check("authentication", ok=True, message="off: only this machine may be served")
    return Check("authentication", ok=True, message=f"by {' and '.join(known_by.kinds)}")
