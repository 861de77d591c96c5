"""How the codec of a type is made, and why some types have none.

A variant's declared name is its tag (`Annotated[Accepted, Tag("accepted")]`), else the text of the
literal field that tells the variants apart, else its class name. A type that would not survive
storage is `Unfit`; who asked for it says where that was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, get_args, get_origin

from pydantic import Discriminator as PydanticDiscriminator
from pydantic import PydanticUserError, Tag, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic.fields import FieldInfo

from bide.authoring.answers import Answered
from bide.authoring.many import Many
from bide.planning.codec import (
    AnsweredCodec,
    Codec,
    Discriminator,
    ManyCodec,
    UnionCodec,
    ValueCodec,
)
from bide.planning.core_schemas import traits_of
from bide.planning.typeforms import bare, metadata, runtime_class, type_text, union, variants

_REFERENCE: Final = "#/$defs/"


class Unfit(Exception):
    """This type cannot cross a boundary; the message completes "TYPE cannot be stored: ..."."""


def codec_of(form: object) -> Codec[Any]:
    """Make the codec of a type, `Many[T]` included; raise `Unfit` if there can be none."""
    inner = bare(form)
    if isinstance(inner, str):
        raise Unfit("it is the name of a type; write the type itself")
    if inner is Many:
        raise Unfit("it does not say of what; write Many[T]")
    if get_origin(inner) is Many:
        [item] = get_args(inner)
        return ManyCodec(form, _item_codec(item))
    return _item_codec(form)


def codec_of_variants(chosen: Sequence[Codec[Any]]) -> Codec[Any]:
    """Make the codec of some variants of a union; of one alone, that one."""
    if len(chosen) == 1:
        return chosen[0]
    return codec_of(union(tuple(variant.form for variant in chosen)))


def _item_codec(form: object) -> Codec[Any]:
    members = variants(form)
    for member in members:
        if get_origin(bare(member)) is Many or bare(member) is Many:
            raise Unfit("Many[...] stands outermost or not at all; use list[...] inside")
    if len(members) > 1:
        return _union_codec(form, members)
    if get_origin(bare(form)) is Answered:
        [value] = get_args(bare(form))
        return AnsweredCodec(form, _item_codec(value))
    return _value_codec(form)


def _value_codec(form: object) -> ValueCodec[Any]:
    try:
        adapter = TypeAdapter[Any](cast("Any", form))
        adapter.json_schema()
    except PydanticUndefinedAnnotation as error:
        raise Unfit(
            f"it refers to '{error.name}', which is not defined (yet) at run time; "
            "import it outside `if TYPE_CHECKING:`, or call model_rebuild() first"
        ) from error
    except PydanticSchemaGenerationError as error:
        raise Unfit("it has no JSON form; make it a model, a dataclass or a TypedDict") from error
    except PydanticUserError as error:
        raise Unfit(f"it has no JSON form ({_first_line(error)})") from error
    except NameError as error:
        raise Unfit(f"it refers to '{error.name}', which is not defined at run time") from error
    except (TypeError, RecursionError) as error:
        raise Unfit(f"it is no type that can be read ({_first_line(error)})") from error
    traits = traits_of(adapter.core_schema)
    if traits.lost_fields:
        raise Unfit(traits.lost_fields[0])
    return ValueCodec(form, _tag(form) or type_text(form), adapter, traits)


def _union_codec(form: object, members: Sequence[object]) -> UnionCodec[Any]:
    _refuse_lost_metadata(form)
    codecs = [_item_codec(member) for member in members]
    schemas = [_root(codec.schema()) for codec in codecs]
    key = _literal_key(schemas)
    literals = [_texts(schema, key) if key else () for schema in schemas]
    names = [
        _tag(member) or (texts[0] if len(texts) == 1 else codec.name)
        for member, codec, texts in zip(members, codecs, literals, strict=True)
    ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Unfit(
            f"two of its variants are called '{twice}'; "
            f'name them: Annotated[X, Tag("{twice}")] | Annotated[Y, Tag("other-name")]'
        )
    tags = {text: name for texts, name in zip(literals, names, strict=True) for text in texts}
    discriminator = Discriminator(key, tags) if key else None
    classes = [(_class_of(member), name) for member, name in zip(members, names, strict=True)]
    _refuse_same_class(members, classes, discriminator)
    return UnionCodec(form, dict(zip(names, codecs, strict=True)), classes, discriminator)


def _tag(form: object) -> str | None:
    """Give the name that `Tag` declares."""
    return next((said.tag for said in metadata(form) if isinstance(said, Tag)), None)


def _refuse_lost_metadata(form: object) -> None:
    """A union is taken apart, so what `Annotated` says about the whole would be passed over."""
    for said in metadata(form):
        described = isinstance(said, FieldInfo) and not said.metadata
        if not described and not isinstance(said, str | PydanticDiscriminator | Tag):
            raise Unfit(f"{type(said).__name__} is said about the whole union; put it on a variant")


def _class_of(member: object) -> type:
    found = runtime_class(member)
    if found is None:
        raise Unfit(f"its variant {type_text(member)} is no class; wrap it in a model")
    return found


def _refuse_same_class(
    members: Sequence[object],
    classes: Sequence[tuple[type, str]],
    discriminator: Discriminator | None,
) -> None:
    """Values are routed by class; a literal field settles it only for dicts, which carry it."""
    by_class: dict[type, object] = {}
    for member, (cls, _) in zip(members, classes, strict=True):
        other = by_class.setdefault(cls, member)
        if other is not member and not (cls is dict and discriminator):
            raise Unfit(
                f"its variants {type_text(other)} and {type_text(member)} are both "
                f"{cls.__name__} at run time; make them two models"
            )


def _root(schema: dict[str, Any]) -> Mapping[str, Any]:
    """Follow the reference by which the schema of a recursive model begins."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith(_REFERENCE):
        found: Mapping[str, Any] = schema["$defs"][reference.removeprefix(_REFERENCE)]
        return found
    return schema


def _literal_key(schemas: Sequence[Mapping[str, Any]]) -> str | None:
    """Find the field that is required and a different text in every variant."""
    for key in schemas[0].get("properties", {}):
        texts = [text for schema in schemas for text in _texts(schema, key) or ("", "")]
        if len(set(texts)) == len(texts):
            return str(key)
    return None


def _texts(schema: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Give the texts that a field may be; none if it may be anything else."""
    field: Mapping[str, Any] = schema.get("properties", {}).get(key, {})
    values = field.get("enum", [field["const"]] if "const" in field else [])
    return tuple(values) if all(isinstance(value, str) for value in values) else ()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
