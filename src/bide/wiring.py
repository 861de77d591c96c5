"""From configuration to a runtime: the only module that names concrete stores and transports."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bide.authoring.publications import Deployment, Destination, Topic
from bide.authoring.transports import Inbox, Kafka, Webhook
from bide.authoring.transports import Transport as Via
from bide.errors import DefinitionError
from bide.planning.hints import ResourceKey
from bide.planning.plan import Plan
from bide.runtime.clock import system_clock
from bide.runtime.plans import Plans
from bide.runtime.runtime import Resource, Runtime
from bide.security.authentication import Authentication
from bide.security.desk import HOW, TokenDesk
from bide.settings import Settings
from bide.spi.handoff import Carrier
from bide.spi.store import Store
from bide.spi.telemetry import SILENT, Telemetry
from bide.spi.transactions import Transactional
from bide.spi.transport import Transport
from bide.stores.address import shown
from bide.stores.memory import MemoryStore
from bide.stores.sqlite.store import SqliteStore

_FORMS = (
    "sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host:5432/database, memory://"
)


def open_runtime(
    url: str,
    plans: Plans,
    settings: Settings,
    *,
    resources: Sequence[Resource] = (),
    given: Mapping[ResourceKey, object],
    transports: Mapping[type[Via], Transport],
    carriers: Mapping[type[Destination], Carrier],
) -> Runtime:
    """Put a runtime together; nothing is opened before its `start`.

    Raises:
        DefinitionError: a keyring is named that cannot be read, or none is and an await needs one;
            a step takes a transaction, and the store has none.
    """
    tokens = TokenDesk.of(settings)
    check_tokens(plans.versions, tokens)
    store = store_of(url)
    check_transactions(plans.versions, store)
    return Runtime(
        store, plans, settings, system_clock,
        tokens=tokens, resources=resources, given=given,
        transports=transports_of(plans, settings, transports),
        carriers=carriers_of(plans, settings, carriers),
        telemetry=telemetry_of(plans, settings),
    )  # fmt: skip


def authentication_of(settings: Settings) -> Authentication | None:
    """Who is known over HTTP, as the settings say; None where nobody is asked.

    Raises:
        DefinitionError: what they say cannot work.
    """
    return Authentication.of(settings, system_clock)


def telemetry_of(plans: Plans, settings: Settings) -> Telemetry:
    """What hears of a process's work, by the settings.

    Raises:
        DefinitionError: it is asked for, and what it takes is not installed.
    """
    telemetry = SILENT
    try:
        if settings.metrics:
            from bide.telemetry.metrics import PrometheusMeter

            telemetry = telemetry._replace(meter=PrometheusMeter(plans.names_of))
        if settings.traces:
            from bide.telemetry.traces import OtelTracing

            telemetry = telemetry._replace(tracing=OtelTracing(settings.traces_share))
    except ImportError as error:
        raise DefinitionError(
            f"BIDE_METRICS and BIDE_TRACES take {error.name}, which is not installed:"
            ' pip install "bide[telemetry]"'
        ) from error
    return telemetry


def check_tokens(plans: Iterable[Plan], tokens: TokenDesk) -> None:
    """Refuse to start where an await hands out tokens and no key could sign them.

    Raises:
        DefinitionError: names the await and what to do.
    """
    if tokens.is_open:
        return
    for plan in plans:
        for boundary in plan.awaits():
            if boundary.transport.needs_token:
                raise DefinitionError(
                    f"await {boundary.name!r} of pipeline {plan.title!r} sends resume tokens, and"
                    f" there is no keyring; {HOW}"
                )


def check_transactions(plans: Iterable[Plan], store: Store) -> None:
    """Refuse to start where a step takes a `Transaction` and the store has no SQL.

    Raises:
        DefinitionError: names the step and what to do.
    """
    if isinstance(store, Transactional):
        return
    for plan in plans:
        for step in plan.steps():
            if step.transaction is not None:
                raise DefinitionError(
                    f"step '{step.id}' of pipeline {plan.title!r} takes a Transaction, and this store"
                    " has no SQL; use sqlite:///bide.db or postgresql://..."
                )


def transports_of(
    plans: Plans, settings: Settings, given: Mapping[type[Via], Transport]
) -> dict[type[Via], Transport]:
    """What carries the interactions of an app's awaits: what it was given, else what Bide has.

    Raises:
        DefinitionError: an await says `via=` what nothing carries.
    """
    used: dict[type[Via], dict[str, Via]] = {}
    for plan in plans.versions:
        for boundary in plan.awaits():
            if not isinstance(boundary.transport, Inbox):
                name = f"await {boundary.name!r} of pipeline {plan.title!r}"
                used.setdefault(type(boundary.transport), {})[name] = boundary.transport
    return {kind: given.get(kind) or _made(kind, vias, settings) for kind, vias in used.items()}


def _made(kind: type[Via], vias: Mapping[str, Via], settings: Settings) -> Transport:
    make = _TRANSPORTS.get(kind)
    if make is None:
        name = next(iter(vias))
        raise DefinitionError(
            f"{name} says via={kind.__name__}(...), which this release of Bide does not carry;"
            f" leave it out, or give the app what does: App(..., transports={{{kind.__name__}: ...}})"
        )
    return make(vias, settings)


def _webhooks(vias: Mapping[str, Via], settings: Settings) -> Transport:
    from bide.transports.webhook.transport import WebhookTransport

    awaits = {name: via for name, via in vias.items() if isinstance(via, Webhook)}
    return WebhookTransport(awaits, settings, system_clock)


def _kafkas(vias: Mapping[str, Via], settings: Settings) -> Transport:
    try:
        from bide.transports.kafka.transport import KafkaTransport
    except ImportError as error:
        raise DefinitionError(
            f"{next(iter(vias))} says via=Kafka(...), which takes {error.name}, and that is not"
            ' installed: pip install "bide[kafka]"'
        ) from error
    awaits = {name: via for name, via in vias.items() if isinstance(via, Kafka)}
    return KafkaTransport(awaits, settings)


#: What Bide itself carries interactions with, by what authors write. Each is made from the awaits
#: of an app, by the words that messages call them by, when an await needs it.
_TRANSPORTS: Mapping[type[Via], Callable[[Mapping[str, Via], Settings], Transport]] = {
    Webhook: _webhooks,
    Kafka: _kafkas,
}


def carriers_of(
    plans: Plans, settings: Settings, given: Mapping[type[Destination], Carrier]
) -> dict[type[Destination], Carrier]:
    """What offers publications to other deployments, and takes theirs from topics: what the app was
    given, else what Bide has.

    Raises:
        DefinitionError: a publication says `to=` what nothing carries.
    """
    used: dict[type[Destination], dict[str, Destination]] = {}
    for id, to in plans.destinations().items():
        used.setdefault(type(to), {})[f"publication {id!r}"] = to
    topics = plans.topics()
    if topics:
        used.setdefault(Topic, {})
    return {
        kind: given.get(kind)
        or (_topics(of, topics, settings) if kind is Topic else _deployments(kind, of, settings))
        for kind, of in used.items()
    }


def _topics(
    named: Mapping[str, Destination], taken: Mapping[str, Topic], settings: Settings
) -> Carrier:
    try:
        from bide.transports.kafka.carrier import KafkaCarrier
    except ImportError as error:
        name = next(iter(named), None) or f"the subscription to {next(iter(taken))!r}"
        raise DefinitionError(
            f"{name} names a Topic(...), which takes {error.name}, and that is not installed:"
            ' pip install "bide[kafka]"'
        ) from error
    going = {name: to for name, to in named.items() if isinstance(to, Topic)}
    return KafkaCarrier(going, taken, settings)


def _deployments(
    kind: type[Destination], named: Mapping[str, Destination], settings: Settings
) -> Carrier:
    deployments = {name: to for name, to in named.items() if isinstance(to, Deployment)}
    if len(deployments) < len(named):
        raise DefinitionError(
            f"{next(iter(named))} says to={kind.__name__}(...), which this release of Bide does not"
            f" carry; give the app what does: App(..., carriers={{{kind.__name__}: ...}})"
        )
    from bide.transports.deployment.carrier import DeploymentCarrier

    return DeploymentCarrier(deployments, settings)


def store_of(url: str) -> Store:
    """The store that a URL names.

    Raises:
        DefinitionError: the URL names none; the message lists the forms.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # whose words may hold a part of the password
        raise DefinitionError(
            f"the store {shown(url)!r} cannot be read; write one of: {_FORMS}"
        ) from None
    if parts.scheme == "memory":
        return MemoryStore(system_clock)
    if parts.scheme == "sqlite":
        path = unquote(parts.path).removeprefix("/")
        if parts.netloc or not path or "\0" in path or path == ":memory:":
            raise DefinitionError(f"the store {shown(url)!r} names no file; write one of: {_FORMS}")
        return SqliteStore(str(Path(path)), system_clock)
    if parts.scheme in {"postgresql", "postgres"} and parts.path.strip("/"):
        from bide.stores.postgres.store import PostgresStore

        return PostgresStore(url)
    raise DefinitionError(f"there is no store for {shown(url)!r}; write one of: {_FORMS}")
