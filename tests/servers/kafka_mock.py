"""librdkafka's mock cluster: brokers inside of this process that fail as a test asks.

It speaks Kafka's protocol over loopback and keeps what it is sent in memory. A client of librdkafka
has one inside when it is made with `test.mock.num.brokers`; Python's client does not show it, so the
library is asked directly.
"""

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import confluent_kafka

#: Numbers of the protocol's requests and errors (Kafka's protocol guide).
PRODUCE, FETCH, OFFSET_COMMIT, JOIN_GROUP = 0, 1, 8, 11
NOT_LEADER, REQUEST_TIMED_OUT, ILLEGAL_GENERATION = 6, 7, 22
_PRODUCER = 0


def _library() -> Any:
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library = ctypes.CDLL(str(next(folder.glob("librdkafka*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_handle_mock_cluster"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockCluster:
    """A cluster of so many brokers, until the block ends."""

    is_real = False

    def __init__(self, brokers: int = 1) -> None:
        self._library = _library()
        told = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        for name, value in (("test.mock.num.brokers", str(brokers)), ("log_level", "0")):
            self._library.rd_kafka_conf_set(conf, name.encode(), value.encode(), told, 512)
        made = self._library.rd_kafka_new(_PRODUCER, conf, told, 512)
        assert made, told.value
        self._client = ctypes.c_void_p(made)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_handle_mock_cluster(self._client))

    @property
    def servers(self) -> str:
        """What a client takes as `bootstrap.servers`."""
        found: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return found.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)

    def fail(self, request: int, *errors: int) -> None:
        """Answer the next requests of a kind with these errors, one each."""
        listed = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), listed
        )

    def set_down(self, broker: int = 1) -> None:
        """Let a broker hang up and take no connection."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, broker)

    def set_up(self, broker: int = 1) -> None:
        """Let it answer again."""
        self._library.rd_kafka_mock_broker_set_up(self._cluster, broker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._library.rd_kafka_destroy(self._client)
