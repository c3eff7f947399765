"""As much of W&B's server as one run needs, on this machine, and its failures."""

import json

from helpers.loopback import Loopback


class Server(Loopback):
    """Answers a run like W&B's server, until `answer` is set to an HTTP status or to `nothing`.

    Attributes:
        history: the rows of metrics that came.
        uploads: (path, content) of the files that came; those of artifacts begin with artifact/.
        runs: the variables of each question that made or changed a run.
        summary: the last figures of the whole run that came; {} before any did.
        exit_code: of the run, once it has ended.
    """

    def __init__(self, answer="well"):
        self.answer, self.history, self.uploads, self.runs = answer, [], [], []
        self.summary, self.exit_code = {}, None
        super().__init__()

    def respond(self, path, body):
        return (200, self.reply(path, body)) if self.answer == "well" else (self.answer, None)

    def reply(self, path, body):
        if path.endswith("/file_stream"):
            stream = json.loads(body)
            files = stream.get("files") or {}
            self.history += [json.loads(line) for line in files.get("wandb-history.jsonl", {}).get("content", [])]
            for line in files.get("wandb-summary.json", {}).get("content", []):
                self.summary = json.loads(line)
            self.exit_code = stream.get("exitcode", self.exit_code)
        elif path != "/graphql":
            self.uploads.append((path.removeprefix("/"), body))
        if path != "/graphql":
            return {}
        asked = json.loads(body)
        query, variables = asked["query"], asked.get("variables") or {}
        if "UpsertBucket" in query:
            self.runs.append(variables)
            project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "lab"}}
            bucket = {"id": "b", "name": variables["name"], "displayName": "r", "config": "{}"}
            return {"data": {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}}
        if "query RunResumeStatus" in query:
            known = any(run["name"] == variables["name"] for run in self.runs)
            model = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "lab"}}
            return {"data": {"model": model | {"bucket": self.bucket(variables["name"]) if known else None}}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/{name}"} for name in variables["files"]]
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        if "query Viewer" in query:
            user = {"id": "u", "entity": "lab", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
            return {"data": {"viewer": user}}
        return {"data": self.artifact(query, variables)}

    def bucket(self, name):
        """What a run that goes on asks for: how far it was."""
        last = max(self.history, key=lambda row: row["_step"], default={})
        texts = {"summaryMetrics": json.dumps(last), "historyTail": json.dumps([json.dumps(last)]), "eventsTail": "[]"}
        counts = {"logLineCount": 0, "historyLineCount": len(self.history), "eventsLineCount": 0}
        described = {"displayName": "r", "config": "{}", "tags": [], "notes": "", "wandbConfig": '{"t": 1}'}
        return {"id": "b", "name": name, **texts, **counts, **described}

    def artifact(self, query, variables):
        """What artifacts need: tables are such, with the images in them."""
        if "query ArtifactType" in query:
            return {"project": {"artifact": None}}
        settings = variables.get("input", {})
        if "mutation CreateArtifactFiles" in query:
            nodes = [
                {
                    "storagePath": each["name"],
                    "uploadUrl": f"{self.url}/artifact/{each['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": each["artifactID"]},
                }
                for each in settings["artifactFiles"]
            ]
            return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        if "mutation CreateArtifactManifest" in query:
            file = {"id": "f", "uploadUrl": f"{self.url}/manifest", "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
        if "mutation CreateArtifact" in query:
            created = {
                "id": settings["clientID"],
                "state": "PENDING",
                "artifactSequence": {"id": "s", "latestArtifact": None},
            }
            return {"createArtifact": {"artifact": created}}
        if "mutation CommitArtifact" in query:
            return {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}}
        return {}
