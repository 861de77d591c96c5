"""Values to bytes and back: one codec per payload type, made when the pipeline is defined.

Bytes are JSON, by alias, as they go over the wire and into the store. The rules that every codec
keeps:

* What is encoded can be decoded. A value is checked against its type on the way in and the bytes
  against the limits of JSON; what would not survive (NaN, NUL, half a surrogate pair) is refused.
* A union is written with the declared name of its variant outside, `{"accepted": {...}}`, and read
  by that name and never by shape: two variants with equal fields stay two.
* Equality is that of the canonical text (`bide.planning.canonical`), so that an answer sent twice
  is the same answer whatever its key order, spacing or trailing zeros.

There are four kinds: one value, a union, `Many` (a list of items) and `Answered`. What a codec is
made from and what can be wrong with that is in `bide.planning.codec_of`.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, NamedTuple, cast

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypeVar

from bide.authoring.answers import Answered
from bide.authoring.many import Many
from bide.errors import FieldError, PayloadError
from bide.planning import canonical as canonical_json
from bide.planning import json_limits
from bide.planning.core_schemas import Traits
from bide.planning.json_limits import MalformedJson
from bide.planning.typeforms import alias_name

T = TypeVar("T")
JsonSchema = dict[str, Any]

#: The most mistakes that one refusal lists.
_ERRORS_MAX: Final = 50
_MESSAGE_CHARACTERS_MAX: Final = 500
#: Where pydantic repeats the value that did not fit.
_QUOTED_INPUT: Final = re.compile(r"input_value=.*?, (?=input_type=)", re.DOTALL)


class Codec(ABC, Generic[T]):
    """How values of one type are written, read and compared."""

    __slots__ = ("form", "name")

    #: The variants of a union by their declared names; of other types, none.
    variants: Mapping[str, Codec[Any]] = MappingProxyType({})
    #: Whether this is a stream, written as a list.
    many: ClassVar[bool] = False

    def __init__(self, form: object, name: str) -> None:
        #: The type itself.
        self.form: Final = form
        #: Its declared name: a tag, else a class name or how the type reads; no import path.
        self.name: Final = name

    @property
    def item(self) -> Codec[Any]:
        """The codec of one item of a stream; of anything else, the codec itself."""
        return self

    @abstractmethod
    def encode(self, value: object) -> bytes:
        """Check a value against the type and write it; raise `PayloadError` if it does not fit."""

    @abstractmethod
    def decode(self, data: bytes) -> T:
        """Read what `encode` wrote, perhaps long ago by other code: `PayloadError` if unfit."""

    @abstractmethod
    def parse(self, value: object) -> T:
        """Read a JSON value from outside (`strict_loads`); `PayloadError` lists what is wrong."""

    @abstractmethod
    def canonical(self, value: object, data: bytes) -> bytes:
        """Give the canonical text of a value and of the bytes that `encode` made of it."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[ValueCodec[Any]]:
        """The codecs of plain values that this one is made of."""

    @abstractmethod
    def assemble(self, schemas: Mapping[int, JsonSchema]) -> JsonSchema:
        """Put the JSON Schemas of the parts (by identity) together to this type's."""

    def tag_of(self, value: object) -> str | None:
        """Give the declared name of the variant that a value is of; None if it is of none."""
        return None

    def digest(self, value: T, data: bytes) -> bytes:
        """Hash the canonical text (SHA-256): equal exactly for equal values."""
        return sha256(self.canonical(value, data)).digest()

    def schema(self) -> JsonSchema:
        """Describe in JSON Schema what a completion must hold, unions with their tags outside."""
        parts = self.parts
        made, shared = TypeAdapter.json_schemas(
            [(index, "validation", part.adapter) for index, part in enumerate(parts)]
        )
        schemas = {
            id(part): made[index, "validation"]  # keyed as it was asked for
            for index, part in enumerate(parts)
        }
        definitions = {"$defs": shared["$defs"]} if "$defs" in shared else {}
        return self.assemble(schemas) | definitions

    def __repr__(self) -> str:
        return f"<Codec of {self.name}>"


class ValueCodec(Codec[T]):
    """One value: a model, a dataclass, a TypedDict or a plain JSON type."""

    __slots__ = (
        "_dump",
        "_floats",
        "_texts_vary",
        "_validate",
        "_validate_json",
        "adapter",
        "reshapes",
    )

    def __init__(self, form: object, name: str, adapter: TypeAdapter[T], traits: Traits) -> None:
        super().__init__(form, name)
        self.adapter: Final = adapter
        # The bound methods themselves: the adapter's own cost as much as a small model does.
        self._validate: Final = cast("Callable[[object], T]", adapter.validator.validate_python)
        self._validate_json: Final = cast("Callable[..., T]", adapter.validator.validate_json)
        self._dump: Final = cast("Callable[..., bytes]", adapter.serializer.to_json)
        self._floats: Final = traits.may_hold_floats
        self._texts_vary: Final = traits.texts_vary
        #: Whether its validators may take what its schema does not tell of.
        self.reshapes: Final = traits.reshapes

    def encode(self, value: object) -> bytes:
        try:
            fitting = self._validate(value)
            data = self._dump(fitting, by_alias=True, round_trip=True, warnings=False)
            json_limits.refuse_unfit(data)
            if self._floats and _may_have_lost_float(data):
                self._refuse_lost_floats(fitting)
            self._read_back(fitting, data)
        except PayloadError:
            raise
        except Exception as error:  # the type's own validators may raise anything
            raise self._refusal("cannot be written as", error) from error
        return data

    def _read_back(self, value: object, data: bytes) -> None:
        """Make sure that what was written can be read, and that it is what the type says.

        A strict reading tells both. What it refuses may still be right, by the type's own rules for
        its JSON: then pydantic's warnings have the last word. They are not asked first: to make
        them errors costs more than the reading does, and says nothing of what can be read.
        """
        try:
            self._validate_json(data, strict=True)
        except ValidationError:
            self._dump(value, by_alias=True, round_trip=True, warnings="error")
            self._validate_json(data)

    def decode(self, data: bytes) -> T:
        try:
            return self._validate_json(data)
        except Exception as error:  # the type's own validators may raise anything
            raise self._refusal("what is stored does not fit", error) from error

    def parse(self, value: object) -> T:
        # Through bytes once more, since a strict model takes a UUID from JSON text only.
        try:
            return self._validate_json(canonical_json.dumps(value))
        except Exception as error:  # the type's own validators may raise anything
            raise self._refusal("does not fit", error) from error

    def canonical(self, value: object, data: bytes) -> bytes:
        if self._texts_vary:
            return canonical_json.canonical(self._dump_python(self._validate(value)))
        return canonical_json.canonical(canonical_json.loads(data))

    @property
    def parts(self) -> Sequence[ValueCodec[Any]]:
        return (self,)

    def assemble(self, schemas: Mapping[int, JsonSchema]) -> JsonSchema:
        return schemas[id(self)]

    def schema(self) -> JsonSchema:
        return self.adapter.json_schema()

    def _dump_python(self, value: object) -> object:
        return self.adapter.serializer.to_python(value, by_alias=True, round_trip=True)

    def _refuse_lost_floats(self, value: object) -> None:
        """Tell a null that was NaN from one that was None."""
        path = _path_of_nonfinite(self._dump_python(value), ())
        if path is not None:
            problem = FieldError(path=json_limits.pointer(path), message="NaN or infinite")
            raise PayloadError(
                _summary(self.name, "cannot be written as", [problem]), errors=[problem]
            )

    def _refusal(self, verb: str, error: Exception) -> PayloadError:
        problems = _problems(error)
        return PayloadError(_summary(self.name, verb, problems), errors=problems)


class Discriminator(NamedTuple):
    """A field that is a different text in every variant of a union."""

    #: The field's name in JSON.
    key: str
    #: Its values, and the declared name of the variant that each belongs to.
    tags: Mapping[str, str]

    def tag_of(self, value: object) -> str | None:
        """Give the variant that a JSON object says it is."""
        if not isinstance(value, Mapping):
            return None
        said = cast("Mapping[str, object]", value).get(self.key)
        return self.tags.get(said) if isinstance(said, str) else None


class UnionCodec(Codec[T]):
    """One of several variants, written with its name outside."""

    __slots__ = ("_discriminator", "_heads", "_tags", "variants")

    def __init__(
        self,
        form: object,
        variants: Mapping[str, Codec[Any]],
        classes: Sequence[tuple[type, str]],
        discriminator: Discriminator | None = None,
    ) -> None:
        super().__init__(form, alias_name(form) or " | ".join(variants))
        self.variants = MappingProxyType(dict(variants))
        self._discriminator: Final = discriminator
        self._heads: Final = {tag: b"{%s:" % canonical_json.dumps(tag) for tag in variants}
        # A class that several variants share (dict) tells nothing.
        named = [cls for cls, _ in classes]
        self._tags: Final = {cls: tag for cls, tag in classes if named.count(cls) == 1}

    def tag_of(self, value: object) -> str | None:
        kind = type(value)
        tag = self._tags.get(kind)
        if tag is not None:
            return tag
        for ancestor in kind.__mro__:
            if ancestor in self._tags:
                return self._tags[ancestor]
        for cls, tag in self._tags.items():  # abstract classes are no ancestors
            if isinstance(value, cls):
                return tag
        return self._discriminator.tag_of(value) if self._discriminator else None

    def encode(self, value: object) -> bytes:
        tag = self.tag_of(value)
        if tag is None:
            raise PayloadError(f"a {type(value).__name__} is none of {self.name}")
        return b"%s%s}" % (self._heads[tag], self.variants[tag].encode(value))

    def decode(self, data: bytes) -> T:
        for tag, head in self._heads.items():
            if data.startswith(head):
                return cast("T", self.variants[tag].decode(data[len(head) : -1]))
        raise PayloadError(f"what is stored names no variant of {self.name}")

    def parse(self, value: object) -> T:
        if isinstance(value, dict):
            fields = cast("dict[str, object]", value)
            named = self._discriminator.tag_of(fields) if self._discriminator else None
            if named is not None:
                return cast("T", self.variants[named].parse(fields))
            if len(fields) == 1:
                [(tag, body)] = fields.items()
                if tag in self.variants:
                    return cast("T", _within(tag, self.variants[tag].parse, body))
        problem = FieldError(path="", message=f"expected {self._expected()}")
        raise PayloadError(_summary(self.name, "does not fit", [problem]), errors=[problem])

    def canonical(self, value: object, data: bytes) -> bytes:
        tag = self.tag_of(value)
        if tag is None:
            raise PayloadError(f"a {type(value).__name__} is none of {self.name}")
        head = self._heads[tag]
        return b"%s%s}" % (head, self.variants[tag].canonical(value, data[len(head) : -1]))

    @property
    def parts(self) -> Sequence[ValueCodec[Any]]:
        return tuple(part for variant in self.variants.values() for part in variant.parts)

    def assemble(self, schemas: Mapping[int, JsonSchema]) -> JsonSchema:
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {tag: variant.assemble(schemas)},
                    "required": [tag],
                    "additionalProperties": False,
                }
                for tag, variant in self.variants.items()
            ]
        }

    def _expected(self) -> str:
        """Say what a value of the union looks like from outside."""
        tagged = " or ".join(f'{{"{tag}": ...}}' for tag in self.variants)
        if self._discriminator is None:
            return tagged
        return f'{tagged}, or an object with "{self._discriminator.key}"'


class ManyCodec(Codec[Many[T]]):
    """A whole stream, written as a list of its items.

    Items keep the limits of JSON each for itself; how many there may be is the guards' business.
    """

    __slots__ = ("_item",)

    many = True

    def __init__(self, form: object, item: Codec[T]) -> None:
        super().__init__(form, f"Many[{item.name}]")
        self._item: Final = item

    @property
    def item(self) -> Codec[T]:
        return self._item

    def encode(self, value: object) -> bytes:
        encode = self._item.encode
        written = [_within(index, encode, item) for index, item in enumerate(self._items_of(value))]
        return b"[%s]" % b",".join(written)

    def decode(self, data: bytes) -> Many[T]:
        return Many([self._item.decode(item) for item in _split(data)])

    def parse(self, value: object) -> Many[T]:
        parse = self._item.parse
        items = self._items_of(value)
        return Many([_within(index, parse, item) for index, item in enumerate(items)])

    def canonical(self, value: object, data: bytes) -> bytes:
        pairs = zip(self._items_of(value), _split(data), strict=True)
        return b"[%s]" % b",".join([self._item.canonical(item, part) for item, part in pairs])

    @property
    def parts(self) -> Sequence[ValueCodec[Any]]:
        return self._item.parts

    def assemble(self, schemas: Mapping[int, JsonSchema]) -> JsonSchema:
        return {"type": "array", "items": self._item.assemble(schemas)}

    def _items_of(self, value: object) -> Iterable[object]:
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
            return cast("Iterable[object]", value)
        problem = FieldError(path="", message="expected a list")
        raise PayloadError(_summary(self.name, "does not fit", [problem]), errors=[problem])


class AnsweredCodec(Codec[Answered[T]]):
    """An item of a collected stream that was answered: its value, by that value's own rules."""

    __slots__ = ("_value",)

    def __init__(self, form: object, value: Codec[T]) -> None:
        super().__init__(form, "Answered")
        self._value: Final = value

    def encode(self, value: object) -> bytes:
        if not isinstance(value, Answered):
            raise PayloadError(f"a {type(value).__name__} is not Answered")
        answered = cast("Answered[T]", value)
        return b'{"itemIndex":%d,"value":%s}' % (
            answered.item_index,
            self._value.encode(answered.value),
        )

    def decode(self, data: bytes) -> Answered[T]:
        head, _, body = data.partition(b',"value":')
        index = int(head.removeprefix(b'{"itemIndex":'))
        return Answered(self._value.decode(body[:-1]), index)

    def parse(self, value: object) -> Answered[T]:
        fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        index = fields.get("itemIndex")
        if fields.keys() == {"itemIndex", "value"} and isinstance(index, int):
            return Answered(_within("value", self._value.parse, fields["value"]), index)
        problem = FieldError(path="", message='expected {"itemIndex": ..., "value": ...}')
        raise PayloadError(_summary(self.name, "does not fit", [problem]), errors=[problem])

    def canonical(self, value: object, data: bytes) -> bytes:
        head, _, body = data.partition(b',"value":')
        answered = cast("Answered[T]", value)
        return b'%s,"value":%s}' % (head, self._value.canonical(answered.value, body[:-1]))

    @property
    def parts(self) -> Sequence[ValueCodec[Any]]:
        return self._value.parts

    def assemble(self, schemas: Mapping[int, JsonSchema]) -> JsonSchema:
        return {
            "type": "object",
            "properties": {
                "itemIndex": {"type": "integer"},
                "value": self._value.assemble(schemas),
            },
            "required": ["itemIndex", "value"],
            "additionalProperties": False,
        }


def _split(data: bytes) -> Iterable[bytes]:
    """Cut a list that we wrote into its items, byte for byte."""
    text = data.decode()
    decoder = json.JSONDecoder()
    start, end = 1, len(text) - 1
    while start < end:
        stop = decoder.raw_decode(text, start)[1]
        yield text[start:stop].encode()
        start = stop + 1  # past the comma


def _within(key: str | int, call: Callable[[Any], T], value: object) -> T:
    """Read a part of a payload, and put its place before whatever is wrong with it."""
    try:
        return call(value)
    except PayloadError as error:
        prefix = json_limits.pointer((key,))
        problems = [
            FieldError(path=prefix + problem["path"], message=problem["message"])
            for problem in error.errors
        ] or [FieldError(path=prefix, message=str(error))]
        raise PayloadError(str(error), errors=problems) from error


def _problems(error: Exception) -> list[FieldError]:
    """List what is wrong without repeating any value: payloads do not belong into logs."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False, include_context=False, include_input=False)
        return [
            FieldError(path=json_limits.pointer(detail["loc"]), message=detail["msg"])
            for detail in details[:_ERRORS_MAX]
        ]
    if isinstance(error, MalformedJson):
        return [FieldError(path="", message=str(error))]
    text = _QUOTED_INPUT.sub("", f"{type(error).__name__}: {error}")
    return [FieldError(path="", message=text[:_MESSAGE_CHARACTERS_MAX])]


def _summary(name: str, verb: str, problems: Sequence[FieldError]) -> str:
    first = problems[0]
    where = f" at {first['path']}" if first["path"] else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"the value {verb} {name}: {first['message']}{where}{more}"


def _may_have_lost_float(data: bytes) -> bool:
    return b"null" in data or b"NaN" in data or b"Infinity" in data


def _path_of_nonfinite(value: object, path: tuple[object, ...]) -> tuple[object, ...] | None:
    """Find the first float in a Python value that JSON has no number for."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    if isinstance(value, Mapping):
        parts: Iterable[tuple[object, object]] = cast("Mapping[object, object]", value).items()
    elif isinstance(value, list | tuple | set | frozenset):
        parts = enumerate(cast("Iterable[object]", value))
    else:
        return None
    found = (_path_of_nonfinite(part, (*path, key)) for key, part in parts)
    return next((hit for hit in found if hit is not None), None)
