"""Program 0: one question, asked and answered."""

from typing import assert_type

from bide import App, Await, Inbox, Interaction, Pipeline, Receipt

approve = Await("Ship it?", str, bool, via=Inbox(), timeout="1d")
hello = Pipeline("hello", str).wait(approve)
app = App(hello)

assert_type(approve, Await[str, bool, bool])
assert_type(hello, Pipeline[str, bool])


async def main() -> None:
    async with app.running():
        execution = await app.submit(hello, "v2")
        [question] = await app.pending(approve)
        assert_type(question, Interaction[str, bool])
        assert_type(question.request, str)
        assert_type(await app.complete(question, answer=True, actor="ada"), Receipt)
        assert_type(await execution.result(timeout=10), bool)
