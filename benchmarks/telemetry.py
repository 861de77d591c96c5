"""What telemetry costs: W1 (park and resume) with it off and on, in turns.

    python -m benchmarks.telemetry -n 5000 --runs 5

Each run is a process of its own over a fresh SQLite file in the working directory. Spans go over
OTLP/HTTP to a collector in this process, which takes whatever comes. The variants take turns, so
that whatever else the machine does meets all of them; a line is the median of the runs, with the
ratio to the first line of the medians.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bide.bench.children import in_child
from bide.bench.measure import Driven, Job, drive
from bide.bench.workloads import Load

VARIANTS: Mapping[str, Mapping[str, str]] = {
    "off": {},
    "metrics": {"BIDE_METRICS": "true"},
    "traces 1 %": {"BIDE_TRACES": "true", "BIDE_TRACES_SHARE": "0.01"},
    "both, 1 %": {"BIDE_METRICS": "true", "BIDE_TRACES": "true", "BIDE_TRACES_SHARE": "0.01"},
    "traces 100 %": {"BIDE_TRACES": "true", "BIDE_TRACES_SHARE": "1"},
}


@contextmanager
def collector() -> Iterator[str]:
    """Something that takes spans and forgets them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def measured(n: int, settings: Mapping[str, str]) -> Driven:
    """One run in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix=".bide-bench-", dir=Path.cwd()))
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        job = Job("park-resume", Load(n, 100, 2_000, 0.0))
        return in_child(drive, f"sqlite:///{folder / 'bide.db'}", job)
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=5_000, help="executions a run")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="some variants")
    parser.add_argument("--runs", type=int, default=5, help="runs of each variant")
    arguments = parser.parse_args()
    variants = {name: VARIANTS[name] for name in ("off", *arguments.only)}
    taken: dict[str, list[Driven]] = {name: [] for name in variants}
    with collector() as url:
        for _ in range(arguments.runs):
            for name, settings in variants.items():
                environment = {**settings, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
                taken[name].append(measured(arguments.n, environment))
    rates = {
        name: statistics.median(arguments.n / each.seconds for each in runs)
        for name, runs in taken.items()
    }
    cpu = {
        name: statistics.median(each.cpu_seconds / arguments.n * 1e6 for each in runs)
        for name, runs in taken.items()
    }
    print(f"{'':14} {'a second':>9} {'':>6} {'cpu us':>8} {'':>6}")
    for name in variants:
        print(
            f"{name:14} {rates[name]:9,.0f} {rates[name] / rates['off']:6.2f}"
            f" {cpu[name]:8.0f} {cpu[name] / cpu['off']:6.2f}"
        )


if __name__ == "__main__":
    main()
