"""Publications over Kafka: the source writes them to a topic, the target tells of each by another.

At the source, a publication is settled by its receipt alone, and that is written only behind the
target's durable admission. Where none comes in time the publication is offered again: then the
target finds it to be a duplicate, and says so. At the target, an `Intake` brings whole batches to
the door, and commits their offsets behind the receipts.

What happens when it crashes here: at the source, a receipt that nobody heard is asked for again by
offering again. At the target, records without a committed offset are read again, and are duplicates
if they were admitted; so a receipt may come twice, and says the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, cast

from confluent_kafka import Consumer

from bide.authoring.publications import Destination, Topic
from bide.errors import DefinitionError
from bide.model.ids import ExecutionId
from bide.settings import Settings
from bide.spi.handoff import Answer, Offer
from bide.spi.receiving import Door
from bide.spi.transport import Problem, Unclear
from bide.transports.kafka.config import consumer_config, producer_config, read_properties
from bide.transports.kafka.handoffs import Landing, publication_of, read_receipt, taken_from
from bide.transports.kafka.intake import Intake
from bide.transports.kafka.receipts import ReceiptReader
from bide.transports.kafka.sender import Sender, ToWrite, made

#: What `offer` takes beyond the records' own time and the receipts': being told of them.
_TELLING_MS: Final = 2_000
#: Named because the client asks for one; nobody joins it, and nothing is committed.
_READERS: Final = "bide.receipts"


class KafkaCarrier:
    """A `Carrier` for `to=Topic(...)`, and the `Receiver` of `remote=Topic(...)`."""

    def __init__(
        self, named: Mapping[str, Topic], taken: Mapping[str, Topic], settings: Settings
    ) -> None:
        """Take where publications go, by what messages call them, and where they come from, by id.

        Raises:
            DefinitionError: what is taken and shares a topic disagrees about it, or an app would
                take what it has published itself.
        """
        self._settings = settings
        self._receipt_topics = list(dict.fromkeys(each.receipt_topic for each in named.values()))
        self._landings = taken_from(taken)
        for name, to in named.items():
            if to.topic in self._landings:
                raise DefinitionError(
                    f"{name} goes to the topic {to.topic!r}, which this very app takes from; name"
                    " another topic"
                )
        #: One for the record to be written, one for its receipt to come.
        self.timeout_ms = 2 * settings.kafka_timeout_ms + _TELLING_MS
        self._sender: Sender | None = None
        self._reader: ReceiptReader | None = None
        self._intakes: list[Intake] = []
        #: What is offered and was not told of yet.
        self._awaited: dict[ExecutionId, asyncio.Future[Answer]] = {}

    async def open(self) -> None:
        """Make the clients; connects to nobody that it would wait for."""
        properties = read_properties(self._settings)
        config = consumer_config(properties, _READERS)
        made(Consumer, config, config).close()
        self._sender = Sender(producer_config(properties, self._settings.kafka_timeout_ms))
        self._sender.open()
        if self._receipt_topics:
            self._reader = ReceiptReader(config, self._receipt_topics, self._heard)
            self._reader.start()

    async def close(self) -> None:
        """Stop reading and writing."""
        await self.unlisten()
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.stop()
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.close()

    # --- the source's side --------------------------------------------------------------------

    def endpoint(self, to: Destination) -> str:
        """The topic."""
        return f"topic {_topic(to).topic}"

    async def offer(self, batch: Sequence[Offer]) -> list[Answer]:
        """Write a batch, a record each, and wait for what is said of it."""
        assert self._sender is not None, "nothing is offered before open"
        assert self._reader is not None, "it was made with where publications go"
        loop = asyncio.get_running_loop()
        until = loop.time() + 2 * self._settings.kafka_timeout_ms / 1_000
        for topic in {_topic(each.to).receipt_topic for each in batch}:
            # Nothing is written before its receipt would be heard.
            if not await self._reader.ready(topic, self._settings.kafka_timeout_ms / 1_000):
                why = self._reader.trouble or f"the receipts on {topic} cannot be read yet"
                return [Unclear(why)] * len(batch)
        awaited = {each.handoff: loop.create_future() for each in batch}
        self._awaited |= awaited
        try:
            written = await self._sender.write([_to_write(each) for each in batch])
            for each, (error, detail) in zip(batch, written, strict=True):
                if error is not None and not awaited[each.handoff].done():
                    awaited[each.handoff].set_result(Unclear(detail))
            await asyncio.wait(awaited.values(), timeout=max(0.0, until - loop.time()))
            return [_answer(awaited[each.handoff], each) for each in batch]
        finally:
            for handoff in awaited:
                self._awaited.pop(handoff, None)

    def _heard(self, values: Sequence[bytes | None]) -> None:
        """Tell those who wait; what others have offered is none of this process's business."""
        for value in values:
            receipt = read_receipt(value)
            waits = None if receipt is None else self._awaited.get(receipt.handoff)
            if receipt is not None and waits is not None and not waits.done():
                waits.set_result(receipt.answer)

    # --- the target's side --------------------------------------------------------------------

    def listen(self, door: Door) -> None:
        """Begin to take publications in, one consumer a group."""
        assert self._sender is not None, "nothing is read before open"
        properties = read_properties(self._settings)
        groups: dict[str, dict[str, Landing]] = {}
        for topic, landing in self._landings.items():
            groups.setdefault(landing.group, {})[topic] = landing
        for group, landings in groups.items():
            config = consumer_config(properties, group)
            rows = self._settings.batch_rows
            intake = Intake(group, landings, config, self._sender, door, rows=rows)
            self._intakes.append(intake)
            intake.start()

    async def unlisten(self) -> None:
        """Bring what is in hand to its end, commit, and leave the groups."""
        intakes, self._intakes = self._intakes, []
        await asyncio.gather(*(intake.stop() for intake in intakes))

    async def problems(self) -> list[Problem]:
        """What keeps receipts from being heard, and publications from coming in."""
        try:
            read_properties(self._settings)
        except DefinitionError as error:
            return [Problem("Kafka", str(error), is_fatal=True)]
        found = [each for intake in self._intakes for each in intake.problems()]
        if self._reader is not None and self._reader.trouble:
            found.append(Problem("receipts", self._reader.trouble, is_fatal=False))
        return found


def _to_write(offer: Offer) -> ToWrite:
    return ToWrite(_topic(offer.to).topic, offer.key.encode(), publication_of(offer), [])


def _answer(heard: asyncio.Future[Answer], offer: Offer) -> Answer:
    if heard.done():
        return heard.result()
    return Unclear(f"no receipt came on {_topic(offer.to).receipt_topic}; is the target running?")


def _topic(to: Destination) -> Topic:
    return cast("Topic", to)
