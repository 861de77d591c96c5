"""Both clients against a server in another process: every verb, and every refusal as its error."""

import inspect
from typing import Any

import pytest

from bide import (
    AccessDenied,
    AlreadyEnded,
    AsyncClient,
    Client,
    CompletionConflict,
    CompletionLate,
    CompletionRejected,
    DefinitionError,
    ExecutionCancelled,
    ExecutionFailed,
    InvalidInput,
    RemoteError,
    Retry,
    StoreUnavailable,
    SubmitConflict,
    UnknownExecution,
    UnknownInteraction,
    UnknownPipeline,
)
from bide.client.asynchronous import AsyncRemoteExecution
from bide.client.blocking import RemoteExecution
from bide.model.status import ExecutionStatus
from tests.client.conftest import done
from tests.client.served import (
    Accepted,
    Declined,
    Order,
    check,
    checks,
    decide,
    failing,
    numbers,
    orders,
    report,
    reports,
    signal,
    signals,
)

pytestmark = [pytest.mark.process]


async def test_a_question_is_answered_as_its_types(client: Any) -> None:
    """Request, answer and result cross the wire as the types that the definition names."""
    execution = await done(client.submit(orders, Order(item="pizza")))
    [question] = await done(execution.parked(decide, timeout=60))
    assert question.request == Order(item="pizza")
    receipt = await done(client.complete(question, Declined(why="closed"), actor="ada"))
    assert receipt.outcome == "applied"
    assert await done(execution.result(timeout=60)) == "closed"
    assert await done(execution.parked(decide, timeout=60)) == []


async def test_names_alone_do_as_well(client: Any) -> None:
    """Without a definition at hand, pipelines, awaits and answers go by name and as JSON."""
    execution = await done(client.submit("orders", {"item": "soup"}))
    [question] = await done(execution.parked(decide, timeout=60))
    [same] = [
        one
        for one in await done(client.pending("approve-order", limit=1000))
        if one.execution_id == execution.execution_id
    ]
    assert same.request == {"item": "soup", "amount": 1}
    answer = {"accepted": {"note": "soon"}}
    assert (await done(client.complete(question.interaction_id, answer))).outcome == "applied"
    again = client.execution("orders", execution.execution_id)
    assert await done(again.result(timeout=60)) == "accepted"


async def test_the_same_key_names_the_same_execution(client: Any) -> None:
    """A submit key is known again, and with another input it is a conflict."""
    key = f"key-{type(client).__name__}"
    first = await done(client.submit(numbers, 3, idempotency_key=key))
    second = await done(client.submit(numbers, 3, idempotency_key=key))
    assert second.execution_id == first.execution_id
    assert (first.duplicate, second.duplicate) == (False, True)
    with pytest.raises(SubmitConflict):
        await done(client.submit(numbers, 4, idempotency_key=key))


async def test_a_long_result_comes_in_pages(client: Any) -> None:
    """`results` gives every item once and in order over several pages."""
    execution = await done(client.submit(numbers, 2_500))
    whole = await done(execution.result(timeout=60))
    assert whole == [{"number": number} for number in range(2_500)]
    found = execution.results()
    items = [one async for one in found] if hasattr(found, "__aiter__") else list(found)
    assert items == whole


async def test_many_answers_get_a_receipt_each(client: Any) -> None:
    """A batch is answered in order, with what was refused told in its receipt."""
    execution = await done(client.submit(checks, 600))
    questions = await done(execution.parked(check, timeout=60))
    assert [question.request for question in questions] == list(range(600))
    answers = [(question, question.request % 2 == 0) for question in questions]
    conflicting = (questions[0], False)
    receipts = await done(client.complete_many([*answers, conflicting, answers[1]]))
    assert [receipt.outcome for receipt in receipts] == ["applied"] * 600 + [
        "conflict",
        "duplicate",
    ]
    assert await done(execution.result(timeout=60)) == [number % 2 == 0 for number in range(600)]


async def test_streams_are_asked_and_answered_as_lists(client: Any) -> None:
    """An await over a whole stream shows a list and takes one."""
    execution = await done(client.submit(reports, 3))
    [question] = await done(execution.parked(report, timeout=60))
    assert question.request == [0, 1, 2]
    await done(client.complete(question, ["a", "b"]))
    assert await done(execution.result(timeout=60)) == ["a", "b"]


async def test_an_answer_may_come_before_its_question(client: Any) -> None:
    """By its correlation id an answer is kept until its question is asked."""
    name = type(client).__name__
    early = await done(client.complete(signal, "go", correlation_id=name.lower()))
    assert early.outcome == "buffered"
    execution = await done(client.submit(signals, name))
    assert await done(execution.result(timeout=60)) == "go"
    with pytest.raises(DefinitionError, match="correlation_id"):
        await done(client.complete(signal, "go"))


async def test_refusals_are_the_errors_of_an_app(client: Any) -> None:
    """Conflicts, misfits and unknown ids raise what `App` raises, receipts included."""
    execution = await done(client.submit(orders, Order(item="tea")))
    [question] = await done(execution.parked(decide, timeout=60))
    with pytest.raises(CompletionRejected) as misfit:
        await done(client.complete(question.interaction_id, {"accepted": {"note": 1}}))
    assert misfit.value.errors[0]["path"].endswith("/note")
    assert misfit.value.receipt.outcome == "rejected"
    await done(client.complete(question, Accepted()))
    with pytest.raises(CompletionConflict) as conflict:
        await done(client.complete(question, Declined(why="no")))
    assert conflict.value.receipt.interaction_id == question.interaction_id
    with pytest.raises(UnknownInteraction):
        await done(client.complete("nothing", True))
    with pytest.raises(UnknownPipeline):
        await done(client.submit("nothing", 1))
    with pytest.raises(UnknownExecution):
        await done(client.execution(orders, "nothing").status())
    with pytest.raises(InvalidInput) as invalid:
        await done(client.submit("orders", {"item": 1}))
    assert invalid.value.errors[0]["path"] == "/item"


async def test_ends_without_a_result_say_why(client: Any) -> None:
    """A failure names its code, step and dead letter; a cancellation its reason."""
    execution = await done(client.submit(failing, "out of paper"))
    with pytest.raises(ExecutionFailed, match="out of paper") as failed:
        await done(execution.result(timeout=60))
    assert failed.value.step_id == "fail"
    letters = await done(client.dead_letters(pipeline="failing", limit=1000))
    assert failed.value.dead_letter_id in {letter.dead_letter_id for letter in letters}
    again = await done(client.redrive(execution.execution_id))
    assert (await done(again.status())).redriven_from == execution.execution_id

    waiting = await done(client.submit(orders, Order(item="tea")))
    [question] = await done(waiting.parked(decide, timeout=60))
    await done(waiting.cancel("closed for good"))
    with pytest.raises(ExecutionCancelled) as cancelled:
        await done(waiting.result(timeout=60))
    assert cancelled.value.reason == "closed for good"
    with pytest.raises(CompletionLate):
        await done(client.complete(question, Accepted()))
    with pytest.raises(AlreadyEnded) as ended:
        await done(waiting.cancel())
    assert ended.value.status == "CANCELLED"


async def test_a_wait_that_is_too_short_ends(client: Any) -> None:
    """What still waits is a `TimeoutError`, and goes on."""
    execution = await done(client.submit(orders, Order(item="tea")))
    with pytest.raises(TimeoutError):
        await done(execution.result(timeout=0.05))
    await done(execution.parked(decide, timeout=60))
    assert (await done(execution.status())).status is ExecutionStatus.WAITING_EXTERNAL


async def test_a_business_failure_is_reported(client: Any) -> None:
    """`fail` takes the place of an answer."""
    execution = await done(client.submit(orders, Order(item="tea")))
    [question] = await done(execution.parked(decide, timeout=60))
    receipt = await done(client.fail(question, "no-staff", "nobody is in"))
    assert receipt.outcome == "applied"
    with pytest.raises(ExecutionFailed) as failed:
        await done(execution.result(timeout=60))
    assert failed.value.code == "no-staff"


async def test_a_foreign_tenant_looks_absent(client: Any) -> None:
    """A client of another tenant finds nothing."""
    execution = await done(client.submit(numbers, 1))
    other = type(client)(client._server.url, tenant="other")
    with pytest.raises(UnknownExecution):
        await done(other.execution(numbers, execution.execution_id).status())
    await done(other.close())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_server_that_is_away_is_unavailable(kind: type[Any]) -> None:
    """After its tries the client says which server did not answer."""
    client = kind("http://127.0.0.1:9", retry=Retry(2, first="1ms", longest="1ms"))
    with pytest.raises(StoreUnavailable, match=r"http://127\.0\.0\.1:9 did not answer"):
        await done(client.submit("orders", {}))
    await done(client.close())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_another_sites_answer_is_told_as_such(kind: type[Any]) -> None:
    """An answer that is none of Bide's names its status and invents nothing."""
    import httpx

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401 if "result" in request.url.path else 418, text="<p>tea</p>")

    client = kind("http://elsewhere.example", http={"transport": httpx.MockTransport(answer)})
    with pytest.raises(RemoteError) as teapot:
        await done(client.execution(None, "x").status())
    assert (teapot.value.status, teapot.value.code) == (418, "")
    with pytest.raises(RemoteError) as denied:
        await done(client.submit("orders", {}))
    assert not isinstance(denied.value, AccessDenied)
    await done(client.close())


def test_an_address_that_is_none_is_refused() -> None:
    """A URL without a scheme is a definition error that shows what to write."""
    with pytest.raises(DefinitionError, match="https://host"):
        Client("localhost:8000")


def test_a_client_shows_no_credential() -> None:
    """The text of a client names its server and not its token."""
    assert "secret" not in repr(Client("https://bide.example", token="secret"))


@pytest.mark.parametrize(
    ("blocking", "on_a_loop"), [(Client, AsyncClient), (RemoteExecution, AsyncRemoteExecution)]
)
def test_both_clients_have_the_same_verbs(blocking: type, on_a_loop: type) -> None:
    """Names, parameters and texts of the two do not drift apart."""
    ours, theirs = _verbs(blocking), _verbs(on_a_loop)
    assert ours == theirs


def _verbs(of: type) -> dict[str, tuple[list[str], str | None]]:
    return {
        name: (list(inspect.signature(member).parameters), inspect.getdoc(member))
        for name, member in vars(of).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
