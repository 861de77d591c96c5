"""Reads what other deployments say of publications: receipts, from wherever a topic's end is.

Every process that offers reads all receipts for itself, and keeps those that somebody here waits for.
It is in no group and commits nothing. A receipt from before it looked, or while it began afresh, is
missed: that publication is offered again, and told of again.

One thread touches the client. What it reads comes to the event loop a batch at a time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bide.errors import DefinitionError
from bide.transports.kafka.marks import Partition
from bide.transports.kafka.sender import made

log = logging.getLogger("bide.transports.kafka")

_READ_S: Final = 0.1
_AT_ONCE: Final = 500
_ANSWER_S: Final = 2.0
#: How often partitions are looked for: while a topic is missing, and then for what was added.
_LOOK_FIRST_S: Final = 0.5
_LOOK_S: Final = 30.0
_AFRESH_S: Final = 1.0
_CLOSED_WITHIN_S: Final = 10.0


class ReceiptReader:
    """Reads the receipt topics of one process, between `start` and `stop`."""

    def __init__(
        self,
        config: Mapping[str, str],
        topics: Sequence[str],
        heard: Callable[[Sequence[bytes | None]], None],
    ) -> None:
        """Take what to read; `heard` is called on the event loop, with the values of records."""
        self._config = config
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        #: Set once a topic's end is known: what is said from then on is heard.
        self._ready = {topic: asyncio.Event() for topic in topics}
        #: From where each partition is read on.
        self._places: dict[Partition, int] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bide-kafka-receipts", daemon=True)
        #: What keeps receipts from being read, in one line; empty while nothing does.
        self.trouble = ""

    def start(self) -> None:
        """Begin to read; does not wait for the outside."""
        self._thread.start()

    async def stop(self) -> None:
        """Read no more; safe to call twice."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join, _CLOSED_WITHIN_S)

    async def ready(self, topic: str, timeout_s: float) -> bool:
        """Wait until what is said on a topic from now on is heard; False where that takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready[topic].wait()
        except TimeoutError:
            return False
        return True

    # --- on its thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                config = {**self._config, "error_cb": self._failed}
                with closing(made(Consumer, config, self._config)) as consumer:
                    self._follow(consumer)
            except (KafkaException, DefinitionError) as error:
                self.trouble = f"reading receipts failed: {error}"
                log.warning("%s; it begins afresh", self.trouble)
            except Exception:  # a defect must not leave every publication without its receipt
                self.trouble = "reading receipts failed as it should not; see the log"
                log.exception("reading receipts failed as it should not")
            self._closing.wait(_AFRESH_S)

    def _follow(self, consumer: Consumer) -> None:
        """Read on from where it was; from the end where it has not been yet."""
        self._assign(consumer)
        look_at = 0.0
        while not self._closing.is_set():
            if time.monotonic() >= look_at:
                found_all = self._look(consumer)
                look_at = time.monotonic() + (_LOOK_S if found_all else _LOOK_FIRST_S)
            first = consumer.poll(_READ_S)
            if first is not None:
                self._take([first, *consumer.consume(_AT_ONCE - 1, 0)])

    def _look(self, consumer: Consumer) -> bool:
        """Find partitions that it does not read yet; says whether all topics are there."""
        try:
            known = consumer.list_topics(timeout=_ANSWER_S).topics
            missing = [t for t in self._ready if t not in known or known[t].error is not None]
            for topic in self._ready.keys() - missing:
                self._find(consumer, topic, list(known[topic].partitions))
        except KafkaException as error:
            self.trouble = f"no broker says where receipts are: {error.args[0].str()}"
            return False
        self.trouble = f"topic {missing[0]} is not there; create it" if missing else ""
        return not missing

    def _find(self, consumer: Consumer, topic: str, numbers: Sequence[int]) -> None:
        new = [Partition(topic, n) for n in numbers if Partition(topic, n) not in self._places]
        ready, found = self._ready[topic], dict[Partition, int]()
        for each in new:
            low, high = consumer.get_watermark_offsets(TopicPartition(*each), timeout=_ANSWER_S)
            # A partition that was added while it read holds only what nobody has heard yet.
            found[each] = low if ready.is_set() else high
        if found:
            self._places |= found
            self._assign(consumer)
            self._loop.call_soon_threadsafe(ready.set)

    def _assign(self, consumer: Consumer) -> None:
        consumer.assign([TopicPartition(*each, offset) for each, offset in self._places.items()])

    def _take(self, messages: Sequence[Message]) -> None:
        values: list[bytes | None] = []
        for message in messages:
            error = message.error()
            if error is not None:
                if error.fatal():
                    raise KafkaException(error)
                self._failed(error)
                continue
            topic, number, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert number is not None
            assert offset is not None
            self._places[Partition(topic, number)] = offset + 1
            values.append(message.value())
        if values:
            self._loop.call_soon_threadsafe(self._heard, values)

    def _failed(self, error: KafkaError) -> None:
        log.warning("Kafka, receipts: %s", error.str())
