"""A server on loopback that answers as much of wandb's protocol as a run needs.

The protocol is private to wandb: written against 0.31, and the place to look when a newer wandb
makes the tests of online runs fail.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer(ThreadingHTTPServer):
    """Keeps what runs send; can refuse the key, or be gone as a network that is lost.

    Attributes:
        stream: Bodies of ``file_stream``, in their order.
        files: Name and content of uploaded files.
        operations: Name and variables of GraphQL requests.
        key_is_valid: Set it to False and every request is answered with 401.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stream: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.key_is_valid = True
        self.lost = False
        self.connections: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """Return the variables that send a process's runs here."""
        return {
            "WANDB_BASE_URL": f"http://127.0.0.1:{self.server_port}",
            "WANDB_API_KEY": "a" * 40,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_DISABLE_GIT": "true",
            "WANDB__DISABLE_STATS": "true",
        }

    def history(self) -> list[dict[str, Any]]:
        """Return the rows that have arrived."""
        lines = (
            line
            for body in self.stream
            for line in (body.get("files") or {}).get("wandb-history.jsonl", {}).get("content", [])
        )
        return [json.loads(line) for line in lines]

    def lose(self) -> None:
        """Cut every connection, and refuse new ones from now on."""
        self.lost = True
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait_for_rows(self, count: int, seconds: float = 60) -> None:
        """Wait until so many rows have arrived."""
        deadline = time.monotonic() + seconds
        while len(self.history()) < count:
            assert time.monotonic() < deadline, f"{len(self.history())} rows after {seconds} s"
            time.sleep(0.05)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        # wandb drops idle connections, and the server those of a lost network
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def do_GET(self) -> None:
        self._send({})

    def do_PUT(self) -> None:
        self.server.files[self.path.removeprefix("/up/")] = self._body()
        self._send({})

    def do_POST(self) -> None:
        body = self._body()
        if not self.server.key_is_valid:
            self._send({"errors": [{"message": "permission denied"}]}, status=401)
        elif self.path == "/graphql":
            request = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            operation = request.get("operationName") or (found.group(1) if found else "?")
            variables = request.get("variables") or {}
            self.server.operations.append((operation, variables))
            self._send({"data": self._answer(operation, variables)})
        elif self.path.endswith("/file_stream"):
            self.server.stream.append(json.loads(body))
            self._send({"exitcode": None, "limits": {}})
        else:
            self._send({})

    def _body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _send(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        entity = {"id": "e", "name": given.get("entity") or "me"}
        match operation.lower():
            case "viewer":
                viewer = {"id": "u", "entity": "me", "username": "me", "email": "me@example.org"}
                viewer |= {"flags": "{}"}
                return {
                    "viewer": {**viewer, "teams": {"edges": []}, "admin": False, "featureFlags": {}}
                }
            case "upsertbucket":
                bucket = {
                    "id": "b",
                    "name": given.get("name"),
                    "displayName": given.get("displayName") or "a run",
                    "description": None,
                    "config": None,
                    "sweepName": None,
                    "historyLineCount": 0,
                    "project": {"id": "p", "name": given.get("project"), "entity": entity},
                }
                return {"upsertBucket": {"bucket": bucket, "inserted": True}}
            case "serverfeaturesquery":
                return {"serverInfo": {"features": []}}
            case "createrunfiles":
                base = f"http://127.0.0.1:{self.server.server_port}/up/"
                files = [{"name": f, "uploadUrl": base + f} for f in given.get("files", [])]
                return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
            case "artifacttype":
                return {"project": None}
            case "createartifact":
                sequence = {"id": "s", "latestArtifact": None}
                made = {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}
                return {"createArtifact": {"artifact": made}}
            case "clientidmapping":
                return {"clientIDMapping": {"serverID": "a"}}
            case "useartifact":
                return {"useArtifact": {"artifact": {"id": "a"}}}
        return {}
