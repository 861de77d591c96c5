"""Writes records and says of each what became of it.

librdkafka works on threads of its own; one thread of ours asks it what it has heard. A batch comes
back to the event loop in one hop, when the last of its records is told of.

What happens when it crashes here: the broker may have records that nobody was told of, and they are
written again, under the same ids.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from bide.errors import DefinitionError
from bide.transports.kafka.envelope import Headers

log = logging.getLogger("bide.transports.kafka")

_POLL_S: Final = 0.25
_CLOSED_WITHIN_S: Final = 5.0


class Written(NamedTuple):
    """What became of a record."""

    #: The name of librdkafka's error; None if all replicas have it.
    error: str | None
    detail: str = ""


class ToWrite(NamedTuple):
    """One record to write."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class _Batch:
    """Records that are written together; told of from another thread."""

    def __init__(self, size: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.written: list[Written | None] = [None] * size
        self._left = size
        self._lock = threading.Lock()

    def tell(self, index: int, written: Written) -> None:
        with self._lock:
            self.written[index] = written
            self._left -= 1
            if self._left:
                return
        self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():  # nobody waits any more
            self.done.set_result(None)


class _Line:
    """One producer and the thread that listens to it."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self.producer = made(Producer, {**config, "error_cb": self._failed}, config)
        self.is_broken = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="bide-kafka-out", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Drop what was not written; whoever waits for it is told."""
        self.producer.purge()
        self._closing.set()
        self._thread.join(_CLOSED_WITHIN_S)

    def _listen(self) -> None:
        while not self._closing.is_set():
            self.producer.poll(_POLL_S)
        self.producer.flush(0)

    def _failed(self, error: KafkaError) -> None:
        """A producer that lost its place among its own records writes none any more."""
        self.is_broken = self.is_broken or error.fatal()
        log.warning("Kafka: %s", error.str())


class Sender:
    """The producer of one process."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self._config = config
        self._line: _Line | None = None

    def open(self) -> None:
        """Make the producer; connects to nobody yet.

        Raises:
            DefinitionError: librdkafka does not take its configuration.
        """
        if self._line is None:
            self._line = _Line(self._config)

    async def close(self) -> None:
        """Write nothing any more; safe to call twice."""
        line, self._line = self._line, None
        if line is not None:
            await asyncio.to_thread(line.close)

    async def write(self, records: Sequence[ToWrite]) -> list[Written]:
        """Write records and wait until the broker has told of each, or its time is up.

        When the caller is cancelled, what librdkafka has not sent yet is dropped, also that of
        other callers, who are told so.
        """
        line = await self._ready()
        batch = _Batch(len(records))
        for index, record in enumerate(records):
            try:
                line.producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=[*record.headers],
                    on_delivery=partial(_told, batch, index),
                )
            except BufferError:
                batch.tell(index, Written("_QUEUE_FULL", "too much waits to be sent already"))
            except KafkaException as error:
                batch.tell(index, _of_error(error.args[0]))
        try:
            if records:
                await batch.done
        except asyncio.CancelledError:
            line.producer.purge(in_flight=False, blocking=False)
            raise
        return [each or Written("_FAIL", "nothing was heard of it") for each in batch.written]

    async def _ready(self) -> _Line:
        """The producer; one that can write no more is replaced."""
        line = self._line
        if line is not None and line.is_broken:
            log.warning("Kafka: the producer cannot go on, and is replaced")
            self._line = None
            await asyncio.to_thread(line.close)
            line = self._line
        if line is None:
            line = self._line = _Line(self._config)
        return line


def _told(batch: _Batch, index: int, error: KafkaError | None, _: object) -> None:
    batch.tell(index, Written(None) if error is None else _of_error(error))


def _of_error(error: KafkaError) -> Written:
    return Written(error.name(), f"{error.name()}: {error.str()}")


def made(kind: Any, arguments: Mapping[str, Any], config: Mapping[str, str]) -> Any:
    """Make a client of librdkafka.

    Raises:
        DefinitionError: its configuration is not taken; the message holds no value of it.
    """
    try:
        return kind(dict(arguments), logger=log)
    except KafkaException as error:
        why = error.args[0].str()
    except (TypeError, ValueError) as error:
        why = str(error)
    for name, value in config.items():
        if value and name != "bootstrap.servers":
            why = why.replace(value, "(hidden)")
    raise DefinitionError(f"Kafka's client does not take what it is configured with: {why}")
