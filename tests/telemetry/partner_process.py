"""A partner in a process of its own, traced by its own SDK: it knows nothing of Bide but the wire.

It answers 202 at once, and calls back from a thread, handing on the trace context that it got.
"""

import json
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("partner")


def answer(asked: dict[str, object], headers: dict[str, str]) -> None:
    with tracer.start_as_current_span("handle check", propagate.extract(headers)):
        sent = {"content-type": "application/json"}
        propagate.inject(sent, trace.set_span_in_context(trace.get_current_span()))
        callback = asked["callback"]
        assert isinstance(callback, dict)
        body = {"interactionId": asked["interactionId"], "responsePayload": "fine"}
        request = urllib.request.Request(
            callback["completionUrl"], json.dumps(body).encode(), sent, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert reply.status == 200


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()
        threading.Thread(target=answer, args=(asked, headers)).start()

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
