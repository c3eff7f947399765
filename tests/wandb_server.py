"""As much of W&B's server as one run needs, on this machine, and its failures."""

import http.server
import json
import threading
from contextlib import suppress


class Server:
    """Answers a run like W&B's server, until `answer` is set to an HTTP status or to `nothing`."""

    def __init__(self, answer="well"):
        self.answer, self.history = answer, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if outer.answer == "nothing":
                    threading.Event().wait(60)
                status = 200 if outer.answer == "well" else outer.answer
                refusal = {"errors": [{"message": "denied"}]}
                text = json.dumps(outer.reply(self.path, body) if status == 200 else refusal).encode()
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

    def reply(self, path, body):
        if path.endswith("/file_stream"):
            lines = json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.history += [json.loads(line) for line in lines]
        if path != "/graphql":
            return {}
        query, variables = (json.loads(body)[key] for key in ("query", "variables"))
        if "UpsertBucket" in query:
            project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "lab"}}
            bucket = {"id": "b", "name": variables["name"], "displayName": "r", "config": "{}"}
            return {"data": {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/{name}"} for name in variables["files"]]
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        return {"data": {}}
