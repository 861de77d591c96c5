"""A real Apache Kafka broker in KRaft mode, as a child process of the tests.

The jars come once from Maven into a cache outside the checkout. One JVM is broker and controller at
once, with its data in a folder of its own; it can be stopped, killed and started again on the same
ports and the same data, as a broker in the field is.
"""

import argparse
import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Self

POM = Path(__file__).with_name("kafka-pom.xml")
_READY_WITHIN_S = 90
_STOPPED_WITHIN_S = 60


class BrokerMissing(RuntimeError):
    """Java 17+ or Maven is not there, or the jars cannot be had."""


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "bide-tests"


def _java_major() -> int:
    java = shutil.which("java")
    if java is None:
        return 0
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = said.partition('"')[2].partition('"')[0]
    return int(version.split(".")[0]) if version[:1].isdigit() else 0


def jars() -> Path:
    """The folder with the broker's jars, filled at the first call.

    Raises:
        BrokerMissing: says in one line what is not there.
    """
    if _java_major() < 17:
        raise BrokerMissing("a Kafka broker needs Java 17 or newer, and there is none on the PATH")
    named = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    folder = _cache() / f"kafka-{named}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerMissing("a Kafka broker needs Maven to fetch its jars, and there is none")
    # Filled beside it and renamed, so that a fetch that was cut short leaves nothing half there.
    filling = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
    fetch = [
        maven, "--quiet", "--batch-mode", "--strict-checksums", "--file", str(POM),
        "dependency:copy-dependencies", f"-DoutputDirectory={filling}", "-DincludeScope=runtime",
    ]  # fmt: skip
    ended = subprocess.run(fetch, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        shutil.rmtree(filling, ignore_errors=True)
        raise BrokerMissing(f"Maven could not fetch Kafka: {ended.stdout.strip()[-500:]}")
    try:
        filling.rename(folder)
    except OSError:  # Another process was first; its jars are as good.
        shutil.rmtree(filling, ignore_errors=True)
    return folder


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class KafkaBroker:
    """One broker on loopback; `start` and `stop` as often as a test likes."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        properties: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._controller = free_port()
        self._more = properties or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "broker.log"

    @property
    def servers(self) -> str:
        """What a client takes as `bootstrap.servers`."""
        return f"127.0.0.1:{self.port}"

    def also_listen(self, address: str, properties: dict[str, str]) -> None:
        """Open one more listener, named after its protocol; before the first start."""
        protocol = address.partition("://")[0]
        self._more = {
            "listeners": f"PLAINTEXT://{self.servers},CONTROLLER://127.0.0.1:{self._controller},"
            + address,
            "advertised.listeners": f"PLAINTEXT://{self.servers},{address}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
            f"{protocol}:{protocol}",
            **self._more,
            **properties,
        }

    def start(self) -> Self:
        """Start it and wait until it takes connections.

        Raises:
            BrokerMissing: Java, Maven or the jars are not there.
            RuntimeError: it ended instead; the message holds the end of its log.
        """
        classes = f"{jars()}/*"
        settings = self.folder / "server.properties"
        if not settings.exists():
            self._format(settings, classes)
        command = [
            "java", "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData", "-cp", classes, "kafka.Kafka", str(settings),
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._await_ready(self._process)
        return self

    def stop(self) -> None:
        """Let it shut down in order; does nothing when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        """Stop or kill it, and start it on the same data."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _format(self, settings: Path, classes: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": f"PLAINTEXT://{self.servers},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"PLAINTEXT://{self.servers}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            # One broker holds every copy that there is.
            "default.replication.factor": "1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # A group of one need not wait for others; a topic that nobody made is a mistake.
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            # A broker that was killed is let in again once its old session is over.
            "broker.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "200",
            **self._more,
        }
        # The first byte is fixed, since an id that begins with a hyphen is taken for an option.
        named = base64.urlsafe_b64encode(b"b" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        settings.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        command = ["java", "-cp", classes, "kafka.tools.StorageTool", "format"]
        ended = subprocess.run(
            [*command, "-t", named, "-c", str(settings)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode != 0:
            settings.unlink()
            raise RuntimeError(f"Kafka could not format its folder: {ended.stderr[-500:]}")

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < until:
            if process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        tail = self._log.read_text(errors="replace")[-1000:]
        self.kill()
        raise RuntimeError(f"the Kafka broker did not come up: {tail}")


def main() -> None:
    """Run a broker until Ctrl-C, and print how it is reached: `make kafka`."""
    parser = argparse.ArgumentParser(prog="kafka", description="A Kafka broker for development.")
    parser.add_argument("--port", type=int, default=9092, help="where it listens, on loopback")
    parser.add_argument("--folder", type=Path, help="where its data stays; else it goes with it")
    options = parser.parse_args()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    # Who tries things out has not made the topics first.
    properties = {"auto.create.topics.enable": "true", "num.partitions": "6"}
    with tempfile.TemporaryDirectory(prefix="bide-kafka-") as passing:
        folder = options.folder or Path(passing)
        try:
            with KafkaBroker(folder, port=options.port, properties=properties) as broker:
                print(f"export BIDE_KAFKA_SERVERS={broker.servers}", flush=True)
                stop.wait()
        except (BrokerMissing, RuntimeError) as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
