"""An HTTP server on this machine for a test's client, and its failures."""

import http.server
import json
import threading
from abc import ABC, abstractmethod
from contextlib import suppress


class Loopback(ABC):
    """Answers every request with what the subclass's `respond` says, after `delay` seconds; at `url`, until `close`."""

    def __init__(self):
        outer, self.stopped, self.delay = self, threading.Event(), 0.0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.stopped.wait(outer.delay)
                status, reply = outer.respond(self.path, body)
                if status == "nothing":
                    outer.stopped.wait(60)
                    status = 500
                content = reply if status == 200 else {"errors": [{"message": "denied"}]}
                text = reply if isinstance(reply, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST

            def handle(self):
                with suppress(OSError):  # the client has gone
                    super().handle()

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @abstractmethod
    def respond(self, path: str, body: bytes):
        """HTTP status, or "nothing" for no answer at all, and the answer: bytes, or with status 200 a JSON value."""

    def close(self):
        self.stopped.set()
        self.http.shutdown()
        self.http.server_close()
