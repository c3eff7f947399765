"""A web server on this machine whose answers a test decides, for downloads that go wrong."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves `content` at any path. The attributes say what goes wrong; `requests` are (method, path, headers)."""

    def __init__(self, content: bytes):
        self.content = content
        self.requests: list[tuple[str, str, dict]] = []
        self.ranges = True  # whether Range is understood
        self.cuts: list[int] = []  # of the next answers: bytes after which the connection ends
        self.statuses: list[int] = []  # of the next answers, in place of the content
        self.redirect = ""
        self.stall = 0.0  # seconds before the second half
        self.headers: dict[str, str] = {}
        self.address = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append((handler.command, handler.path, dict(handler.headers)))
        if self.redirect:
            handler.send_response(302)
            handler.send_header("Location", self.redirect)
            handler.end_headers()
            return
        status = self.statuses.pop(0) if self.statuses else 200
        if status >= 400:
            handler.send_response(status)
            for key, value in self.headers.items():
                handler.send_header(key, value)
            handler.end_headers()
            return
        start = 0
        asked = handler.headers.get("Range", "")
        if self.ranges and asked:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= len(self.content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(self.content)}")
                handler.end_headers()
                return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.send_header("Content-Length", str(len(body)))
        for key, value in self.headers.items():
            handler.send_header(key, value)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        half = self.cuts.pop(0) if self.cuts else len(body) // 2
        cut = half != len(body) // 2
        handler.wfile.write(body[:half])
        if self.stall:
            handler.wfile.flush()
            time.sleep(self.stall)
        if not cut:
            handler.wfile.write(body[half:])


@contextmanager
def serve(content: bytes):
    server = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.close_connection = True
            server.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        http.handle_error = lambda *_: None  # a client that hangs up is what some tests want
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        server.address = f"http://127.0.0.1:{http.server_port}"
        try:
            yield server
        finally:
            http.shutdown()
