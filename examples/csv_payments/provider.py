"""The payment provider: a process of its own that speaks HTTP or Kafka and knows nothing of Bide.

    python examples/csv_payments/provider.py --url http://127.0.0.1:8000
    python examples/csv_payments/provider.py --kafka 127.0.0.1:9092

It asks what is pending, decides by the payment's id alone, and sends its answers. An answer that
got no receipt is sent again, the same each time: the service may have been killed before it took
the answer or after. Which of the two it was the service knows, and then says `duplicate`.

Over Kafka it takes requests from one topic and writes answers to another. It says how far it has read
only once its answers are written, so a request that was half done is answered again, with the same
words.

Stopped with SIGTERM or SIGINT, it prints what it did as one line of JSON.
"""

import argparse
import asyncio
import json
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx

PENDING = "/pipeline/interactions/pending"
COMPLETE = "/pipeline/interactions/complete"
COMPLETE_BATCH = "/api/v1/interactions/complete-batch"

#: How many payments are asked for at once, and how long to wait when there are none.
PAGE = 1000
IDLE_S = 0.1
RETRY_S = 0.2


def jhash(text: str) -> int:
    """Hash a text to 32 bits: 31 times the sum so far, and the next character."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return value


def approves(csv_id: str) -> bool:
    """Tell whether the payment of this id is paid: about 92 of 100 are."""
    mixed = (31 * (31 + jhash(csv_id)) + jhash("provider-reject")) & 0xFFFFFFFF
    return mixed % 10_000 >= 800


def decide(payment: dict[str, Any]) -> dict[str, Any]:
    """Answer one payment; the same payment gets the same answer, in every process."""
    approved = approves(payment["csvId"])
    answer = {
        "reference": "101",
        "status": "Complete" if approved else "Rejected",
        "message": "Payment made" if approved else "Payment refused by the provider",
        "fee": "1.01",
        "conversationId": str(uuid5(NAMESPACE_URL, str(UUID(payment["id"])))),
        "statusCode": 1000,
        "paymentRecordId": payment["id"],
        "paymentRecord": payment,
    }
    return {"approved" if approved else "unapproved": answer}


@dataclass
class Tally:
    """What the provider did so far."""

    #: How often each interaction was answered.
    sent: Counter[str] = field(default_factory=Counter[str])
    #: What the service said to the answers.
    receipts: Counter[str] = field(default_factory=Counter[str])
    #: How often no receipt came: the service was away, or away before it said anything.
    unheard: int = 0

    def as_json(self) -> dict[str, Any]:
        """Say it for other programs."""
        return {
            "answered": len(self.sent),
            "repeated": sum(self.sent.values()) - len(self.sent),
            "unheard": self.unheard,
            "receipts": dict(sorted(self.receipts.items())),
        }


class Unheard(Exception):
    """No receipt came; the same answers have to be sent again."""


class Provider:
    """Polls, decides and answers, until it is told to stop."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        group: str = "payment-provider",
        batch: int = 100,
        per_second: float = 0,
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._group = group
        self._batch = batch
        #: Seconds that one payment takes; 0 is as fast as it goes.
        self._pace_s = 1 / per_second if per_second else 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Answer what is pending until `stop` is set."""
        while not stop.is_set():
            try:
                pending = await self._pending()
            except (Unheard, httpx.HTTPError):
                await _sleep_unless(stop, RETRY_S)
                continue
            for first in range(0, len(pending), self._batch):
                batch = pending[first : first + self._batch]
                await _sleep_unless(stop, self._pace_s * len(batch))
                await self._answer(batch, stop)
                if stop.is_set():
                    return
            if not pending:
                await _sleep_unless(stop, IDLE_S)

    async def _pending(self) -> list[dict[str, Any]]:
        response = await self._client.get(PENDING, params={"group": self._group, "limit": PAGE})
        _check(response)
        found: list[dict[str, Any]] = response.json()
        return found

    async def _answer(self, batch: list[dict[str, Any]], stop: asyncio.Event) -> None:
        """Send answers until each has its receipt; a batch is only the way of sending them."""
        waiting: list[dict[str, Any]] = [_completion(interaction) for interaction in batch]
        while waiting and not stop.is_set():
            self.tally.sent.update(completion["interactionId"] for completion in waiting)
            receipts: list[str | None]
            try:
                receipts = await self._send(waiting)
            except (Unheard, httpx.HTTPError):
                receipts = [None] * len(waiting)
            self.tally.receipts.update(filter(None, receipts))
            waiting = [
                completion
                for completion, receipt in zip(waiting, receipts, strict=True)
                if receipt is None
            ]
            if waiting:
                self.tally.unheard += len(waiting)
                await _sleep_unless(stop, RETRY_S)

    async def _send(self, completions: list[dict[str, Any]]) -> list[str | None]:
        """Send answers; gives a receipt for each, None where the store could not take it."""
        if self._batch == 1:
            response = await self._client.post(COMPLETE, json=completions[0])
            return [_receipt(response.status_code, response.json())]
        lines = "".join(json.dumps(completion) + "\n" for completion in completions)
        response = await self._client.post(
            COMPLETE_BATCH, content=lines, headers={"content-type": "application/x-ndjson"}
        )
        _check(response)
        answers = [json.loads(line) for line in response.text.splitlines()]
        if len(answers) != len(completions):
            raise Unheard
        return [_receipt(answer.get("status"), answer) for answer in answers]


# --- over Kafka -----------------------------------------------------------------------------------

REQUESTS = "csv-payments.payment.requests"
RESULTS = "csv-payments.payment.results"


class KafkaProvider:
    """Reads requests, decides and writes answers, until it is told to stop."""

    def __init__(
        self,
        servers: str,
        *,
        requests: str = REQUESTS,
        results: str = RESULTS,
        batch: int = 100,
        per_second: float = 0,
    ) -> None:
        self.tally = Tally()
        self._servers = servers
        self._requests = requests
        self._results = results
        self._batch = batch
        self._pace_s = 1 / per_second if per_second else 0.0

    def run(self, stop: threading.Event) -> None:
        """Answer requests until `stop` is set."""
        from confluent_kafka import Consumer, Producer

        common = {"bootstrap.servers": self._servers}
        consumer = Consumer(
            {
                **common,
                "group.id": "payment-provider",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6000,
            }
        )
        producer = Producer({**common, "enable.idempotence": True})
        consumer.subscribe([self._requests])
        try:
            while not stop.is_set():
                taken = [
                    message for message in consumer.consume(self._batch, 0.1) if not message.error()
                ]
                if not taken:
                    continue
                stop.wait(self._pace_s * len(taken))
                for message in taken:
                    for answer in self.answers(json.loads(message.value() or b"null")):
                        producer.produce(self._results, answer, message.key())
                while producer.flush(1):
                    if stop.is_set():
                        return
                consumer.commit(asynchronous=False)
        finally:
            consumer.close()

    def answers(self, request: dict[str, Any]) -> list[bytes]:
        """The records to answer a request with."""
        self.tally.sent[request["interactionId"]] += 1
        answer = {
            "tenantId": request["tenantId"],
            "correlationId": request["correlationId"],
            "resumeToken": request["resumeToken"],
            "idempotencyKey": f"payment-{request['requestPayload']['id']}",
            "actor": "payment-provider",
            "responsePayload": decide(request["requestPayload"]),
        }
        return [json.dumps(answer).encode()]


def _over_kafka(options: argparse.Namespace) -> None:
    stop = threading.Event()

    def leave(_number: int, _frame: object) -> None:
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, leave)
    provider = KafkaProvider(options.kafka, batch=options.batch, per_second=options.per_second)
    provider.run(stop)
    print(json.dumps(provider.tally.as_json()), flush=True)


# --- over HTTP ------------------------------------------------------------------------------------


def _check(response: httpx.Response) -> None:
    """Tell a service that cannot answer now from one that will never take this request."""
    if response.is_server_error:
        raise Unheard
    if response.status_code != httpx.codes.OK:
        raise SystemExit(f"provider: {response.url} answered {response.status_code}")


def _completion(interaction: dict[str, Any]) -> dict[str, Any]:
    return {
        "interactionId": interaction["interactionId"],
        "idempotencyKey": f"payment-{interaction['requestPayload']['id']}",
        "actor": "payment-provider",
        "responsePayload": decide(interaction["requestPayload"]),
    }


def _receipt(status: object, answer: dict[str, Any]) -> str | None:
    """Read what became of an answer; None when it is to be sent again."""
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        return None
    return str(answer.get("receipt") or answer.get("type", "unknown").rsplit("/", 1)[-1])


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    if seconds:
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            return


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with httpx.AsyncClient(base_url=options.url, timeout=30) as client:
        provider = Provider(
            client,
            group=options.group,
            batch=1 if options.single else options.batch,
            per_second=options.per_second,
        )
        await provider.run(stop)
    print(json.dumps(provider.tally.as_json()), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="provider", description="A payment provider.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the service is")
    parser.add_argument("--kafka", metavar="SERVERS", help="brokers; in place of --url")
    parser.add_argument("--group", default="payment-provider", help="whose payments to answer")
    parser.add_argument("--batch", type=int, default=100, help="answers sent at once")
    parser.add_argument("--single", action="store_true", help="send each answer by itself")
    parser.add_argument(
        "--per-second", type=float, default=0, help="payments decided a second; 0: no pause"
    )
    return parser.parse_args()


if __name__ == "__main__":
    given = _options()
    _over_kafka(given) if given.kafka else asyncio.run(_main(given))
