"""A pipeline as a picture: everything in it is told, nothing is told twice, no text is markup."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bide import (
    App,
    Await,
    Collect,
    Inbox,
    Kafka,
    Many,
    Pipeline,
    Publication,
    Subscription,
    Webhook,
    branch,
)
from bide.authoring.steps import entitled
from bide.drawing.figure import LINE_CHARACTERS, Figure, Kind, duration, figure_of, texts
from bide.drawing.mermaid import mermaid
from bide.drawing.svg import svg
from bide.planning.pipeline import plan_of
from examples.csv_payments import payments
from examples.restaurant_approval import orders
from tests.declaring import shapes as s

SVG = "{http://www.w3.org/2000/svg}"


def pipeline_of(name: str) -> Pipeline[Any, Any]:
    return PIPELINES[name]()


def _divided() -> Pipeline[Any, Any]:
    why = Await("Why", s.No, s.Done, via=Inbox("desk"), timeout="1d")
    return (
        Pipeline("divided", s.Job)
        .wait(Await("Ask", s.Job, s.Reply, via=Webhook("https://p.example/a?k=1"), timeout="90m"))
        .then(branch(s.on_yes).branch(why).keep(s.Later))
        .then(branch(s.on_later).keep(s.Done))
    )


def _streamed() -> Pipeline[Any, Any]:
    ask = Await(
        "Ask each", s.Page, s.Verdict, project=s.sign, via=Kafka(request="asked", response="done"),
        timeout="30m", unit_timeout="2d", on_timeout=s.nobody, items=Collect(tolerate="5%"),
        idempotent_on="page_number",
    )  # fmt: skip
    return Pipeline("streamed", Many[s.Job]).then(s.pages).wait(ask)


def _collected() -> Pipeline[Any, Any]:
    ask = Await("Ask", Many[s.Page], Many[s.Verdict], via=Inbox(), timeout="1h")
    return Pipeline("collected", s.Job).then(s.pages).wait(ask).then(s.report)


def _hostile() -> Pipeline[Any, Any]:
    title = '<script>alert("x")</script> &amp; `a` # \\n %% end \ufffe'
    ask = Await(title, s.Job, s.Verdict, id="ask", via=Inbox(group='"]; click'), timeout="1h")
    return Pipeline(title, s.Job).wait(ask)


PIPELINES: dict[str, Callable[[], Pipeline[Any, Any]]] = {
    "approval": lambda: orders,
    "payments": lambda: payments,
    "divided": _divided,
    "streamed": _streamed,
    "collected": _collected,
    "hostile": _hostile,
    "long": lambda: Pipeline("long", s.Job).then(entitled(s.careful, id=None, name="x" * 190)),
}
each_pipeline = pytest.mark.parametrize("name", PIPELINES)


def figure(name: str) -> Figure:
    return figure_of(plan_of(pipeline_of(name)))


def parsed(name: str) -> ET.Element:
    return ET.fromstring(svg(figure(name)))


# --- what is shown --------------------------------------------------------------------------------


@each_pipeline
def test_every_step_and_await_is_a_box(name: str) -> None:
    """The boxes are the plan's positions in their order, and the kept variants."""
    plan = plan_of(pipeline_of(name))
    boxes = [box for layer in figure(name).layers for box in layer]
    shown = [box.title for box in boxes if box.kind in {Kind.STEP, Kind.AWAIT}]

    assert len(shown) == len(plan.positions)
    assert all(
        one.startswith(title.rstrip("…")) for one, title in zip(plan.step_names, shown, strict=True)
    )
    assert [box.kind for box in boxes].count(Kind.AWAIT) == len(list(plan.awaits()))


@each_pipeline
def test_every_arrow_leads_one_layer_down(name: str) -> None:
    """Nothing hangs loose: each box but the first is reached, each but the last goes on."""
    found = figure(name)
    layer_of = {box.id: number for number, layer in enumerate(found.layers) for box in layer}

    assert all(layer_of[one.target] == layer_of[one.source] + 1 for one in found.arrows)
    assert {one.target for one in found.arrows} == layer_of.keys() - {"start"}
    assert {one.source for one in found.arrows} == layer_of.keys() - {"result"}
    assert len(layer_of) == sum(map(len, found.layers))


def test_an_await_says_how_it_asks() -> None:
    """Cardinality, transport, types, bounds, policy and key are lines of its box."""
    [box] = [box for layer in figure("streamed").layers for box in layer if box.kind is Kind.AWAIT]

    assert box.lines == (
        "ONE_TO_ONE, for each item",
        "kafka, asked to done",
        "answered with Verdict",
        "projected to Signed",
        "timeout 30m, then a default",
        "timeout of all 2d",
        "tolerates 5 % missing",
        "business key: page_number",
    )


def test_the_query_of_an_address_is_left_out() -> None:
    """What stands behind the question mark may be a partner's key."""
    assert "webhook, https://p.example/a" in texts(figure("divided"))
    assert "k=1" not in svg(figure("divided")) + mermaid(figure("divided"))


def test_publications_are_said_where_they_are_made() -> None:
    """What is published stands at the step behind which it is, or at the result."""
    plan = plan_of(
        Pipeline(
            "jobs",
            s.Job,
            publishes=[
                Publication("Job seen", idempotent_on="job_id", after="pinned"),
                Publication("Job done", idempotent_on="job_id"),
            ],
            subscribes=Subscription("Job asked"),
        ).then(s.careful)
    )
    lines = {box.id: box.lines for layer in figure_of(plan).layers for box in layer}

    assert lines["start"][1:] == ("subscribes to job-asked",)
    assert lines["n0"][1:] == ("publishes Job seen",)
    assert lines["result"][1:] == ("publishes Job done",)


def test_types_stand_at_the_arrows_and_streams_are_marked() -> None:
    """An arrow carries the type of one item, and says whether it goes as a stream."""
    labels = [(arrow.label, arrow.stream) for arrow in figure("collected").arrows]

    assert labels == [("Job", False), ("Page", True), ("Verdict", True), ("Report", False)]
    assert [arrow.label for arrow in figure("divided").arrows if arrow.source == "n0"] == [
        "yes",
        "no",
        "Later",
    ]


def test_steps_say_their_shape() -> None:
    """One or many, for each item, and what they ask for."""

    def priced(page: s.Page, rates: Rates) -> s.Page:
        return page

    plan = plan_of(Pipeline("jobs", s.Job).then(s.pages).then(priced))
    lines = [
        box.lines for layer in figure_of(plan).layers for box in layer if box.kind is Kind.STEP
    ]

    assert lines == [("one to many",), ("one to one, for each item", "with Rates")]


class Rates:
    """Something that an app opens."""

    euro: Decimal


@pytest.mark.parametrize(
    ("ms", "written"),
    [(1, "1ms"), (90_000, "1m 30s"), (1_800_000, "30m"), (172_800_000, "2d"), (86_400_500, "1d 500ms")],
)  # fmt: skip
def test_spans_are_written_exactly(ms: int, written: str) -> None:
    """A timeout reads as whole units, and nothing of it is rounded away."""
    assert duration(ms) == written


# --- how it is written ----------------------------------------------------------------------------


@each_pipeline
def test_the_same_plan_gives_the_same_bytes(name: str) -> None:
    """Nothing in a picture differs from one time to the next."""
    assert svg(figure(name)) == svg(figure(name))
    assert mermaid(figure(name)) == mermaid(figure(name))


@each_pipeline
def test_every_text_is_in_both_as_text(name: str) -> None:
    """SVG holds each text once escaped, and no element comes of one; so does Mermaid."""
    root = parsed(name)
    shown = [element.text for element in root.iter(f"{SVG}text")]
    wanted = [text.replace("\ufffe", "\ufffd") for text in texts(figure(name))]

    assert sorted(filter(None, shown)) == sorted(wanted)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "style", "rect", "g", "path", "text",
    }  # fmt: skip
    drawn = mermaid(figure(name))
    for text in texts(figure(name)):
        escaped = re.sub(r'[#"&<>`\\]', lambda sign: f"#{ord(sign[0])};", text)
        assert escaped in drawn


def test_nothing_in_a_name_is_read_as_mermaid() -> None:
    """Each line is a box or an arrow, whatever a name holds."""
    head, *lines = mermaid(figure("hostile")).splitlines()
    box = r'\w+[(\[{]{1,2}"[^"<>`\\]*(?:<br/>[^"<>`\\]*)*"[)\]}]{1,2}'
    arrow = r'\w+ (?:-->|==>)\|"[^"<>`\\]*"\| \w+'

    assert head == "flowchart TD"
    assert all(re.fullmatch(rf"    (?:{box}|{arrow})", line) for line in lines)
    assert not any(re.match(r"\s*end\b", line) for line in lines)  # a word of Mermaid's own


@each_pipeline
def test_nothing_overlaps_or_leaves_the_page(name: str) -> None:
    """Boxes stand apart, and boxes and labels are inside of the picture."""
    root = parsed(name)
    width, height = (float(root.attrib[one]) for one in ("width", "height"))
    boxes = [
        tuple(float(one.attrib[key]) for key in ("x", "y", "width", "height"))
        for one in root.iter(f"{SVG}rect")
        if one.attrib["class"] != "page"
    ]

    for number, (x, y, wide, high) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + wide <= width
        assert y + high <= height
        for other_x, other_y, other_wide, other_high in boxes[:number]:
            apart = x + wide <= other_x or other_x + other_wide <= x
            assert apart or y + high <= other_y or other_y + other_high <= y
    for label in root.iter(f"{SVG}text"):
        reckoned = 7.4 * len(label.text or "")
        share = 0.5 if label.attrib["text-anchor"] == "middle" else 1
        assert float(label.attrib["x"]) + share * reckoned <= width + 1


@each_pipeline
def test_no_line_is_longer_than_allowed(name: str) -> None:
    """A long name is cut where it can be seen."""
    assert all(len(text) <= LINE_CHARACTERS for text in texts(figure(name)))


def test_it_is_legible_in_light_and_in_dark() -> None:
    """Both schemes give text and page colours that differ enough (WCAG 2.2, AA: 4.5 to 1)."""
    style = next(parsed("divided").iter(f"{SVG}style")).text or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")

    for scheme in (light, dark):
        fill = dict(re.findall(r"\.([\w, .]+?) \{[^}]*?fill: (#\w{6})", scheme))
        for text, behind in (
            ("title", "box"),
            ("line, .label", "page"),
            ("title", "await"),
            ("line, .label", "await"),
            ("title", "start, .end"),
        ):
            assert contrast(fill[text], fill[behind]) >= 4.5, (text, behind)


def contrast(one: str, other: str) -> float:
    """The ratio of two colours, as WCAG reckons it."""
    lights = sorted((luminance(one), luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_an_app_is_not_needed() -> None:
    """A picture is of a plan: nothing is opened, and an app's pipelines are drawn as they are."""
    app = App(orders, store="memory://")

    assert figure_of(plan_of(app.pipelines[0])) == figure("approval")
