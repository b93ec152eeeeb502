"""A hub in miniature: what huggingface_hub asks of one, with ways to break it."""

import hashlib
import http.server
import threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.ThreadingHTTPServer):
    """Serves `files[name, file]`; `requests` counts what was asked of it.

    `promised` replaces the SHA-256 that a file is announced with; `cut` sends only so many bytes.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.promised, self.cut, self.requests = {}, {}, None, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        repository, _, file = self.path.strip("/").partition("/resolve/main/")
        if not file:
            repository, _, file = self.path.strip("/").partition(f"/resolve/{COMMIT}/")
        self.server.requests.append((self.command, file))
        content = self.server.files.get((repository, file))
        if content is None:
            known = any(name == repository for name, _ in self.server.files)
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        etag = self.server.promised.get(file) or hashlib.sha256(content).hexdigest()
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content[: self.server.cut])

    def log_message(self, *_):
        pass
