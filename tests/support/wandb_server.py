"""The part of W&B's server that ``wandb sync`` needs to upload a run; it notes the history that it receives.

    python wandb_server.py FILE

Prints its port. FILE gets a line of JSON for every row of the history, and one with what the run is called.
"""

from __future__ import annotations

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NOTES = Path(sys.argv[1])


def note(line: str) -> None:
    with NOTES.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


class Handler(BaseHTTPRequestHandler):
    """GraphQL as far as it is asked for, the stream of a run's files, and uploads that nobody keeps."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/file_stream"):
            for line in json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", []):
                note(line)
            self._reply({"exitcode": None, "limits": {}})
        elif self.path == "/graphql":
            asked = json.loads(body)
            self._reply({"data": self._data(asked.get("query", ""), asked.get("variables") or {})})
        else:
            self._reply({})

    do_PUT = do_POST

    def do_GET(self) -> None:
        self._reply({})

    def _data(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertBucket" in query:
            if variables.get("displayName"):
                note(json.dumps({"name": variables["displayName"], "tags": variables["tags"]}))
            entity = {"id": "e", "name": "entity"}
            project = {"id": "p", "name": variables.get("project") or "project", "entity": entity}
            bucket = {"id": "b", "name": variables.get("name"), "historyLineCount": 0, "config": "{}"}
            return {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}
        if "createRunFiles" in query:
            host, port = self.server.server_address[:2]
            url = f"http://{host!s}:{port}/upload"
            files = [{"name": name, "uploadUrl": url} for name in variables.get("files", [])]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        viewer = {"id": "u", "entity": "entity", "username": "user", "flags": "{}", "teams": {"edges": []}}
        return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {"max_cli_version": "9.9.9"}, "features": []}}

    def _body(self) -> bytes:
        data = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _reply(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None: ...


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
