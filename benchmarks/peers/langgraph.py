"""LangGraph: graphs whose nodes interrupt, checkpointed to Postgres or SQLite by the caller."""

import operator
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from time import perf_counter
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Send, interrupt

from benchmarks.peers.protocol import (
    Job,
    Parcel,
    counted,
    expect,
    main,
    parcel,
)


class State(TypedDict, total=False):
    """Of W1 and W3."""

    parcel: Parcel
    answer: Parcel
    done: Parcel


class ItemsState(TypedDict, total=False):
    """Of W2."""

    n: int
    answers: Annotated[list[Parcel], operator.add]
    done: Parcel


async def prepare(state: State) -> State:
    return {"parcel": state["parcel"]}


async def wait(state: State) -> State:
    return {"answer": interrupt(state["parcel"])}


async def label(state: State) -> State:
    return {"answer": state["parcel"]}


async def conclude(state: State) -> State:
    return {"done": {"number": state["answer"]["number"]}}


def unpack(state: ItemsState) -> list[Send]:
    return [Send("ask", parcel(number)) for number in range(state["n"])]


async def ask(sent: Parcel) -> ItemsState:
    return {"answers": [interrupt(sent)]}


async def count(state: ItemsState) -> ItemsState:
    return {"done": counted(state["answers"])}


def chain(saver: BaseCheckpointSaver[Any], middle: Any) -> CompiledStateGraph[Any]:
    graph = StateGraph(State)
    graph.add_sequence([("prepare", prepare), ("middle", middle), ("conclude", conclude)])
    graph.add_edge(START, "prepare")
    graph.add_edge("conclude", END)
    return graph.compile(checkpointer=saver)


def fan(saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any]:
    graph = StateGraph(ItemsState)
    graph.add_node("ask", ask)
    graph.add_node("count", count)
    graph.add_conditional_edges(START, unpack, ["ask"])
    graph.add_edge("ask", "count")
    graph.add_edge("count", END)
    return graph.compile(checkpointer=saver)


class LangGraph:
    """The client's side; an execution is a thread that the caller runs."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self._park_resume, self._submit = chain(saver, wait), chain(saver, label)
        self._items = fan(saver)

    async def park_resume(self, number: int) -> float:
        thread = _thread()
        asked = await self._park_resume.ainvoke({"parcel": parcel(number)}, thread)
        [question] = asked["__interrupt__"]
        sent = perf_counter()
        ended = await self._park_resume.ainvoke(Command(resume=question.value), thread)
        expect(ended["done"], number)
        return perf_counter() - sent

    async def items(self, order: Sequence[int]) -> None:
        """All answers in one call: each call runs every item that is still open once more."""
        n = len(order)
        thread = _thread()
        asked = await self._items.ainvoke({"n": n}, thread)
        questions = [asked["__interrupt__"][item] for item in order]
        answers = {question.id: question.value for question in questions}
        ended = await self._items.ainvoke(Command(resume=answers), thread)
        expect(ended["done"], n)

    async def submit(self, number: int) -> None:
        ended = await self._submit.ainvoke({"parcel": parcel(number)}, _thread())
        expect(ended["done"], number)


def _thread() -> Any:
    return {"configurable": {"thread_id": token_hex(16)}}


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[LangGraph]:
    savers: Any = AsyncPostgresSaver if job.store.startswith("postgresql:") else AsyncSqliteSaver
    address = job.store.removeprefix("sqlite:///")
    async with savers.from_conn_string(address) as saver:
        await saver.setup()
        yield LangGraph(saver)


if __name__ == "__main__":
    main(opened, lanes=20)
