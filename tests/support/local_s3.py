"""An S3 server on 127.0.0.1, in a process of its own: moto's, which counts what it is asked and fails on demand.

    with LocalS3() as store:
        store.environment            what a client needs, for `os.environ`
        store.counts()               requests by method since the last look
        store.fail("PUT", "task.json", times=2, status=503)

A status of 0 drops the connection without an answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from typing import Any, Self

BUCKET = "bench"
_CONTROL = "/-control/"


class LocalS3:
    """A server with one empty bucket."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.address = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        request = urllib.request.Request(f"{self.address}/{BUCKET}", method="PUT")
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(request).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def counts(self) -> Counter[str]:
        """Requests since the last look, by method; those that list are `LIST`."""
        return Counter(self._control("counts"))

    def fail(self, method: str, part: str, *, times: int, status: int) -> None:
        """Answer the next requests of a method whose path holds `part` with an error."""
        self._control("fail", method=method, part=part, times=str(times), status=str(status))

    def mend(self) -> None:
        """Fail no more."""
        self._control("mend")

    def _control(self, what: str, **arguments: str) -> Any:
        url = f"{self.address}{_CONTROL}{what}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)


class _Watched:
    """The server's application behind a counter and the faults that were asked for."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.counts: Counter[str] = Counter()
        self.faults: list[dict[str, str]] = []

    def __call__(self, environ: Any, start: Any) -> Any:
        method, path, query = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        if path.startswith(_CONTROL):
            return self.control(path.removeprefix(_CONTROL), dict(urllib.parse.parse_qsl(query)), start)
        self.counts["LIST" if "list-type" in query else method] += 1
        for fault in self.faults:
            if fault["method"] == method and fault["part"] in path and int(fault["times"]) > 0:
                fault["times"] = str(int(fault["times"]) - 1)
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                if fault["status"] == "0":
                    raise ConnectionAbortedError
                start(f"{fault['status']} Fault", [("Content-Length", "0")])
                return [b""]
        return self.application(environ, start)

    def control(self, what: str, arguments: dict[str, str], start: Any) -> list[bytes]:
        """Do what the other side of `LocalS3` asks for."""
        said: object = None
        if what == "counts":
            said, self.counts = self.counts, Counter()
        elif what == "fail":
            self.faults.append(arguments)
        else:
            self.faults.clear()
        body = json.dumps(said).encode()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]


def _serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections, as real stores do

        def log(self, type: str, message: str, *arguments: object) -> None:
            pass

        def connection_dropped(self, error: BaseException, environ: object = None) -> None:
            self.close_connection = True

    application = _Watched(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
