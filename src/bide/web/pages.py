"""Pages for people: plain HTML without a script, every text of a stranger's escaped.

The policy that goes with each page lets it load nothing and be framed by nobody; its one style is
named by its hash. What a page shows was sent by partners and authors, so nothing of it is markup.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from typing import Any, Final, cast

from starlette.responses import Response

from bide.runtime.views import InteractionView
from bide.web import rendering
from bide.web.forms import Field, Form

_STYLE: Final = """\
body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}
dl{margin:0 0 0 1rem}dt{font-weight:600}dd{margin:0 0 .5rem 1rem;white-space:pre-wrap}
form{border-top:1px solid #888;margin-top:1.5rem;padding-top:1rem}
label{display:block;margin:.75rem 0 .25rem}
input,select,textarea{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}
button{font:inherit;margin-top:1rem;padding:.5rem 1.5rem}
.note{color:#555}.wrong{color:#a00;font-weight:600}"""

_STYLE_HASH: Final = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    ),
    # The address is the credential: it goes to nobody, not even to ourselves.
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-robots-tag": "noindex, nofollow",
}
#: Levels of a request that are shown as lists; what lies deeper is shown as JSON.
_LEVELS: Final = 6


def page(title: str, body: str, *, status: int = 200) -> Response:
    """One whole page; `title` is escaped, `body` is HTML already."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
    return rendering.raw(
        text.encode("utf-8", "replace"),
        status=status,
        media_type="text/html; charset=utf-8",
        headers=HEADERS,
    )


def message(title: str, text: str, *, status: int = 200) -> Response:
    """A page that only says something."""
    return page(title, f"<p>{escape(text)}</p>", status=status)


def question(
    view: InteractionView,
    forms: Sequence[Form],
    *,
    asks_name: bool,
    wrong: str = "",
    given: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    """What is asked, and a form for each way to answer; `given` fills them in again."""
    deadline = datetime.fromtimestamp(view.deadline_ms / 1000, UTC)
    parts = [
        f'<p class="note">{escape(view.pipeline)}; open until {deadline:%Y-%m-%d %H:%M} UTC</p>',
        f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else "",
        f"<section>{_shown(view.request)}</section>",
    ]
    parts += [_form(form, number, asks_name, given or {}) for number, form in enumerate(forms)]
    return page(view.step or view.step_id, "".join(parts), status=status)


def _form(form: Form, number: int, asks_name: bool, given: Mapping[str, str]) -> str:
    filled: Mapping[str, str] = given if given.get("form") == str(number) else {}
    rows = [_row(field, f"f{number}.{place}", filled) for place, field in enumerate(form.fields)]
    if asks_name:
        name = escape(filled.get("actor", ""))
        rows.append(
            f'<label for="f{number}.who">Your name</label>'
            f'<input id="f{number}.who" name="actor" maxlength="255" required value="{name}">'
        )
    # Without an action it goes where it came from, so that the page need not know the address.
    return (
        f'<form method="post" autocomplete="off"><input type="hidden" name="form" value="{number}">'
        f'{"".join(rows)}<button type="submit">{escape(form.title)}</button></form>'
    )


def _row(field: Field, id: str, given: Mapping[str, str]) -> str:
    said = given.get(field.key)
    note = f' <span class="note">{escape(field.help)}</span>' if field.help else ""
    label = f'<label for="{id}">{escape(field.label)}{note}</label>'
    named = f'id="{id}" name="{escape(field.key)}"'
    blank_is_none = not field.required or field.nullable
    required = "" if blank_is_none else " required"
    match field.kind:
        case "boolean":
            choices = [("true", "Yes"), ("false", "No")]
            chosen = {True: "true", False: "false"}.get(field.default, "") if said is None else said
        case "choice":
            choices = [(str(place), _text(one)) for place, one in enumerate(field.choices)]
            known = field.default in field.choices
            chosen = str(field.choices.index(field.default)) if known else ""
            chosen = chosen if said is None else said
        case _:
            return label + _input(field, named, required, said)
    options = (
        [] if field.kind == "choice" and len(choices) == 1 and not blank_is_none else [("", "")]
    )
    shown = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in [*options, *choices]
    )
    return f"{label}<select {named}{required}>{shown}</select>"


def _input(field: Field, named: str, required: str, said: str | None) -> str:
    plain = "" if field.default is None else _text(field.default)
    value = escape(plain if said is None else said)
    match field.kind:
        case "text":
            return f'<textarea {named} rows="2">\n{value}</textarea>'
        case "json":
            return f'<textarea {named} rows="8" spellcheck="false"{required}>\n{value}</textarea>'
        case _:
            mode = "numeric" if field.kind == "integer" else "decimal"
            return f'<input {named} inputmode="{mode}" value="{value}"{required}>'


def _shown(value: Any, level: int = 0) -> str:
    """A JSON value for people."""
    if level < _LEVELS and isinstance(value, dict) and value:
        rows = cast("dict[str, Any]", value).items()
        each = (f"<dt>{escape(name)}</dt><dd>{_shown(one, level + 1)}</dd>" for name, one in rows)
        return f"<dl>{''.join(each)}</dl>"
    if level < _LEVELS and isinstance(value, list) and value:
        each = (f"<li>{_shown(one, level + 1)}</li>" for one in cast("Sequence[Any]", value))
        return f"<ol>{''.join(each)}</ol>"
    return escape(_text(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else rendering.encode(value).decode()
