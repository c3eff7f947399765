"""As much of W&B's public API as reading a project and publishing in it need, on this machine, and its failures."""

import json
import subprocess
import sys

from helpers.loopback import Loopback
from helpers.wandb_client import KEY, environment

# What a process of its own does, for W&B reads the environment once a process: it prints a line of JSON with what was
# said and what came out, or the sentence that it ended with.
SCRIPT = """
import dataclasses, json, sys, time
from zoo.errors import UserError
messages = []
began = time.monotonic()
try:
    {body}
    outcome = dict(result=result)
except UserError as error:
    outcome = dict(error=str(error), chained=error.__cause__ is not None)
print(json.dumps(dict(outcome, messages=messages, seconds=time.monotonic() - began), default=dataclasses.asdict))
"""
READ = """
from zoo.comparison.wandb.runs import read_project
result = read_project("lab/zoo", messages.append)
"""
TIMEOUT = 4  # seconds, for servers that do not answer


def call(folder, server, body, timeout=10, **variables):
    """What `body`, which sets `result` and may call `messages.append`, tells; nothing else is printed, and no key kept.

    Args:
        folder: empty; home, temporary files and working directory of the process.
        server: its address.
        timeout: seconds that the client waits for an answer.
    """
    own = {"TMPDIR": str(folder), "WANDB_BASE_URL": server, "WANDB_API_KEY": KEY, "WANDB_HTTP_TIMEOUT": str(timeout)}
    env = {name: value for name, value in environment(folder, **own | variables).items() if value is not None}
    command = [sys.executable, "-c", SCRIPT.format(body=body.strip().replace("\n", "\n    "))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout
    return json.loads(done.stdout)


def run_node(key, name, state="finished", config=None, summary=None, history=()):
    """A run as W&B's GraphQL tells it; `history` has a mapping a row, `config` and `summary` are plain."""
    return {
        "id": f"Run:{key}",
        "projectId": "7",
        "name": key,
        "displayName": name,
        "state": state,
        "config": json.dumps({each: {"value": value, "desc": None} for each, value in (config or {}).items()}),
        "summaryMetrics": json.dumps(summary or {}),
        "systemMetrics": "{}",
        "historyLineCount": len(history),
        "historyKeys": {},
        "group": "sweep",
        "tags": [],
        "user": {"name": "Me", "username": "me"},
        "rows": [json.dumps(row) for row in history],
    }


class Server(Loopback):
    """W&B's server with one project, lab/zoo.

    Attributes:
        answers: operation -> HTTP status, or "nothing" for no answer at all; "*" is every operation, "file" a download,
            as is the name of one.
        asked: the operations, in order.
        saved: the variables of every view that was saved.
        entity: of the API key.
        per_page: runs in an answer at most.
    """

    def __init__(self, runs=(), files=None, answers=None):
        self.runs, self.files, self.answers = list(runs), files or {}, dict(answers or {})
        self.asked, self.saved, self.entity, self.per_page, self.rows_given = [], [], "lab", 2, None
        super().__init__()

    def respond(self, path, body):
        operation, reply = self.answer(path, body)
        return self.answers.get(operation, self.answers.get("*", 200)), reply

    def answer(self, path, body):
        """Operation and reply."""
        if path != "/graphql":
            self.asked.append("file")
            name = path.removeprefix("/files/")
            return name if name in self.answers else "file", self.files.get(name)
        asked = json.loads(body)
        operation = asked["query"].replace("#graphql", "").split()[1].partition("(")[0]
        self.asked.append(operation)
        return operation, {"data": getattr(self, f"on_{operation}")(asked.get("variables") or {})}

    def on_Viewer(self, variables):
        return {"viewer": {"id": "u", "entity": self.entity, "username": "me", "flags": "{}", "teams": {"edges": []}}}

    on_GetDefaultEntity = on_Viewer

    def _project(self, variables, entity="entity", project="project", **fields):
        known = (variables[entity], variables[project]) == ("lab", "zoo")
        return {"project": {"id": "p", "internalId": "7", **fields} if known else None}

    def _run(self, variables, **fields):
        return self._project(variables, run={"projectId": "7", **fields})

    def on_Runs(self, variables):
        start = int(variables["cursor"] or 0)
        stop = start + min(variables["perPage"], self.per_page)
        hidden = {"rows"}
        nodes = [{key: run[key] for key in run.keys() - hidden} for run in self.runs]
        edges = [{"node": node, "cursor": str(index + 1)} for index, node in enumerate(nodes)][start:stop]
        page = {"endCursor": str(stop), "hasNextPage": stop < len(nodes)}
        return self._project(variables, runCount=len(nodes), runs={"edges": edges, "pageInfo": page})

    def on_RunFullHistory(self, variables):
        (rows,) = [run["rows"] for run in self.runs if run["name"] == variables["name"]]
        return self._run(variables, history=rows[: min(variables["samples"], self.rows_given or len(rows))])

    def on_RunFiles(self, variables):
        names = [name for name in variables["fileNames"] if name in self.files]
        nodes = [{"id": name, "name": name, "url": f"{self.url}/files/{name}", "sizeBytes": "0"} for name in names]
        edges = [{"node": node, "cursor": "1"} for node in nodes]
        page = {"endCursor": "1", "hasNextPage": False}
        return self._run(variables, fileCount=len(nodes), files={"edges": edges, "pageInfo": page})

    def on_ProjectInternalId(self, variables):
        return self._project(variables, entity="entityName", project="projectName")

    def on_GetProjects(self, variables):
        node = {"__typename": "Project", "id": "p", "name": "zoo", "entityName": "lab", "isBenchmark": False}
        node |= {"createdAt": "2025-01-01T00:00:00", "user": None}
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"edges": [{"node": node}], "pageInfo": page}}

    def on_UpsertView2(self, variables):
        self.saved.append(variables)
        return {"upsertView": {"view": {"id": f"view{len(self.saved)}", "name": variables["name"]}, "inserted": True}}

    def on_upsertView(self, variables):
        self.saved.append(variables)
        project = {"id": "p", "name": variables["projectName"], "entityName": variables["entityName"]}
        view = {
            "id": f"view{len(self.saved)}",
            "type": variables["type"],
            "name": variables["name"],
            "project": project,
        }
        view |= {key: variables[key] for key in ("displayName", "description", "spec")}
        return {"upsertView": {"view": view | {"updatedAt": "2025-01-01T00:00:00"}, "inserted": True}}
