"""Google Cloud Storage in miniature: the part of its JSON API that gcsfs, tensorstore and Google's
own client ask for, with ways to break it. Objects are held in memory."""

import base64
import dataclasses
import hashlib
import http.server
import itertools
import json
import re
import sys
import threading
import time
import urllib.parse

_RESUMED = 308  # of an upload that is not complete


@dataclasses.dataclass(frozen=True)
class Object:
    content: bytes
    generation: int  # a new one at each write
    created: float


class Store(http.server.ThreadingHTTPServer):
    """Serves `objects[bucket][name]`.

    `denied` names buckets that may be seen but not touched; `served` replaces an object's content,
    not its checksum; `requests` lists what was asked: (method, object, whether for its content).
    `on_write(name)` is called before an object is there.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects, self.uploads, self.requests = {}, {}, []
        self.denied, self.served, self.on_write = set(), {}, lambda name: None
        self.lock, self._numbers = threading.Lock(), itertools.count(time.time_ns() // 1000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What sends the three clients here."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,  # gcsfs and Google's own
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # tensorstore's
            "GOOGLE_CLOUD_PROJECT": "none",
            "NO_GCE_CHECK": "true",
            # Asks for a bucket's kind by gRPC; without it all are plain ones, as here.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }

    def put(self, bucket: str, name: str, content: bytes) -> Object:
        self.on_write(name)
        with self.lock:
            made = Object(content, next(self._numbers), time.time())
            self.objects.setdefault(bucket, {})[name] = made
            return made

    def read(self, bucket: str) -> dict[str, bytes]:
        """Everything in a bucket."""
        with self.lock:
            return {name: found.content for name, found in self.objects[bucket].items()}

    def handle_error(self, request, client_address):
        """Clients that are killed are what tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        bucket, name = self._place()
        if self._refused(bucket, name):
            return
        if name is None:
            known = {"kind": "storage#bucket", "name": bucket, "id": bucket, "location": "X"}
            self._answer(200, known)
        elif not name:
            self._answer(200, self._list(bucket))
        else:
            self._get(bucket, name)

    def do_DELETE(self):
        bucket, name = self._place()
        if self._refused(bucket, name) or self._is_missing(bucket, name):
            return
        del self.server.objects[bucket][name]
        self._answer(204)

    def do_POST(self):
        bucket, name = self._place()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._refused(bucket, name):
            return
        if "upload_id" in self.query:
            self._resume(body)
        elif self.path.startswith("/upload/"):
            self._upload(bucket, body)
        else:
            self._move(bucket, name)

    do_PUT = do_POST

    def _place(self) -> tuple[str, str | None]:
        """(bucket, object); of a list the object is '', of the bucket itself None."""
        url = urllib.parse.urlsplit(self.path)
        self.query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        found = re.fullmatch(r"(?:/\w+)?/storage/v1/b(?:/([^/]+)(?:/o(?:/(.*))?)?)?/?", url.path)
        bucket, name = found[1] or "", found[2]
        if name is None and re.search(r"/b/[^/]+/o/?$", url.path):
            name = ""
        name = name if name is None else urllib.parse.unquote(name)
        self.server.requests.append((self.command, name, self.query.get("alt") == "media"))
        return bucket, name

    def _refused(self, bucket: str, name: str | None) -> bool:
        denied = bucket in self.server.denied
        if denied or bucket not in self.server.objects:
            self._error(403 if denied else 404, "not for you" if denied else "no such bucket")
        return denied or bucket not in self.server.objects

    def _is_missing(self, bucket: str, name: str) -> bool:
        """Answers where the object is not there, or not of the generation that is asked for."""
        found = self.server.objects[bucket].get(name)
        wanted = self.query.get("ifGenerationMatch")
        if found is None and wanted in (None, "0"):
            self._error(404, f"No such object: {name}")
            return True
        if wanted is not None and int(wanted) != (found.generation if found else 0):
            self._error(412, "conditionNotMet")
            return True
        return False

    def _get(self, bucket: str, name: str) -> None:
        if self._is_missing(bucket, name):
            return
        found = self.server.objects[bucket][name]
        if self.query.get("alt") != "media":
            self._answer(200, _described(bucket, name, found))
            return
        if self.query.get("ifGenerationNotMatch") == str(found.generation):
            self._answer(304)
            return
        content = self.server.served.get(name, found.content)
        headers = {"x-goog-generation": str(found.generation), "x-goog-hash": _hash(found)}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            self._answer(200, content, headers)
            return
        first = int(asked[1]) if asked[1] else max(len(content) - int(asked[2]), 0)
        last = min(int(asked[2]), len(content) - 1) if asked[1] and asked[2] else len(content) - 1
        if first > last:
            self._error(416, "range not satisfiable")
            return
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._answer(206, content[first : last + 1], headers)

    def _list(self, bucket: str) -> dict:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        start, end = self.query.get("startOffset", ""), self.query.get("endOffset")
        items, prefixes = [], set()
        for name, found in sorted(self.server.objects[bucket].copy().items()):
            if not name.startswith(prefix) or name < start or (end and name >= end):
                continue
            inside, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if cut:
                prefixes.add(prefix + inside + cut)
            else:
                items.append(_described(bucket, name, found))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def _upload(self, bucket: str, body: bytes) -> None:
        name, kind = self.query.get("name"), self.query["uploadType"]
        if kind == "resumable":
            name = name or json.loads(body)["name"]
            number = str(len(self.server.uploads))
            self.server.uploads[number] = [bucket, name, b""]
            where = f"{self.server.url}/upload/storage/v1/b/{bucket}/o?upload_id={number}"
            self._answer(200, b"", {"Location": where})
            return
        if kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
            _, described, body = body.split(b"--" + boundary, 2)
            line = b"\r\n" if body.startswith(b"\r\n") else b"\n"
            name = name or json.loads(described.split(2 * line, 1)[1])["name"]
            body = body.split(2 * line, 1)[1].rpartition(line + b"--" + boundary + b"--")[0]
        self._put(bucket, name, body)

    def _resume(self, body: bytes) -> None:
        upload = self.server.uploads[self.query["upload_id"]]
        upload[2] += body
        total = self.headers["Content-Range"].rpartition("/")[2]
        if total == "*" or int(total) > len(upload[2]):
            self._answer(_RESUMED, b"", {"Range": f"bytes=0-{len(upload[2]) - 1}"})
        else:
            self._put(*upload)

    def _put(self, bucket: str, name: str, content: bytes) -> None:
        if "ifGenerationMatch" in self.query and self.query["ifGenerationMatch"] != "0":
            if self._is_missing(bucket, name):
                return
        elif self.query.get("ifGenerationMatch") == "0" and name in self.server.objects[bucket]:
            self._error(412, "conditionNotMet")
            return
        self._answer(200, _described(bucket, name, self.server.put(bucket, name, content)))

    def _move(self, bucket: str, name: str) -> None:
        source, _, target = name.partition("/moveTo/o/")
        found = self.server.objects[bucket].pop(source, None)
        if found is None:
            self._error(404, f"No such object: {source}")
            return
        self._put(bucket, target, found.content)

    def _error(self, code: int, message: str) -> None:
        self._answer(code, {"error": {"code": code, "message": message}})

    def _answer(self, code: int, content: dict | bytes = b"", headers=()) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for key, value in {"Content-Type": kind, **dict(headers)}.items():
            self.send_header(key, value)
        if code not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if code not in (204, 304):
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def _hash(found: Object) -> str:
    return "md5=" + base64.b64encode(hashlib.md5(found.content).digest()).decode()


def _described(bucket: str, name: str, found: Object) -> dict:
    when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(found.created))
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(len(found.content)),
        "generation": str(found.generation),
        "metageneration": "1",
        "md5Hash": _hash(found).removeprefix("md5="),
        "timeCreated": when,
        "updated": when,
    }
