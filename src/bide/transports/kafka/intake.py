"""Takes records in: reads a group's topics, brings records to the door, commits behind it.

Theory of operation
-------------------
One consumer a group, on one thread of its own; it is the only one that touches the client, and all
that the client calls back (partitions come and go) happens there, between two reads.

What is read together is brought to the door together, and nothing more is read until each record
has its verdict. A refused one is also written to the dead-letter topic, as it came; of a publication
the receipt is written, whatever became of it. Only then is a record done with (`marks`), and the offset behind it committed before the next read.

While the store is away, or what is to be written cannot be, the partitions are paused and the client is kept
alive; the records in hand are brought again, with pauses that double. Those whose partition went
to somebody else meanwhile are dropped: they are read there.

What happens when it crashes here: records behind the last committed offset are read again, here or
by another process of the group. What was admitted is then a duplicate, what was refused has its
letter already, and in the dead-letter topic it may stand twice, with the same `bide-source`. A receipt
may come twice, and says the same of the publication.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bide.spi.receiving import Arrival, Door, Offered, Verdict
from bide.spi.transport import Problem
from bide.transports.kafka.channels import Channel, Record
from bide.transports.kafka.deliveries import is_hopeless
from bide.transports.kafka.envelope import Headers
from bide.transports.kafka.hand import Hand
from bide.transports.kafka.handoffs import Landing, receipt_of
from bide.transports.kafka.marks import Mark, Marks, Partition
from bide.transports.kafka.sender import Sender, ToWrite, made

log = logging.getLogger("bide.transports.kafka")

_READ_S: Final = 0.25
_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LONGEST_S: Final = 5.0
_STOP_S: Final = 15.0
_GIVE_UP_S: Final = 0.5
_DETAIL_CHARACTERS_MAX: Final = 500


@dataclass(slots=True)
class _InHand:
    """A record that is not done with."""

    mark: Mark
    record: Record
    arrival: Arrival
    #: Set once it is durable; what is left to do then is to write its letter or its receipt.
    verdict: Verdict | None = None
    #: How often its letter or receipt was tried to be written.
    tries: int = 0


class Intake:
    """The consumer of one group in one process."""

    def __init__(
        self,
        group: str,
        channels: Mapping[str, Channel | Landing],
        config: Mapping[str, str],
        sender: Sender,
        door: Door,
        *,
        rows: int,
    ) -> None:
        """Take what to read, by topic; at most `rows` records are brought to the door at once."""
        self.group = group
        self._channels = channels
        self._config = config
        self._sender = sender
        self._door = door
        self._rows = rows
        self._marks = Marks()
        self._consumer: Consumer | None = None
        #: Read while the partitions were to be paused; they come first.
        self._early: list[Message] = []
        self._is_holding = False
        self._hand = Hand(f"bide-kafka-{group}")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        #: What keeps answers from coming in, in one line; empty while nothing does.
        self.trouble = ""

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._run(), name=f"bide-kafka-{self.group}")

    async def stop(self) -> None:
        """Bring what is in hand to its end, commit, and leave the group.

        A broker that does not answer is not waited for longer than a while: it misses the process
        by itself then.
        """
        self._stopping.set()
        task, self._task = self._task, None
        if task is not None:
            done, _ = await asyncio.wait([task], timeout=_STOP_S)
            if not done:
                log.warning("group %s: its broker does not answer; it is left as it is", self.group)
            while not task.done():  # closing the client may have to be given up as well
                task.cancel()
                await asyncio.wait([task], timeout=_GIVE_UP_S)
        self._hand.let_go()

    @property
    def is_running(self) -> bool:
        """False when its loop has ended, which only a defect makes it do before a stop."""
        return self._task is not None and not self._task.done()

    def problems(self) -> list[Problem]:
        """What keeps records from coming in."""
        if not self.is_running:
            text = "it has stopped taking records in; restart the process and see its log"
            return [Problem(f"group {self.group}", text, is_fatal=True)]
        if self.trouble:
            return [Problem(f"group {self.group}", self.trouble, is_fatal=False)]
        return []

    async def _run(self) -> None:
        """Read until it is stopped; a consumer that cannot go on is replaced."""
        pause = _PAUSE_FIRST_S
        while not self._stopping.is_set():
            try:
                await self._hand.do(self._open)
                while not self._stopping.is_set():
                    messages = await self._hand.do(self._read)
                    if messages:
                        pause = _PAUSE_FIRST_S
                        await self._take(messages)
                await self._hand.do(self._commit)
            except Exception as error:  # a defect, or a client that is fenced: it begins afresh
                self.trouble = f"reading answers failed: {_words(error)}"
                if not isinstance(error, KafkaException):
                    log.exception("group %s: reading answers failed as it should not", self.group)
                else:
                    log.warning("group %s: %s; it begins afresh", self.group, self.trouble)
            finally:
                await self._hand.do(self._close)
            if not self._stopping.is_set():
                await self._rest(pause)
                pause = min(pause * 2, _PAUSE_LONGEST_S)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # --- what was read ------------------------------------------------------------------------

    async def _take(self, messages: Sequence[Message]) -> None:
        """Bring records to the door until each is done with, or is somebody else's."""
        left = self._begun(messages)
        pause = _PAUSE_FIRST_S
        while left:
            left = await self._brought(left)
            if not left or self._stopping.is_set():
                break
            await self._hand.do(partial(self._hold, pause))
            pause = min(pause * 2, _PAUSE_LONGEST_S)
            left = [each for each in left if self._marks.is_current(each.mark)]
        if self._is_holding:
            await self._hand.do(self._resume)

    def _begun(self, messages: Sequence[Message]) -> list[_InHand]:
        """The records among what was read; what else there is, is trouble."""
        begun: list[_InHand] = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._complain(error)
                continue
            record = _record_of(message)
            mark = self._marks.begin(Partition(record.topic, record.partition), record.offset)
            if mark is not None:
                arrival = self._channels[record.topic].arrival(record)
                begun.append(_InHand(mark, record, arrival))
        return begun

    async def _brought(self, in_hand: Sequence[_InHand]) -> list[_InHand]:
        """Ask the door about records, and write what is owed of them; gives the rest."""
        asked = [each for each in in_hand if each.verdict is None]
        verdicts = await self._door.take([each.arrival for each in asked])
        for each, verdict in zip(asked, verdicts, strict=True):
            each.verdict = verdict
        unwritten = await self._write_owed(in_hand)
        left: list[_InHand] = []
        for each in in_hand:
            if each.verdict is None or each.mark in unwritten:
                left.append(each)
            else:
                self._marks.finish(each.mark)
        if left:
            log.warning(
                "group %s: %d records wait for the store, or to be told of", self.group, len(left)
            )
        return left

    async def _write_owed(self, in_hand: Sequence[_InHand]) -> frozenset[Mark]:
        """Write the letters and receipts of records; gives those that are to be tried again.

        A topic that will not take one holds nobody up: the store has the letter already, and who
        is not told of a publication offers it again.
        """
        owed = [(each, due) for each in in_hand if (due := self._owed(each)) is not None]
        if not owed:
            return frozenset()
        written = await self._sender.write([due for _, due in owed])
        again: set[Mark] = set()
        for (each, due), (error, detail) in zip(owed, written, strict=True):
            each.tries += 1
            if error is None:
                continue
            if is_hopeless(error, each.tries):
                log.error(
                    "%s: what became of %s cannot be written: %s", due.topic, each.arrival.place,
                    detail,
                )  # fmt: skip
            else:
                again.add(each.mark)
        return frozenset(again)

    def _owed(self, each: _InHand) -> ToWrite | None:
        """What is to be written of a record before it is done with."""
        verdict, said = each.verdict, each.arrival.said
        channel = self._channels[each.record.topic]
        if verdict is None:
            return None
        if isinstance(said, Offered) and isinstance(channel, Landing):
            return ToWrite(channel.receipts, each.record.key, receipt_of(said, verdict), [])
        return None if verdict.is_admitted else self._letter(each.record, verdict)

    def _letter(self, record: Record, verdict: Verdict) -> ToWrite:
        """A record as it came, with why it was refused and where it had been."""
        why = {
            "bide-cause": verdict.code,
            "bide-detail": verdict.detail[:_DETAIL_CHARACTERS_MAX],
            "bide-source": record.place,
            "bide-group": self.group,
        }
        headers = [*(record.headers or ()), *((name, text.encode()) for name, text in why.items())]
        topic = self._channels[record.topic].dead_letters
        return ToWrite(topic, record.key, record.value, headers)

    def _complain(self, error: KafkaError) -> None:
        if error.fatal():
            raise KafkaException(error)
        if error.str() != self.trouble:
            log.warning("group %s: %s", self.group, error.str())
        self.trouble = error.str()

    # --- on the client's thread ---------------------------------------------------------------

    def _open(self) -> None:
        self._marks, self._early, self._is_holding = Marks(), [], False
        consumer = made(
            Consumer,
            {**self._config, "error_cb": _report, "on_commit": self._committed},
            self._config,
        )
        self._consumer = consumer
        consumer.subscribe(
            list(self._channels),
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )

    def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _client(self) -> Consumer:
        assert self._consumer is not None, "it is open while it is read from"
        return self._consumer

    def _read(self) -> list[Message]:
        """Commit what is done with, then wait a moment for records and take what is there."""
        self._commit()
        messages, self._early = self._early, []
        if not messages:
            first = self._client().poll(_READ_S)
            messages = [] if first is None else [first]
        if messages and len(messages) < self._rows:
            messages += self._client().consume(self._rows - len(messages), 0)
        return messages

    def _commit(self) -> None:
        """Tell the broker how far it is, without waiting: a broker that is away must not keep the
        process from stopping. What it does not hear now it hears after the next read.
        """
        due = self._marks.due()
        if not due:
            return
        offsets = [TopicPartition(*partition, offset) for partition, offset in due.items()]
        try:
            self._client().commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            log.warning("group %s: offsets were not committed: %s", self.group, _words(error))

    def _committed(self, error: KafkaError | None, told: list[TopicPartition]) -> None:
        """The broker has answered a commit; called back while it is read."""
        if error is not None:
            log.warning("group %s: offsets were not committed: %s", self.group, error.str())
            return
        self._marks.committed(
            {Partition(each.topic, each.partition): each.offset for each in told if not each.error}
        )

    def _hold(self, seconds: float) -> None:
        """Read nothing for a while, and stay a member of the group meanwhile."""
        if not self._is_holding:
            self._is_holding = True
            self._client().pause(_listed(self._marks.partitions))
        until = time.monotonic() + seconds
        while not self._stopping.is_set() and (rest := until - time.monotonic()) > 0:
            message = self._client().poll(min(rest, _READ_S))
            if message is not None:
                self._early.append(message)

    def _resume(self) -> None:
        self._is_holding = False
        self._client().resume(_listed(self._marks.partitions))

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.trouble = ""
        consumer.incremental_assign(partitions)
        self._marks.assign(_partitions(partitions))
        if self._is_holding:
            consumer.pause(partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give partitions up in order: whoever gets them goes on behind what is done here."""
        self._commit()
        self._marks.revoke(_partitions(partitions))
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """They are somebody else's already, so nothing is committed."""
        self._marks.revoke(_partitions(partitions))
        consumer.incremental_unassign(partitions)


def _record_of(message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    _, timestamp = message.timestamp()
    return Record(
        topic, partition, offset, timestamp, message.key(), message.value(), _headers(message)
    )


def _headers(message: Message) -> Headers:
    """The headers of a record, whichever of its forms the client gives them in."""
    given = message.headers() or []
    pairs = given.items() if isinstance(given, dict) else given
    return [
        (name, value.encode() if isinstance(value, str) else value or b"") for name, value in pairs
    ]


def _partitions(listed: Sequence[TopicPartition]) -> list[Partition]:
    return [Partition(each.topic, each.partition) for each in listed]


def _listed(partitions: frozenset[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*each) for each in partitions]


def _report(error: KafkaError) -> None:
    log.warning("Kafka: %s", error.str())


def _words(error: Exception) -> str:
    """What an error says, without what was read."""
    if isinstance(error, KafkaException):
        return str(error.args[0].str())
    return type(error).__name__
