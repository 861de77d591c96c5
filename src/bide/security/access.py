"""Who asks, and by what right: a credential's owner, somebody on this machine, or a token's holder.

A completion is judged twice. Before anything is read: does its token hold, and does it agree with
what is named beside it (`right_of`)? Once the interaction is there: is it the token's, or does it
ask this caller (`Right.check`)? In between, the token's claims say which interaction that is.
"""

from __future__ import annotations

from dataclasses import dataclass

from bide.authoring.principal import Principal
from bide.authoring.transports import Transport
from bide.errors import BideError
from bide.model.ids import InteractionId, format_interaction
from bide.security.tokens import Claims, Purpose

DEFAULT_TENANT = "default"


class AccessRefused(BideError):
    """Whoever asks has no right to it; `code` says why, for the wire."""

    code = "not-allowed"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose rows are meant, and who asks where that is known.

    A program that uses Bide as a library has no `Caller`: it has the store's own credentials, and is
    trusted as its operator. So is the command line, which says who uses it.
    """

    tenant: str
    principal: Principal | None = None
    #: The tenant was named or comes from a credential; else a token may say another.
    binds_tenant: bool = True
    #: Brought no credential where one is needed: a token is all that it can act by.
    is_stranger: bool = False
    #: The tokens that count where it came in.
    takes: Purpose = Purpose.RESUME
    #: The operating system's user who uses the command line.
    operator: str | None = None
    #: The only awaits that may be answered where it came in, by their `via=`; None: any.
    answers: frozenset[Transport] | None = None

    @property
    def credential(self) -> str | None:
        """By what it is known, kind and key id; None for nobody in particular."""
        if self.operator is not None:
            return f"os-user:{self.operator}"
        return self.principal.credential if self.principal else None

    def actor(self, given: str | None) -> str | None:
        """Who is recorded: the principal, whatever the body says; an operator may say who."""
        if self.principal is not None:
            return self.principal.id
        return given or self.operator

    def may_decide(self, group: str | None, assignee: str | None) -> bool:
        """Whether this caller is among those whom an interaction asks."""
        principal = self.principal
        if principal is None or (group is None and assignee is None):
            return True
        return group in principal.groups or assignee == principal.id


@dataclass(frozen=True, slots=True)
class Right:
    """What a completion may answer, as far as it is known before anything was read."""

    tenant: str
    #: None for the store's operator.
    caller: Caller | None = None
    claims: Claims | None = None

    @property
    def interaction(self) -> InteractionId | None:
        """The interaction that the token names."""
        return self.claims.interaction if self.claims else None

    @property
    def credential(self) -> str | None:
        """By what it is given, kind and key id; None for nobody in particular."""
        if self.claims is not None:
            kind = "link" if self.claims.purpose is Purpose.DECIDE else "token"
            return f"{kind}:{self.claims.key_id}"
        return self.caller.credential if self.caller else None

    def actor(self, given: str | None) -> str | None:
        """Who is recorded: whom the token was made for, else the principal, else as they say."""
        if self.claims is not None and self.claims.actor is not None:
            return self.claims.actor
        return given if self.caller is None else self.caller.actor(given)

    def check(
        self,
        *,
        step_id: str,
        correlation_id: str | None,
        via: Transport | None,
        group: str | None,
        assignee: str | None,
    ) -> None:
        """Let the completion answer an interaction that was found.

        Args:
            step_id: its await's.
            correlation_id: what it is correlated by; None where that is not known.
            via: how its await asks; None where the await is not known here.
            group: whom it asks.
            assignee: whose it is.

        Raises:
            AccessRefused: it may not.
        """
        caller = self.caller
        if caller is not None and caller.answers is not None and via not in caller.answers:
            if via is None:
                raise _unknown_step()
            raise AccessRefused("wrong-topic", "the await takes its answers from elsewhere")
        if self.claims is not None:
            if not self.claims.names(step_id=step_id, correlation_id=correlation_id):
                raise AccessRefused("wrong-token", "the token is for another interaction")
            return
        if caller is None or caller.operator is not None:
            return
        if via is None:
            raise _unknown_step()
        if via.needs_token:
            raise AccessRefused(
                "token-required", "answers of this await must bring the resumeToken of its request"
            )
        if not caller.may_decide(group, assignee):
            raise AccessRefused("not-allowed", "the interaction asks another group or assignee")


OPERATOR = Right(DEFAULT_TENANT)


def _unknown_step() -> AccessRefused:
    return AccessRefused(
        "unknown-step", "this deployment does not know the await; use one that does"
    )


def right_of(
    tenant: str,
    caller: Caller | None,
    claims: Claims | None,
    *,
    interaction_id: str | None,
    correlation_id: str | None,
    step_id: str | None,
) -> Right:
    """Bring together who asks, what their token says, and what they name beside it; reads nothing.

    Args:
        tenant: the caller's; without a caller, the one that the operator works for, where the
            default one stands for not having said.
        caller: None for the store's operator.
        claims: what a token says that was verified; None where there is no token.
        interaction_id: named beside the token, as are the next two.
        correlation_id: likewise.
        step_id: likewise.

    Raises:
        AccessRefused: they disagree, or there is neither a credential nor a token.
    """
    if claims is None:
        if caller is not None and caller.is_stranger:
            raise AccessRefused("unauthenticated", "there is neither a credential nor a token")
        return Right(tenant, caller)
    bound = tenant != DEFAULT_TENANT if caller is None else caller.binds_tenant
    if bound and claims.tenant != tenant:
        raise AccessRefused("wrong-token", "the token is another tenant's")
    if interaction_id not in {None, format_interaction(claims.interaction)} or not claims.names(
        step_id=step_id, correlation_id=correlation_id
    ):
        raise AccessRefused("wrong-token", "the token is for another interaction than is named")
    return Right(claims.tenant, caller, claims)
