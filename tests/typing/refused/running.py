"""Mistakes around an app; each marked line is an error, and no other line is."""

from pydantic import BaseModel

from bide import App, Await, Client, Inbox, Interaction, Pipeline


class Order(BaseModel):
    number: int


class Accepted(BaseModel):
    note: str


class Declined(BaseModel):
    reason: str


class Done(BaseModel):
    outcome: str


def finish(decision: Accepted | Declined) -> Done:
    return Done(outcome=str(decision))


decide = Await("Decide", Order, Accepted | Declined, via=Inbox(), timeout="1d")
orders = Pipeline("orders", Order).wait(decide).then(finish)
app = App(orders)


async def main() -> None:
    execution = await app.submit(orders, Order(number=1))
    [question] = await app.pending(decide)
    result = await execution.result()

    # A wrong submit.
    await app.submit(orders, Accepted(note=""))  # refused
    # A wrong answer.
    await app.complete(question, Done(outcome=""))  # refused
    # An attribute that the result does not have.
    print(result.note)  # refused
    # Streaming a single result.
    async for _ in execution.results():  # refused
        pass


def elsewhere(client: Client, asked: Interaction[Order, Accepted | Declined]) -> None:
    # The same mistakes from another process.
    client.submit(orders, Accepted(note=""))  # refused
    client.complete(asked, Done(outcome=""))  # refused
    print(client.submit(orders, Order(number=1)).result().note)  # refused
