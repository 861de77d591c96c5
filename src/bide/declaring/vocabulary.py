"""What a declaration may say: the published words as models, and the JSON Schema made of them.

The models hold what was written and nothing else: no default of Bide is repeated here, so that what
is left out means the same as in code. Words are camelCase, as on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

#: What may be named: a type also as str, int, float or bool.
TypeName = Annotated[str, Field(examples=["shop.orders.PlaceOrder"])]
FunctionName = Annotated[str, Field(examples=["shop.orders.validate"])]
#: ISO 8601, or as in code: 30m, 1h30m, 2d.
DurationText = Annotated[str, Field(examples=["PT30M"])]
Fields = Annotated[list[str], Field(min_length=1)]

CardinalityWord: TypeAlias = Literal[
    "ONE_TO_ONE", "ONE_TO_MANY", "MANY_TO_ONE", "MANY_TO_MANY", "EXPANSION", "REDUCTION"
]


class Words(BaseModel):
    """A mapping with these keys and no others."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,  # for those who make them in code; files are held to the aliases
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _check_words(cls, given: Any) -> Any:
        """Refuse a word that is unknown before one that is missing: it is often that one."""
        if not isinstance(given, Mapping):
            return given
        words = {field.alias or name: field for name, field in cls.model_fields.items()}
        for word in cast("Mapping[str, object]", given):
            if word not in words:
                raise PydanticCustomError("unknown_word", "", {"word": word, "known": list(words)})
        for word, field in words.items():
            if field.is_required() and word not in given:
                meaning = (field.description or "").rstrip(".").replace("\n", " ")
                example = f", as in {word}: {field.examples[0]}" if field.examples else ""
                found = {"word": word, "meaning": f"{meaning}{example}"}
                raise PydanticCustomError("missing_word", "", found)
        return cast("object", given)


class SecretAt(Words):
    """Where a secret is found; a declaration holds none."""

    env: str | None = None
    """The variable of the environment that holds it."""
    file: str | None = None
    """The file that holds it."""


class RetryRule(Words):
    """How often and how far apart one request is tried."""

    attempts: int | None = None
    """Tries in all."""
    first: DurationText | None = None
    """The rest after the first failed try; then twice as long each time."""
    longest: DurationText | None = None
    """What the rest is cut at."""


class InboxTransport(Words):
    """People decide: in the inbox, over the API, on the command line."""

    type: Literal["interaction-api"]
    """By what it is carried: interaction-api, webhook or kafka."""
    group: str | None = None
    """Whose turn it is."""
    assignee: str | None = None
    """Which person's."""


class WebhookRequest(Words):
    """Where a webhook's request goes."""

    url: str
    """The address that requests are posted to."""


class Callback(Words):
    """Where a webhook's partner posts the answer; without it, where the settings say."""

    completion_url: str | None = None
    """The whole address."""
    base_url: str | None = None
    """The address of this app, before `completionPath`."""
    completion_path: str | None = None
    """Behind `baseUrl`; /pipeline/interactions/complete if it is left out."""


class WebhookTransport(Words):
    """The request is posted to a partner, signed; the answer comes to the callback."""

    type: Literal["webhook"]
    """By what it is carried: interaction-api, webhook or kafka."""
    request: WebhookRequest
    """Where it goes."""
    callback: Callback | None = None
    """Where the answer comes; without it, where the settings say."""
    headers: dict[str, str | SecretAt] | None = None
    """Sent with each request; a value is a text, or where a secret is found."""
    secret: SecretAt | list[SecretAt] | None = None
    """What requests are signed with; several while one is being replaced."""
    retry: RetryRule | None = None
    """How often and how far apart one request is tried."""
    max_in_flight: int | None = None
    """Unanswered interactions, at most."""
    trusted_network: bool | None = None
    """With the strategy interactionId: answers may come without a token."""


class KafkaRequest(Words):
    """Where a broker's request goes."""

    topic: str
    """The topic that requests go to."""
    key: Literal["correlationId", "interactionId"] | None = None
    """What records are keyed by; correlationId if it is left out."""


class KafkaResponse(Words):
    """Where a broker's answers come from."""

    topic: str
    """The topic that answers come from."""


class KafkaConsumer(Words):
    """Who reads them."""

    group: str | None = None
    """The consumer group of all processes that take these answers."""


class KafkaTransport(Words):
    """The request goes to one topic, the answer comes from another."""

    type: Literal["kafka"]
    """By what it is carried: interaction-api, webhook or kafka."""
    request: KafkaRequest
    """Where it goes."""
    response: KafkaResponse
    """Where answers come from."""
    consumer: KafkaConsumer | None = None
    """Who reads them."""
    dead_letters: str | None = None
    """The topic that refused answers go to; that of the response and .dead-letters if it is left
    out."""
    tenants: list[str] | None = None
    """Those whose answers the response topic may carry without a token."""
    headers: dict[str, str] | None = None
    """Sent with each request."""
    retry: RetryRule | None = None
    """How often and how far apart one request is tried."""
    max_in_flight: int | None = None
    """Unanswered interactions, at most."""
    trusted_network: bool | None = None
    """With the strategy interactionId: answers may come without a token."""


TransportWords: TypeAlias = InboxTransport | WebhookTransport | KafkaTransport


class Correlation(Words):
    """By what an answer names its interaction."""

    strategy: Literal["interactionId", "signedResumeToken"] | None = None
    """Its id, or the token that went with the request; webhook and kafka take the token unless
    their network is trusted."""
    fields: Fields | None = None
    """Fields of the request that an answer may name the interaction by."""
    scope: str | None = None
    """In which `fields` name one open interaction; this pipeline and step if it is left out."""


class Completion(Words):
    """What an actor submits, where that is not what the next step takes."""

    type: TypeName | None = None
    """The type of what is submitted; `output` if it is left out."""
    projector: FunctionName | None = None
    """Makes `output` of request, answer and who answered."""


class AwaitBlock(Words):
    """How the request leaves and the answer comes back."""

    transport: Annotated[TransportWords, Field(discriminator="type")]
    """How the request leaves: {type: interaction-api}, for example."""
    correlation: Correlation | None = None
    """By what an answer names its interaction."""
    completion: Completion | None = None
    """What an actor submits, where that is not `output`."""


class Idempotency(Words):
    """The business key, in its other spelling."""

    fields: Fields
    """Fields of the request."""


class Gaps(Words):
    """How many items of a stream may go missing."""

    tolerate: int | str
    """A count (3) or a share ("5%")."""


class AwaitStep(Words):
    """A boundary at which the execution parks until it is answered."""

    name: str
    """What people read; its slug is the id."""
    id: str | None = None
    """Pins the id, so that the name may change."""
    kind: Literal["await"]
    """What kind of step it is: await."""
    cardinality: CardinalityWord
    """Requests and answers of one interaction. EXPANSION is ONE_TO_MANY, REDUCTION MANY_TO_ONE."""
    input: TypeName
    """What is asked with; of a stream, one item."""
    output: TypeName
    """What the next step takes; of a stream, one item."""
    timeout: DurationText
    """Until when one interaction may be answered."""
    on_timeout: FunctionName | None = None
    """Makes `output` of the request when nobody answers; without it the unit fails."""
    unit_timeout: DurationText | None = None
    """Until when all items of a stream must be answered."""
    items: Gaps | None = None
    """The next step then takes `Answered` or `Missing` for each."""
    idempotency_key_fields: Fields | None = None
    """The business key that partners get: fields of the request."""
    idempotency: Idempotency | None = None
    """The same as idempotencyKeyFields; write one of the two."""
    await_: AwaitBlock = Field(alias="await")
    """How the request leaves and the answer comes back."""


class CallStep(Words):
    """A function."""

    call: FunctionName
    """The function: package.module.name."""
    name: str | None = None
    """What people read; its slug is the id. The function's own name if it is left out."""
    id: str | None = None
    """Pins the id, so that the name may change."""


class KeepStep(Words):
    """Lets a variant of a union pass, among the steps that take the others."""

    keep: TypeName
    """The type of the variants that pass."""


def _kind(step: Any) -> str | None:
    """Which step is meant, by the words in it; a model is itself."""
    if isinstance(step, Words):
        return type(step).__name__
    words = cast("Mapping[str, object]", step) if isinstance(step, Mapping) else ()
    if "kind" in words or "await" in words:
        return AwaitStep.__name__
    return next((kind for word, kind in _BY_WORD.items() if word in words), None)


_BY_WORD: Final = {"call": CallStep.__name__, "keep": KeepStep.__name__}

StepWords: TypeAlias = Annotated[
    Annotated[CallStep, Tag("CallStep")]
    | Annotated[AwaitStep, Tag("AwaitStep")]
    | Annotated[KeepStep, Tag("KeepStep")],
    Discriminator(_kind),
]


class Declaration(Words):
    """A pipeline."""

    name: str
    """What people call it; its slug is the id."""
    input: TypeName
    """What it takes."""
    many: bool | None = None
    """It takes a stream of `input`."""
    steps: list[StepWords] = Field(min_length=1)
    """In order. Steps that take variants of a union stand one after another."""
    renamed: dict[str, str] | None = None
    """Ids that awaits had while executions parked there, and the ids they have now."""


def json_schema() -> dict[str, Any]:
    """The vocabulary as JSON Schema 2020-12, for editors."""
    schema = cast("dict[str, Any]", _without_null(Declaration.model_json_schema(by_alias=True)))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A pipeline of Bide",
    }


def schema_text() -> str:
    """The same as text, as it is printed and committed."""
    return f"{json.dumps(json_schema(), indent=2, ensure_ascii=False)}\n"


def _without_null(schema: Any) -> Any:
    """Say of optional words what they hold where they stand: None only says that they do not."""
    if isinstance(schema, list):
        return [_without_null(one) for one in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = {key: _without_null(one) for key, one in cast("dict[str, Any]", schema).items()}
    if found.get("default", ...) is None:
        del found["default"]
    if isinstance(found.get("title"), str) and "$defs" not in found:
        del found["title"]  # pydantic's own, which only repeats the key
    kinds = [kind for kind in found.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del found["anyOf"]
        found = {**kinds[0], **found}
    elif kinds:
        found["anyOf"] = kinds
    return found
