"""A declaration loads into the plan that the same pipeline has in code, and runs to its results."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bide import (
    App,
    Await,
    Collect,
    DeclarationError,
    DefinitionError,
    Inbox,
    Kafka,
    Many,
    Pipeline,
    Retry,
    Secret,
    Webhook,
    branch,
    load,
)
from bide.authoring.branches import Branches, Keep
from bide.planning.pipeline import plan_of
from bide.planning.plan import Plan, PlanAwait, PlanRoute, PlanStep
from bide.planning.typeforms import type_text
from examples.csv_payments import payments
from examples.restaurant_approval import decide, orders
from examples.restaurant_approval.messages import RestaurantOrderAccepted
from tests.declaring import shapes as s
from tests.examples.payments import run_payments
from tests.examples.test_csv_payments import GOLDEN_12
from tests.examples.test_restaurant_approval import ORDER
from tests.processes import PATIENCE_S, ROOT

HERE = "tests.declaring.shapes"
EXAMPLES = ROOT / "examples"

Load = Callable[..., Pipeline[Any, Any]]


@pytest.fixture
def declared(tmp_path: Path) -> Load:
    """Load a text, in which `s.` stands for the module of the types."""

    def load_text(text: str) -> Pipeline[Any, Any]:
        path = tmp_path / "flow.yaml"
        path.write_text(re.sub(r"\bs\.(?=\w)", f"{HERE}.", text))
        return load(path, packages=["tests.declaring"])

    return load_text


def facts(plan: Plan) -> list[Any]:
    """All that a plan says, but for objects that are made anew."""
    head = [plan.pipeline, plan.title, plan.fingerprint, dict(plan.renamed)]
    ends = [type_text(plan.input.form), type_text(plan.output.form)]
    return [head, ends, *map(_facts_of, plan.elements)]


def _facts_of(part: Any) -> Any:
    match part:
        case PlanStep():
            options = (part.retry, part.timeout_ms, part.wants)
            flow = (part.consumes, part.yields, part.is_async, part.per_item)
            types = (type_text(part.input.form), type_text(part.output.form))
            return (part.position, part.id, options, flow, types)
        case PlanAwait():
            boundary = part.boundary
            asked = (part.position, part.id, part.name, part.shape, part.fingerprint, part.scope)
            bounds = (part.timeout_ms, part.unit_timeout_ms, part.transport, part.collect)
            calls = (boundary.project, boundary.on_timeout)
            return (asked, bounds, calls, boundary.idempotent_on, boundary.correlate_on)
        case PlanRoute():
            by_tag = {tag: _facts_of(branch) for tag, branch in part.by_tag.items()}
            return (part.position, by_tag, part.per_item, part.yields, type_text(part.output.form))
        case kept:
            return type_text(kept.input.form)


# --- the published examples -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "code"),
    [("restaurant_approval/flow.yaml", orders), ("csv_payments/flow.yaml", payments)],
    ids=["restaurant", "payments"],
)
def test_the_published_flows_have_the_plans_of_their_code(
    file: str, code: Pipeline[Any, Any]
) -> None:
    """Ids, shapes, types, bounds, keys and fingerprints are equal; a worker of one runs the other."""
    assert facts(plan_of(load(EXAMPLES / file, packages=["examples"]))) == facts(plan_of(code))


def test_the_payments_over_a_broker_differ_in_their_transport_alone() -> None:
    """The file with the broker's words loads and is checked; the fingerprint is the same."""
    plan = plan_of(load(EXAMPLES / "csv_payments" / "flow.kafka.yaml", packages=["examples"]))
    [boundary], [other] = plan.awaits(), plan_of(payments).awaits()

    assert boundary.transport == Kafka(
        request="csv-payments.payment.requests",
        response="csv-payments.payment.results",
        group="csv-payments-orchestrator",
    )
    assert boundary.transport.needs_token
    assert boundary.fingerprint == other.fingerprint


async def test_the_declared_approval_runs_to_the_result_of_the_code(tmp_path: Path) -> None:
    """One order through the declared pipeline ends as through the one in code."""
    declared = load(EXAMPLES / "restaurant_approval" / "flow.yaml", packages=["examples"])
    ended: list[dict[str, Any]] = []

    for number, pipeline in enumerate((orders, declared)):
        app = App(pipeline, store=f"sqlite:///{tmp_path / f'{number}.db'}")
        async with app.running() as bide:
            execution = await bide.submit("restaurant-approval", ORDER.model_dump(mode="json"))
            [found] = await execution.parked(_boundary(pipeline), timeout=PATIENCE_S)
            yes = RestaurantOrderAccepted(
                order_id=found.request.order_id, decided_at=datetime(2026, 11, 22, tzinfo=UTC)
            )
            await bide.complete(found, yes, actor="roma")
            result = await execution.result(timeout=PATIENCE_S)
            ended.append(result.model_dump(exclude={"order_id"}))

    assert ended[0]["outcome"] == "APPROVED"
    assert ended[0] == ended[1]


@pytest.mark.process
async def test_the_declared_payments_give_the_bytes_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of payments through `bide serve flow.yaml` comes out as through the app in code."""
    monkeypatch.setenv("BIDE_PACKAGES", "examples")

    run = await run_payments(tmp_path, 12, app=str(EXAMPLES / "csv_payments" / "flow.yaml"))

    assert run.sha256 == GOLDEN_12


def _boundary(pipeline: Pipeline[Any, Any]) -> Any:
    return decide if pipeline is orders else next(plan_of(pipeline).awaits()).boundary


# --- awaits ---------------------------------------------------------------------------------------

SPLIT = "name: jobs\ninput: s.Job\nsteps:\n  - call: s.pages\n"
CARDINALITIES = {
    "one to one": (
        "name: jobs\ninput: s.Job\nsteps:\n",
        "{kind: await, name: Ask, cardinality: ONE_TO_ONE, input: s.Job, output: s.Verdict,",
        lambda: Pipeline("jobs", s.Job).wait(_ask(s.Job, s.Verdict)),
    ),
    "one to one, item by item": (
        SPLIT,
        "{kind: await, name: Ask, cardinality: ONE_TO_ONE, input: s.Page, output: s.Verdict,",
        lambda: Pipeline("jobs", s.Job).then(s.pages).wait(_ask(s.Page, s.Verdict)),
    ),
    "one to many": (
        "name: jobs\ninput: s.Job\nsteps:\n",
        "{kind: await, name: Ask, cardinality: ONE_TO_MANY, input: s.Job, output: s.Verdict,",
        lambda: Pipeline("jobs", s.Job).wait(_ask(s.Job, Many[s.Verdict])),
    ),
    "expansion": (
        "name: jobs\ninput: s.Job\nsteps:\n",
        "{kind: await, name: Ask, cardinality: EXPANSION, input: s.Job, output: s.Verdict,",
        lambda: Pipeline("jobs", s.Job).wait(_ask(s.Job, Many[s.Verdict])),
    ),
    "many to one": (
        SPLIT,
        "{kind: await, name: Ask, cardinality: MANY_TO_ONE, input: s.Page, output: s.Report,",
        lambda: Pipeline("jobs", s.Job).then(s.pages).wait(_ask(Many[s.Page], s.Report)),
    ),
    "reduction": (
        SPLIT,
        "{kind: await, name: Ask, cardinality: REDUCTION, input: s.Page, output: s.Report,",
        lambda: Pipeline("jobs", s.Job).then(s.pages).wait(_ask(Many[s.Page], s.Report)),
    ),
    "many to many": (
        SPLIT,
        "{kind: await, name: Ask, cardinality: MANY_TO_MANY, input: s.Page, output: s.Verdict,",
        lambda: Pipeline("jobs", s.Job).then(s.pages).wait(_ask(Many[s.Page], Many[s.Verdict])),
    ),
}


def _ask(request: Any, answer: Any, **options: Any) -> Any:
    return Await("Ask", request, answer, **({"via": Inbox(), "timeout": "1h"} | options))


@pytest.mark.parametrize("case", CARDINALITIES)
def test_every_cardinality_is_a_word(declared: Load, case: str) -> None:
    """Each word for a cardinality gives the await that the types give in code."""
    head, words, code = CARDINALITIES[case]
    text = f"{head}  - {words} timeout: 1h, await: {{transport: {{type: interaction-api}}}}}}\n"

    assert facts(plan_of(declared(text))) == facts(plan_of(code()))


#: Words of a transport, with those of a correlation; and what they are in code.
TRANSPORTS = {
    "inbox": (
        "transport: {type: interaction-api, group: kitchen, assignee: ada}",
        Inbox("kitchen", assignee="ada"),
    ),
    "webhook": (
        "transport: {type: webhook, request: {url: 'https://p.example/ask'}}",
        Webhook("https://p.example/ask"),
    ),
    "webhook with everything": (
        (
            "correlation: {strategy: signedResumeToken}\n"
            "      transport:\n"
            "        type: webhook\n"
            "        request: {url: 'https://p.example/ask'}\n"
            "        callback: {completionUrl: 'https://bide.example/answers'}\n"
            "        headers: {X-Shop: roma, Authorization: {env: PARTNER_KEY}}\n"
            "        secret: [{env: NEW}, {file: /run/secrets/old}]\n"
            "        retry: {attempts: 3, first: 1s, longest: PT5M}\n"
            "        maxInFlight: 9"
        ),
        Webhook(
            "https://p.example/ask",
            callback="https://bide.example/answers",
            headers={"X-Shop": "roma", "Authorization": Secret(env="PARTNER_KEY")},
            secret=[Secret(env="NEW"), Secret(file="/run/secrets/old")],
            retry=Retry(3, first="1s", longest="5m"),
            max_in_flight=9,
        ),
    ),
    "webhook with the usual path": (
        (
            "transport: {type: webhook, request: {url: 'https://p.example/ask'},"
            " callback: {baseUrl: 'https://bide.example/app/'}}"
        ),
        Webhook(
            "https://p.example/ask",
            callback="https://bide.example/app/pipeline/interactions/complete",
        ),
    ),
    "webhook with a path": (
        (
            "transport: {type: webhook, request: {url: 'https://p.example/ask'},"
            " callback: {baseUrl: 'https://bide.example', completionPath: /done}, secret: {env: ONE}}"
        ),
        Webhook(
            "https://p.example/ask", callback="https://bide.example/done", secret=Secret(env="ONE")
        ),
    ),
    "webhook among friends": (
        (
            "correlation: {strategy: interactionId}\n"
            "      transport: {type: webhook, request: {url: 'https://p.example/ask'},"
            " trustedNetwork: true}"
        ),
        Webhook("https://p.example/ask", trusted_network=True),
    ),
    "kafka": (
        "transport: {type: kafka, request: {topic: asked}, response: {topic: answered}}",
        Kafka(request="asked", response="answered"),
    ),
    "kafka with everything": (
        (
            "correlation: {strategy: interactionId}\n"
            "      transport: {type: kafka, request: {topic: asked, key: interactionId},"
            " response: {topic: answered}, consumer: {group: shop}, tenants: [a, b],"
            " deadLetters: refused, headers: {shop: roma}, retry: {attempts: 3}, maxInFlight: 9,"
            " trustedNetwork: true}"
        ),
        Kafka(
            request="asked",
            response="answered",
            key="interactionId",
            group="shop",
            tenants=["a", "b"],
            dead_letters="refused",
            headers={"shop": "roma"},
            retry=Retry(3),
            max_in_flight=9,
            trusted_network=True,
        ),
    ),
}


@pytest.mark.parametrize("projected", [False, True], ids=["plain", "projected"])
@pytest.mark.parametrize("case", TRANSPORTS)
def test_every_transport_is_declared_as_in_code(declared: Load, case: str, projected: bool) -> None:
    """Each block `await:` is the `via=` of code, with a projector and without one."""
    words, via = TRANSPORTS[case]
    output = "s.Signed" if projected else "s.Verdict"
    completion = "completion: {type: s.Verdict, projector: s.sign}\n      " if projected else ""
    text = (
        f"{SPLIT}  - name: Ask\n    kind: await\n    cardinality: ONE_TO_ONE\n    input: s.Page\n"
        f"    output: {output}\n    timeout: PT1H\n    await:\n      {completion}{words}\n"
    )
    options = {"project": s.sign} if projected else {}
    code = Pipeline("jobs", s.Job).then(s.pages).wait(_ask(s.Page, s.Verdict, via=via, **options))

    plan = plan_of(declared(text))

    assert facts(plan) == facts(plan_of(code))
    [boundary], [other] = plan.awaits(), plan_of(code).awaits()
    assert boundary.transport == other.transport == via


def test_every_other_option_is_a_word(declared: Load) -> None:
    """What else an await, a step and a pipeline may say is declared as in code."""
    text = """
name: Many Jobs
input: s.Job
many: true
renamed: {asked: ask-about-it}
steps:
  - {name: Look Twice, call: s.careful}
  - {id: cut, call: s.pages}
  - name: Ask
    id: ask-about-it
    kind: await
    cardinality: ONE_TO_ONE
    input: s.Page
    output: s.Signed
    timeout: 30m
    onTimeout: s.nobody
    unitTimeout: P1D
    items: {tolerate: "5%"}
    idempotency: {fields: [pageNumber]}
    await:
      completion: {type: s.Verdict, projector: s.sign}
      transport: {type: interaction-api}
"""
    boundary = _ask(
        s.Page, s.Verdict, id="ask-about-it", project=s.sign, timeout="30m", on_timeout=s.nobody,
        unit_timeout="1d", items=Collect(tolerate="5%"), idempotent_on="page_number",
    )  # fmt: skip
    plan = plan_of(declared(text))

    assert plan.title == "Many Jobs"
    assert plan.input.many
    assert [part.id for part in plan.positions] == ["look-twice", "cut", "ask-about-it"]
    assert plan.step_names == ("Look Twice", "pages", "Ask")
    [careful, _] = plan.steps()
    assert (careful.retry, careful.timeout_ms) == (Retry(7), 3_000)
    code = Pipeline("jobs", s.Page).wait(
        _ask(s.Page, s.Verdict, correlate_on="page_number", correlate_in="pages")
    )
    assert plan.renamed == {"asked": "ask-about-it"}
    [found] = plan.awaits()
    wanted = Pipeline("Many Jobs", Many[s.Job]).then(s.careful).then(s.pages).wait(boundary)
    assert facts(plan)[-1] == facts(plan_of(wanted))[-1]
    correlated = declared(
        "name: jobs\ninput: s.Page\nsteps:\n  - {name: Ask, kind: await, cardinality: ONE_TO_ONE,"
        " input: s.Page, output: s.Verdict, timeout: 1h, await: {transport: {type:"
        " interaction-api}, correlation: {fields: [pageNumber], scope: pages}}}"
    )
    assert facts(plan_of(correlated)) == facts(plan_of(code))
    assert found.unit_timeout_ms == 86_400_000


# --- divisions ------------------------------------------------------------------------------------

ASK = (
    "name: jobs\ninput: s.Job\nsteps:\n  - {name: Ask, kind: await, cardinality: ONE_TO_ONE,"
    " input: s.Job, output: s.Reply, timeout: 1h, await: {transport: {type: interaction-api}}}\n"
)


def _asked() -> Any:
    return Pipeline("jobs", s.Job).wait(_ask(s.Job, s.Reply))


DIVISIONS = {
    "a step for each": (
        "  - call: s.on_no\n  - call: s.on_yes\n  - call: s.on_later\n",
        lambda: _asked().then(branch(s.on_no).branch(s.on_yes).branch(s.on_later)),
    ),
    "a step for two": (
        "  - call: s.on_yes\n  - call: s.on_the_rest\n",
        lambda: _asked().then(branch(s.on_yes).branch(s.on_the_rest)),
    ),
    "one passes": (
        "  - keep: s.Later\n  - call: s.on_yes\n  - call: s.on_no\n",
        lambda: _asked().then(Branches((Keep(s.Later), s.on_yes, s.on_no))),
    ),
    "and a division behind it": (
        (
            "  - call: s.on_yes\n  - call: s.on_no\n  - keep: s.Later\n"
            "  - call: s.on_later\n  - keep: s.Done\n"
        ),
        lambda: (
            _asked()
            .then(branch(s.on_yes).branch(s.on_no).keep(s.Later))
            .then(branch(s.on_later).keep(s.Done))
        ),
    ),
}


@pytest.mark.parametrize("case", DIVISIONS)
def test_a_flat_list_divides_a_union_as_branch_does(declared: Load, case: str) -> None:
    """Steps that take some variants, one after another, are the branches of one division."""
    words, code = DIVISIONS[case]
    found, wanted = facts(plan_of(declared(ASK + words))), facts(plan_of(code()))

    assert found == wanted


def test_an_await_may_be_one_of_the_steps(declared: Load) -> None:
    """After one value, a variant may go to an await of its own."""
    text = (
        f"{ASK}  - call: s.on_yes\n  - call: s.on_later\n"
        "  - {name: Why, kind: await, cardinality: ONE_TO_ONE, input: s.No, output: s.Done,"
        " timeout: 1d, await: {transport: {type: interaction-api}}}\n"
    )
    why = Await("Why", s.No, s.Done, via=Inbox(), timeout="1d")
    code = _asked().then(branch(s.on_yes).branch(s.on_later).branch(why))

    assert facts(plan_of(declared(text))) == facts(plan_of(code))


@pytest.mark.parametrize(
    ("words", "place", "said"),
    [
        ("  - call: s.on_yes\n  - call: s.on_no\n", (6, 5), f"Later has no step here; write one behind this that takes it, or let it pass: - keep: {HERE}.Later"),
        ("  - call: s.no_again\n  - call: s.on_yes\n  - call: s.on_later\n", (6, 5), "'on_yes' would take again the Yes that 'no_again' gives"),
        ("  - call: s.on_yes\n  - call: s.on_yes\n", (6, 5), "step 3 has the id 'on-yes', as step 2 has"),
        ("  - call: s.on_yes\n  - call: s.pages\n", (5, 5), "No, Later has no step here"),
        ("  - call: s.pages\n", (5, 5), "takes Job, but 'ask' before it gives Yes | No | Later"),
        ("  - call: s.on_yes\n  - call: s.on_the_rest\n  - keep: s.Done\n", (7, 5), "keep stands among the steps that divide a union"),
    ],
)  # fmt: skip
def test_a_division_that_does_not_come_out_is_refused(
    declared: Load, words: str, place: tuple[int, int], said: str
) -> None:
    """A variant without a step, or with two in reading order, is named with its place."""
    with pytest.raises(DeclarationError) as caught:
        declared(ASK + words)

    assert (caught.value.line, caught.value.column) == place
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("os.system", "os.system is outside of what this app lets files name (tests.declaring)"),
        ("tests.processes.free_port", "tests.processes.free_port is outside"),
        ("s.BaseModel.model_validate", "is pydantic.main.BaseModel, which is outside"),
        ("s.step", "is bide.authoring.steps.step, which is outside"),
        ("s.page", "has no 'page'; did you mean 'pages'?"),
        ("s.NUMBER", "is a int; name a function"),
        ("s.Job", "is a class; name a function"),
        ("s.__loader__.exec_module", "names what is Python's own"),
        ("pages", "'pages' is no dotted name; write a function as package.module.Name"),
        ("s.pages()", "is no dotted name"),
        ("s..pages", "is no dotted name"),
        ("tests.declaring.nowhere.pages", "tests.declaring has no 'nowhere'"),
        ("tests.declaring.untidy.pages", "importing tests.declaring.untidy failed: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_names_lead_to_what_the_app_allows_and_nowhere_else(
    declared: Load, call: str, said: str
) -> None:
    """A name outside of the packages, or imported into them, is refused; a slip gets a guess."""
    with pytest.raises(DeclarationError) as caught:
        declared(f"name: jobs\ninput: s.Job\nsteps:\n  - call: {call}\n")

    assert said.replace("s.", "s.") in str(caught.value)
    assert (caught.value.line, caught.value.column) == (4, 5)


@pytest.mark.parametrize(
    ("type", "said"),
    [
        ("s.pages", "is a function; name a type"),
        ("tests.declaring.shapes", "is a module; name a type"),
        ("bytes", "write a type as package.module.Name, or str, int, float, bool"),
    ],
)
def test_a_type_is_a_type(declared: Load, type: str, said: str) -> None:
    """What is no type is refused where one is needed."""
    with pytest.raises(DeclarationError, match=re.escape(said)):
        declared(f"name: jobs\ninput: {type}\nsteps:\n  - call: s.pages\n")


def test_plain_types_need_no_package(declared: Load) -> None:
    """A text, a number and a truth are types by their own names."""
    pipeline = declared(
        'name: hello\ninput: str\nsteps:\n  - {name: "Ship it?", kind: await, cardinality: ONE_TO_ONE,'
        " input: str, output: bool, timeout: 1d, await: {transport: {type: interaction-api}}}\n"
    )
    code = Pipeline("hello", str).wait(Await("Ship it?", str, bool, via=Inbox(), timeout="1d"))

    assert facts(plan_of(pipeline)) == facts(plan_of(code))


@pytest.mark.parametrize("packages", [[], "shop", ["shop."], ["../shop"], [3]])
def test_packages_are_dotted_names(tmp_path: Path, packages: Any) -> None:
    """A list of packages that cannot be one is refused before the file is read."""
    with pytest.raises(DefinitionError, match="load: "):
        load(tmp_path / "nowhere.yaml", packages=packages)


# --- files ----------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """No file, a folder, an address and bytes that are no text are each one line."""
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    cases = {
        str(tmp_path / "nowhere.yaml"): "there is no such file",
        str(tmp_path): "there is no such file",
        "https://shop.example/flow.yaml": "only local files are loaded",
        str(tmp_path / "latin.yaml"): "not UTF-8",
    }

    for file, said in cases.items():
        with pytest.raises(DeclarationError) as caught:
            load(file, packages=["shop"])
        assert str(caught.value).startswith(file)
        assert said in str(caught.value)


def test_without_the_library_the_extra_is_named(
    declared: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation without YAML says in one line what to install."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)

    with pytest.raises(DefinitionError, match=r'pip install "bide\[yaml\]"'):
        declared(ASK)
