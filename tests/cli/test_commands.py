"""The commands that look and act, as they are typed."""

import json
from pathlib import Path

import pytest

from tests.cli.driver import SHOP, Cli

COLLECTING = """
from bide import Collect


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


ask = Await("Ask", int, bool, via=Inbox(), timeout="1h", items=Collect(tolerate=1))
app = App(orders, doubles, Pipeline("poll", int).then(numbers).wait(ask))
"""
UNKNOWN = "018f2c3a-7d11-7abc-8def-0123456789ab"


@pytest.fixture
def bide(cli: Cli, shop: Path) -> Cli:
    """The command line in a folder with an app."""
    return cli


# --- submit -----------------------------------------------------------------------------------


def test_submit_gives_the_id_alone_on_stdout(bide: Cli) -> None:
    """What a script takes from `$(bide submit ...)` is the execution's id and nothing else."""
    result = bide("submit", "orders", "--input", "-", stdin='{"id": 1}')

    assert result.code == 0
    assert bide("show", result.out.strip(), "--json").json["executionId"] == result.out.strip()


def test_submit_under_the_same_key_is_the_same_execution(bide: Cli) -> None:
    """A repeat with --key finds the execution; with another input it is refused."""
    first = bide("submit", "orders", "--input", "-", "--key", "k", "--json", stdin='{"id": 1}')
    again = bide("submit", "orders", "--input", "-", "--key", "k", "--json", stdin='{"id": 1}')
    other = bide("submit", "orders", "--input", "-", "--key", "k", stdin='{"id": 2}')

    assert (first.json["duplicate"], again.json["duplicate"]) == (False, True)
    assert again.json["executionId"] == first.json["executionId"]
    assert "'k'" in other.complaint()


def test_submit_reads_a_document_over_many_lines(bide: Cli, shop: Path) -> None:
    """A JSON document that is written over several lines is one submission."""
    (shop / "order.json").write_text(json.dumps({"id": 7}, indent=2))

    result = bide("submit", "orders", "--input", "order.json", "--json")

    assert set(result.json) == {"executionId", "duplicate", "submittedAtEpochMs"}


def test_submit_takes_many_and_each_line_stands_alone(bide: Cli, shop: Path) -> None:
    """Of NDJSON, bad lines are reported by number and the others are submitted, in order."""
    lines = ['{"id": 1}', "", '{"id": "x"}', "{", '{"id": NaN}', '{"id": 5}']
    (shop / "orders.ndjson").write_text("\n".join(lines))

    result = bide("submit", "orders", "--input", "orders.ndjson", "--key", "f", "--json")

    assert result.code == 1
    assert [line["line"] for line in result.lines] == [1, 3, 4, 5, 6]
    assert [line.get("error", {}).get("code") for line in result.lines] == [
        None, "invalid-input", "malformed", "malformed", None,
    ]  # fmt: skip
    assert len(result.err.splitlines()) == 1
    assert "3 lines were refused; line 3: " in result.err
    assert len(bide("executions", "--json").lines) == 2


def test_submitting_many_again_under_a_key_submits_nothing(bide: Cli, shop: Path) -> None:
    """Each line of many has a key of its own, so an interrupted command can be repeated."""
    (shop / "numbers.ndjson").write_text("".join(f"{number}\n" for number in range(1_200)))

    first = bide("submit", "doubles", "--input", "numbers.ndjson", "--key", "n")
    again = bide("submit", "doubles", "--input", "numbers.ndjson", "--key", "n")

    assert first.out.startswith("1,200 submitted (")
    assert again.out.startswith("0 submitted, 1,200 were there before (")


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (b"", "standard input is empty"),
        (b'{"id": NaN}', "NaN"),
        (b'{"id": 1, "id": 2}', "'id' stands twice"),
        (b'{"id": 1, "dish": "\\u0000"}', "NUL"),
        (b'{"id": 1, "dish": "\\ud800"}', "surrogate"),
        (b"[" * 1_000 + b"]" * 1_000, "deeper than 64"),
        (b"\xff", "not UTF-8"),
        (b"{", "not JSON"),
        (b'{"dish": "soup"}', "Field required at /id"),
        (b"9" * 100, "digits"),
    ],
)
def test_submit_refuses_what_is_no_fit_input(bide: Cli, stdin: bytes, words: str) -> None:
    """Bad JSON and bad values are one line each, and nothing is stored."""
    assert words in bide("submit", "orders", "--input", "-", stdin=stdin).complaint()

    bide("migrate")
    assert bide("executions", "--json").out == ""


def test_submit_refuses_what_is_not_there(bide: Cli) -> None:
    """Unknown pipelines and files that cannot be read are one line each."""
    assert "orders, doubles" in bide("submit", "order", "--input", "-", stdin="1").complaint()
    assert "no.json" in bide("submit", "orders", "--input", "no.json").complaint()
    assert "directory" in bide("submit", "orders", "--input", ".").complaint()


def test_submit_waits_for_the_end(bide: Cli) -> None:
    """--wait gives the result where there is one, and stops waiting when the time is up."""
    key = ("--key", "k", "--json")
    execution = bide.submit("doubles", "21", "--key", "k")
    still = bide("submit", "doubles", "--input", "-", "--wait", "0", *key, stdin="21")
    bide.work(execution)

    ended = bide("submit", "doubles", "--input", "-", "--wait", "30", *key, stdin="21")

    assert (still.code, still.json["status"], still.json["result"]) == (0, "QUEUED", None)
    assert (ended.code, ended.json["status"], ended.json["result"]) == (0, "SUCCEEDED", 42)


def test_submit_and_wait_fails_with_the_execution(bide: Cli) -> None:
    """Waiting for an execution that goes to the DLQ is an error with its reason."""
    execution = bide.submit("orders", '{"id": -1}', "--key", "k")
    bide.work(execution)

    result = bide("submit", "orders", "--input", "-", "--key", "k", "--wait", "1", "--json",
                  stdin='{"id": -1}')  # fmt: skip

    assert result.code == 1
    assert result.json["status"] == "DLQ"
    assert "no such order" in result.err


# --- looking ----------------------------------------------------------------------------------


def test_executions_are_filtered_and_paged(bide: Cli) -> None:
    """Newest first, by pipeline and status, the next page from the last id of the one before."""
    ids = [bide.submit("doubles", str(number)) for number in range(3)]
    bide.submit("orders")

    def listed(*options: str) -> list[str]:
        return [one["executionId"] for one in bide("executions", "--json", *options).lines]

    assert listed("--pipeline", "doubles") == ids[::-1]
    assert listed("--pipeline", "doubles", "--limit", "1") == [ids[2]]
    assert listed("--pipeline", "doubles", "--before", ids[1]) == [ids[0]]
    assert listed("--status", "succeeded") == []
    assert len(listed("--status", "QUEUED")) == 4
    assert listed("--tenant", "other") == []


def test_a_page_that_is_full_says_how_to_go_on(bide: Cli) -> None:
    """People are told the option that gives the next page."""
    first = bide.submit()

    assert f"--before {first}" in bide("executions", "--limit", "1").err


def test_show_tells_the_life_of_an_execution(bide: Cli) -> None:
    """Status, units, timeline and result, for people and for programs."""
    interaction = bide.parked()
    execution = interaction.split("_")[0]
    assert bide("complete", interaction, "--payload", "-", stdin='{"accepted": true}').code == 0
    bide.work(execution)

    shown = bide("show", execution)
    document = bide("show", execution, "--json").json

    assert shown.code == 0
    for words in ("SUCCEEDED", '{"text":"yes"}', "1 of 1", f"{execution}_1", "decide"):
        assert words in shown.out
    assert document["status"] == "SUCCEEDED"
    assert document["result"] == {"text": "yes"}
    assert [unit["status"] for unit in document["units"]] == ["COMPLETED"]
    assert [fact["version"] for fact in document["timeline"]] == list(
        range(1, document["version"] + 1)
    )


def test_show_counts_what_is_missing(bide: Cli, shop: Path) -> None:
    """Of a unit that collects, items that were reported failed are counted as missing."""
    (shop / "shop.py").write_text(SHOP + COLLECTING)
    execution = bide.submit("poll", "3")
    bide.work(execution)
    first, _, third = (f"{execution}_1_{item}" for item in range(3))
    assert bide("complete", first, "--fail", "moved:gone away").code == 0
    assert bide("complete", third, "--payload", "-", stdin="true").code == 0

    shown = bide("show", execution)
    [unit] = bide("show", execution, "--json").json["units"]

    assert "2 of 3, 1 missing" in " ".join(shown.out.split())
    assert (unit["settled"], unit["missing"]) == (2, 1)


def test_pending_lists_what_waits(bide: Cli) -> None:
    """Open interactions by group and by the await's id or name, with request and schema."""
    interaction = bide.parked()

    def listed(*options: str) -> list[str]:
        return [one["interactionId"] for one in bide("pending", "--json", *options).lines]

    [question] = bide("pending", "--json").lines
    assert question["requestPayload"] == {"id": 1, "dish": "soup"}
    assert "accepted" in str(question["outputSchema"])
    assert listed("--group", "kitchen") == [interaction]
    assert listed("--group", "bar") == []
    assert listed("--step", "decide") == listed("--step", "Decide") == [interaction]
    assert listed("--assignee", "ada") == []
    shown = bide("pending").out
    assert interaction in shown.splitlines()
    assert "group kitchen, due in 59m" in shown or "due in 1h" in shown


def test_stored_text_cannot_steer_the_terminal(bide: Cli) -> None:
    """Escape sequences in a payload are spelled out."""
    execution = bide.submit("orders", '{"id": 1, "dish": "\\u001b[31mred\\u009b"}')
    bide.work(execution)

    out = bide("pending").out

    assert "red" in out
    assert not {"\x1b", "\x9b"} & set(out)


def test_unknown_ids_are_one_line(bide: Cli) -> None:
    """An id that names nothing, or that is none, is told as unknown."""
    bide("migrate")
    for id in (UNKNOWN, "nonsense", "", "\x1b[31m"):
        assert "there is no execution" in bide("show", id).complaint()
        assert "there is no dead letter" in bide("dlq", "show", id).complaint()
        assert "\x1b" not in bide("cancel", id).complaint()
        assert "unknown" in bide("complete", id, "--payload", "-", stdin="1").complaint()


# --- acting -----------------------------------------------------------------------------------


def test_an_answer_is_applied_once(bide: Cli) -> None:
    """The same answer again is a duplicate, another one a conflict with its receipt."""
    interaction = bide.parked()

    def complete(answer: str):
        return bide("complete", interaction, "--payload", "-", "--actor", "ada", "--json",
                    stdin=answer)  # fmt: skip

    first = complete('{"accepted": true}')
    again = complete('{"accepted": true}')
    other = complete('{"accepted": false}')

    assert (first.code, first.json["receipt"], first.json["status"]) == (0, "applied", "COMPLETED")
    assert (again.code, again.json["receipt"], again.json["duplicate"]) == (0, "duplicate", True)
    assert (other.code, other.json["receipt"]) == (1, "conflict")
    assert len(other.err.splitlines()) == 1


def test_an_answer_that_does_not_fit_says_where(bide: Cli) -> None:
    """A rejected answer names path and message, and the interaction stays open."""
    interaction = bide.parked()

    refused = bide("complete", interaction, "--payload", "-", stdin='{"accepted": "maybe"}')

    assert "/accepted" in refused.complaint()
    assert "rejected" in refused.err
    assert [one["interactionId"] for one in bide("pending", "--json").lines] == [interaction]


def test_a_reported_failure_ends_the_execution(bide: Cli) -> None:
    """--fail CODE:MESSAGE is an answer of its own; the dead letter tells it."""
    interaction = bide.parked()
    execution = interaction.split("_")[0]

    assert bide("complete", interaction, "--fail", "sold-out: no soup: today").code == 0

    [letter] = bide("dlq", "ls", "--json").lines
    assert (letter["code"], letter["message"]) == ("sold-out", "no soup: today")
    assert letter["executionId"] == execution
    shown = bide("dlq", "show", letter["deadLetterId"])
    assert "no soup: today" in shown.out
    late = bide("complete", interaction, "--payload", "-", stdin='{"accepted": true}')
    assert late.code == 1


@pytest.mark.parametrize(
    "options",
    [(), ("--payload", "-", "--fail", "a:b"), ("--fail", "a"), ("--fail", ":b"), ("--fail", "a: ")],
)
def test_complete_wants_an_answer_or_a_failure(bide: Cli, options: tuple[str, ...]) -> None:
    """Neither, both, or half a failure is a mistake in typing."""
    result = bide("complete", f"{UNKNOWN}_1_0", *options)

    assert result.code == 2
    assert "CODE:MESSAGE" in result.complaint()


def test_cancel_ends_it_once(bide: Cli) -> None:
    """A cancelled execution says why; cancelling what has ended is an error."""
    execution = bide.submit()

    cancelled = bide("cancel", execution, "--reason", "closed today", "--json")

    assert cancelled.json["status"] == "CANCELLED"
    assert "closed today" in bide("show", execution).out
    assert "CANCELLED" in bide("cancel", execution).complaint()


# --- stores -----------------------------------------------------------------------------------


def test_looking_into_a_missing_database_makes_none(bide: Cli, shop: Path) -> None:
    """A look at a file that is not there is a mistake in its name, not a new database."""
    for command in (["executions"], ["show", UNKNOWN], ["pending"], ["dlq", "ls"]):
        assert "there is no database at" in bide(*command).complaint()

    assert list(shop.glob("*.db*")) == []


def test_migrate_makes_the_database(bide: Cli, shop: Path) -> None:
    """After `migrate` there is a store to look into; again it changes nothing."""
    made = bide("migrate", "--store", "sqlite:///there.db", "--json")
    again = bide("migrate", "--store", "sqlite:///there.db")

    assert made.json["store"] == "sqlite:///there.db"
    assert made.json["migrated"] is True
    assert made.json["schema"] == made.json["needed"]
    assert again.code == 0
    assert "up to date" in again.out
    assert bide("executions", "--store", "sqlite:///there.db", "--json").out == ""


def test_migrate_needs_no_app_for_a_store_that_is_named(
    bide: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may change the tables need not have the code of the pipelines."""
    (shop / "pyproject.toml").unlink(missing_ok=True)
    monkeypatch.delenv("BIDE_APP", raising=False)

    assert bide("migrate", "--store", "sqlite:///there.db").code == 0

    assert (shop / "there.db").exists()


def test_migrate_can_look_without_doing(bide: Cli, shop: Path) -> None:
    """`--check` fails where there is something to do, and does none of it."""
    behind = bide("migrate", "--check", "--store", "sqlite:///there.db")
    told = bide("migrate", "--check", "--store", "sqlite:///there.db", "--json")

    assert "bide migrate" in behind.complaint()
    assert (told.code, told.json["schema"], told.json["migrated"]) == (1, 0, False)
    assert not (shop / "there.db").exists()
    bide("migrate", "--store", "sqlite:///there.db")
    assert bide("migrate", "--check", "--store", "sqlite:///there.db").code == 0


def test_a_file_that_is_no_database_is_said_to_be_none(bide: Cli, shop: Path) -> None:
    """A corrupt file is one line that names it, for every command, and is left as it is."""
    (shop / "bide.db").write_bytes(b"not a database" * 1_000)

    for command in (["executions"], ["submit", "doubles", "--input", "-"], ["migrate"]):
        assert "bide.db" in bide(*command, stdin="1").complaint()

    assert (shop / "bide.db").read_bytes() == b"not a database" * 1_000


@pytest.mark.parametrize("url", ["sqlite:////proc/bide.db", "sqlite:///no/such/folder/bide.db"])
def test_a_folder_that_takes_no_file_is_named(bide: Cli, url: str) -> None:
    """Where no database can be made, the line names its path."""
    line = bide("submit", "doubles", "--input", "-", "--store", url, stdin="1").complaint()

    assert url.removeprefix("sqlite:///").rpartition("/")[0] in line


@pytest.mark.parametrize("url", ["", "nonsense", "oracle://x", "sqlite://", "sqlite:///"])
def test_an_address_that_is_none_is_refused(bide: Cli, url: str) -> None:
    """An address that no store answers to is one line."""
    bide("submit", "doubles", "--input", "-", "--store", url, stdin="1").complaint()


def test_a_setting_that_does_not_fit_is_named(bide: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the wrong type is one line with the variable's name."""
    monkeypatch.setenv("BIDE_LEASE_MS", "soon")

    assert "BIDE_LEASE_MS" in bide("migrate").complaint()


# --- doctor, and the frame --------------------------------------------------------------------


def test_doctor_says_what_it_looked_at(bide: Cli) -> None:
    """A sound app passes every check."""
    people = bide("doctor")
    program = bide("doctor", "--json")

    assert people.code == program.code == 0
    assert program.json["ok"] is True
    for check in program.json["checks"]:
        assert check["name"] in people.out


def test_doctor_tells_of_an_app_that_does_not_open(bide: Cli) -> None:
    """What keeps the app from opening is a failed check, and the exit code says so."""
    result = bide("doctor", "--app", "shop:nothing", "--json")

    assert result.code == 1
    assert result.json["ok"] is False
    assert "shop:nothing" in result.json["checks"][0]["message"] or "has no 'nothing'" in str(
        result.json
    )


def test_without_a_command_there_is_help(cli: Cli) -> None:
    """`bide` and `bide dlq` tell their commands; --version needs no app."""
    assert "park" not in cli().err
    assert "executions" in cli().out
    assert "ls" in cli("dlq").out
    assert cli("--version").out.startswith("bide ")


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["show"], ["show", "a", "b"], ["pending", "--limit", "0"], ["pending", "--nope"],
     ["executions", "--status", "nope"], ["submit", "orders", "--input", "-", "--wait", "-1"]],
)  # fmt: skip
def test_what_is_typed_wrongly_is_one_line(bide: Cli, arguments: list[str]) -> None:
    """A mistake in typing leaves with 2 and one line."""
    result = bide(*arguments)

    assert result.code == 2
    result.complaint()


def test_an_error_nobody_expected_is_one_line_too(
    bide: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without BIDE_DEBUG there is no traceback; with it there is."""
    monkeypatch.setattr("bide.cli.session.find_app", lambda *_: 1 / 0)

    line = bide("executions").complaint()
    monkeypatch.setenv("BIDE_DEBUG", "1")

    assert "ZeroDivisionError" in line
    assert "Traceback" in bide("executions").err


# --- redrive ----------------------------------------------------------------------------------


def test_redrive_makes_one_new_execution(bide: Cli) -> None:
    """It prints the new id; a repeat gives the same one, and `--again` another."""
    failed = bide.submit("orders", '{"id": -1}')
    bide.work(failed)

    made = bide("dlq", "redrive", failed)
    same = bide("dlq", "redrive", failed, "--json")
    other = bide("dlq", "redrive", failed, "--again", "--json")

    assert same.json["executionId"] == made.out.strip()
    assert same.json["duplicate"] is True
    assert other.json["executionId"] != made.out.strip()
    shown = bide("show", made.out.strip())
    assert f"redriven from  {failed}" in shown.out
    assert bide("show", made.out.strip(), "--json").json["redrivenFrom"] == failed


def test_redrive_from_an_await_asks_again(bide: Cli) -> None:
    """The failed question is asked anew, as a question of the new execution."""
    question = bide.parked()
    bide("complete", question, "--fail", "busy:no hands")

    made = bide("dlq", "redrive", question.split("_")[0], "--from", "await")
    bide.work(made.out.strip())

    [asked] = bide("pending", "--json").lines
    assert asked["interactionId"] == f"{made.out.strip()}_1_0"


def test_redrive_says_what_cannot_be(bide: Cli) -> None:
    """What waits, what is unknown, an ended await's item, and a word that is none."""
    question = bide.parked()

    assert "WAITING_EXTERNAL" in bide("dlq", "redrive", question.split("_")[0]).complaint()
    assert "only an item that failed" in bide("dlq", "redrive", question).complaint()
    assert "no execution" in bide("dlq", "redrive", UNKNOWN).complaint()
    assert "no reject" in bide("dlq", "redrive", f"{UNKNOWN}_r1_0").complaint()
    assert "start or await" in bide("dlq", "redrive", UNKNOWN, "--from", "x").complaint()


def test_rejects_are_listed_shown_and_redriven(bide: Cli) -> None:
    """`dlq ls --rejects`, `dlq show` and `dlq redrive` know an item that a step left out."""
    execution = bide.submit("picks", "3")
    bide.work(execution)

    [listed] = bide("dlq", "ls", "--rejects", "--json").lines
    shown = bide("dlq", "show", listed["rejectId"], "--json").json
    made = bide("dlq", "redrive", listed["rejectId"])

    assert (shown["item"], shown["reason"], shown["stepId"]) == (2, "not two", "pick")
    assert listed["rejectId"] in bide("dlq", "ls", "--rejects").out
    assert "not two" in bide("dlq", "show", listed["rejectId"]).out
    assert bide("show", made.out.strip(), "--json").json["redrivenFrom"] == execution


# --- correlation ------------------------------------------------------------------------------


def test_complete_by_correlation(bide: Cli, shop: Path) -> None:
    """A key stands in the id's place, also before anything asks under it; receipts are counted."""
    source = (shop / "shop.py").read_text()
    (shop / "shop.py").write_text(source.replace('timeout="1h"', 'timeout="1h", correlate_on="id"'))
    bide("migrate")
    answer = ("complete", "--correlation", "7", "--payload", "-")

    early = bide(*answer, "--step", "decide", "--json", stdin='{"accepted": true}')
    execution = bide.submit("orders", '{"id": 7}')
    bide.work(execution)
    again = bide(*answer, "--json", stdin='{"accepted": true}')
    counts = bide("receipts", "--json").json

    assert early.code == 0, early.err
    assert early.json["receipt"] == "buffered"
    assert again.json["receipt"] == "duplicate"
    assert bide("show", execution, "--json").json["result"] == {"text": "yes"}
    assert (counts["buffered"], counts["duplicate"], counts["applied"]) == (1, 1, 0)
    assert "--correlation" in bide("complete", "--payload", "-", stdin="1").complaint()
    assert "duplicate" in bide(*answer, stdin='{"accepted": true}').out
    assert "receipt" in bide("receipts").out
