"""Object stores: S3 and what speaks its protocol, Google Cloud Storage and Azure, through `obstore`.

A file is an object, and its path is a URI: `s3://bucket/sweep/tasks/1f.parquet`. There are no folders: one exists as
long as something is in it. A write is one PUT, which is atomic, and an exclusive one is a conditional PUT. Listings and
reads are consistent with the writes before them.

Credentials, region and endpoint come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`), a role, or the machine's
metadata service. They are never written anywhere, and messages have no user names or queries of URLs, which may hold
secrets.

A request that fails is repeated for up to `RETRY_SECONDS`, or `FIRST_RETRY_SECONDS` until a bucket has answered once:
its address or the credentials may be wrong. An answer may have been lost after the request had succeeded. All
operations can be repeated without harm; `create` compares the content to recognise its own success.

The client's threads do not survive `os.fork`: a process that has used a store must spawn others, not fork them.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from lop_sweep.errors import StoreError, printable
from lop_sweep.registry import register
from lop_sweep.storage.filesystem.faults import fault_point
from lop_sweep.storage.filesystem.interface import DIRECTORY
from lop_sweep.storage.filesystem.temporaries import is_abandoned, is_temporary, temporary_beside

RETRY_SECONDS = 90.0
"""How long a request is repeated before it counts as failed."""
FIRST_RETRY_SECONDS = 10.0
"""The same for a bucket that has never answered this process."""
MAX_BACKOFF_SECONDS = 5.0
"""Longest wait between two attempts."""
REQUEST_SECONDS, CONNECT_SECONDS = 120.0, 10.0
"""How long one attempt of a request may take, and how long its connection."""
SMALL_BYTES = 2**20
"""Files up to this size are read with one request, larger ones in the ranges that are asked for."""
_MULTIPART_BYTES = 2**24
_MAX_TEXT = 300
_CREATE_ATTEMPTS = 5
_UNLIMITED = 10_000
"""Attempts of a request: the time limits them."""
_PROBE = b"lop-sweep checks that it can write here\n"


class ObjectStore:
    """The buckets of one kind of object store; see `FileSystem` for the methods."""

    name: str
    beat_seconds = 30.0
    poll_seconds = 2.0

    def read(self, path: Path) -> bytes:
        """Return the content of an object."""
        with _errors(path):
            return bytes(_obstore().get(*_at(path)).bytes())

    def open_file(self, path: Path) -> BinaryIO:
        """Open an object for reading: a small one is read at once."""
        with _errors(path):
            found = _obstore().get(*_at(path))
            size = int(found.meta["size"])
            if size <= SMALL_BYTES:
                return io.BytesIO(bytes(found.bytes()))
        return io.BufferedReader(_Ranges(path, size, found.meta.get("e_tag")), SMALL_BYTES)

    def write(self, path: Path, content: bytes) -> None:
        """Write an object with one PUT; one that is larger than 16 MiB in parts that appear together."""
        place = path.parent.name
        fault_point(f"{place}.half")
        fault_point(f"{place}.written")
        self._put(path, content)
        fault_point(f"{place}.renamed")

    def create(self, path: Path, content: bytes) -> bool:
        """Write an object unless there is one, with a conditional PUT.

        If the answer is lost, the PUT is repeated and finds its own object. So an object with this content counts as
        made by this call: callers that compete must write different contents.
        """
        for attempt in range(_CREATE_ATTEMPTS):
            try:
                with _errors(path, writing=True):
                    _obstore().put(*_at(path), content, mode="create", use_multipart=False)
                return True
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno != errno.EIO or attempt == _CREATE_ATTEMPTS - 1:
                    raise
            try:
                return self.read(path) == content
            except FileNotFoundError:  # deleted since, or never written
                continue
        raise OSError(errno.EIO, "others keep creating and deleting it")

    def delete(self, path: Path) -> None:
        """Remove an object, if there is one."""
        try:
            with _errors(path):
                _obstore().delete(*_at(path))
        except FileNotFoundError:
            return

    def move(self, path: Path, target: Path) -> None:
        """Copy an object, then delete the original: a crash in between leaves both."""
        if _split(path)[0] != _split(target)[0]:
            raise OSError(errno.EXDEV, "it cannot be moved to another bucket")
        with _errors(path):
            _obstore().copy(*_at(path), _split(target)[1])
        self.delete(path)

    def list_names(self, folder: Path) -> list[str]:
        """Return the names of everything in a folder."""
        found = self._list(folder)
        return [_name(one) for one in found["common_prefixes"]] + [_name(one["path"]) for one in found["objects"]]

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return the sizes of the objects in a folder."""
        return {_name(one["path"]): int(one["size"]) for one in self._list(folder)["objects"]}

    def exists(self, path: Path) -> bool:
        """Return whether there is an object."""
        try:
            with _errors(path):
                _obstore().head(*_at(path))
        except FileNotFoundError:
            return False
        return True

    def kind(self, path: Path) -> str:
        """Return `DIRECTORY` if anything is below `path`."""
        with _errors(path):
            store, key = _at(path)
            for page in _obstore().list(store, f"{key}/" if key else None, chunk_size=1):
                if page:
                    return DIRECTORY
        return ""

    def make_folder(self, folder: Path) -> None:
        """Do nothing: objects need no folders."""

    def check_writable(self, folder: Path) -> None:
        """Write an object and remove it."""
        probe = self.temporary(folder / "probe")
        self._put(probe, _PROBE)
        self.delete(probe)

    def identity(self, folder: Path) -> int:
        """Return 0: a copy has another URI."""
        return 0

    def temporary(self, path: Path) -> Path:
        """Return a name beside `path` that Parquet readers skip."""
        return temporary_beside(path)

    def abandoned(self, folder: Path) -> list[Path]:
        """Return the temporaries whose process has ended, or which are older than an hour."""
        now = time.time()
        ages = {_name(one["path"]): now - one["last_modified"].timestamp() for one in self._list(folder)["objects"]}
        return sorted(folder / name for name, age in ages.items() if is_temporary(name) and is_abandoned(name, age))

    def _put(self, path: Path, content: bytes) -> None:
        with _errors(path, writing=True):
            _obstore().put(*_at(path), content, use_multipart=len(content) > _MULTIPART_BYTES)

    def _list(self, folder: Path) -> Any:
        """List a folder, without the object of its own name that some tools make as a mark of it."""
        with _errors(folder):
            store, key = _at(folder)
            found = _obstore().list_with_delimiter(store, key)
        objects = [one for one in found["objects"] if one["path"].rstrip("/") != key]
        return {"common_prefixes": found["common_prefixes"], "objects": objects}


@register("filesystem", "s3")
class S3(ObjectStore):
    """Amazon S3, and MinIO, Ceph, R2 and others that speak its protocol (`AWS_ENDPOINT_URL`)."""


@register("filesystem", "gs")
class GoogleCloudStorage(ObjectStore):
    """Google Cloud Storage."""


@register("filesystem", "az")
class AzureBlobStorage(ObjectStore):
    """Azure Blob Storage: `az://container/sweep`, with the account in `AZURE_STORAGE_ACCOUNT_NAME`."""


class _Ranges(io.RawIOBase):
    """A large object, read in ranges. It is an error if it is replaced meanwhile.

    Args:
        path: of the object.
        size: in bytes.
        version: its ETag.
    """

    def __init__(self, path: Path, size: int, version: str | None) -> None:
        self._path, self._size, self._version, self._position = path, size, version, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "a position before the beginning of a file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        with _errors(self._path):
            options = {"range": (self._position, end), "if_match": self._version}
            content = memoryview(_obstore().get(*_at(self._path), options=options).bytes())
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _obstore() -> Any:
    try:
        return importlib.import_module("obstore")
    except ModuleNotFoundError:
        raise StoreError(
            "object stores need the package obstore, which is not installed; pip install 'lop-sweep[cloud]'"
        ) from None


@lru_cache
def _bucket(root: str, environment: tuple[tuple[str, str], ...], has_answered: bool) -> Any:
    store = importlib.import_module("obstore.store")
    endpoints = {name: value for name, value in environment if name in _ENDPOINTS}
    for name, value in endpoints.items():
        if not re.match(r"https?://[^/@\s]+(/|$)", value):
            raise OSError(
                errno.EINVAL, f"{name} in the environment is not an address; write https://HOST or https://HOST:PORT"
            )
    plain = any(value.startswith("http://") for value in endpoints.values())
    return store.from_url(
        root,
        client_options={
            "timeout": timedelta(seconds=REQUEST_SECONDS),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "allow_http": plain,
        },
        retry_config={
            "max_retries": _UNLIMITED,
            "retry_timeout": timedelta(
                seconds=RETRY_SECONDS if has_answered else min(FIRST_RETRY_SECONDS, RETRY_SECONDS)
            ),
            "backoff": {
                "init_backoff": timedelta(seconds=min(0.1, MAX_BACKOFF_SECONDS)),
                "max_backoff": timedelta(seconds=MAX_BACKOFF_SECONDS),
                "base": 3,
            },
        },
    )


_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL")
"""Environment variables for stores at other addresses. Only if one of them begins with http:// is that allowed."""


_answered: set[str] = set()
"""The buckets that have answered this process."""


def _at(path: Path) -> tuple[Any, str]:
    """Return the store of a path, and the object's key; within `_errors`."""
    root, key = _split(path)
    return _bucket(root, _environment(), root in _answered), key


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "AZURE_", "GOOGLE_"))))


def _split(path: Path) -> tuple[str, str]:
    scheme, *rest = path.parts
    if not rest:
        raise StoreError(f"{path}: names no bucket; write {scheme}//BUCKET/PREFIX")
    return f"{scheme}//{rest[0]}", "/".join(rest[1:])


def _name(key: str) -> str:
    return key.rstrip("/").rpartition("/")[2]


@contextmanager
def _errors(path: Path, writing: bool = False) -> Iterator[None]:
    """Turn obstore's errors into those of the operating system, without secrets."""
    _obstore()
    exceptions = importlib.import_module("obstore.exceptions")
    try:
        yield
        _answered.add(_split(path)[0])
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error) or writing:
            raise OSError(errno.ENXIO, "there is no such bucket") from None
        raise FileNotFoundError(errno.ENOENT, "there is no such object", str(path)) from None
    except exceptions.AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, "there is such an object already", str(path)) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, _reason(error)) from None
    except exceptions.PreconditionError:
        raise FileNotFoundError(errno.ENOENT, "it was replaced while it was read", str(path)) from None
    except exceptions.BaseError as error:
        raise OSError(errno.EIO, _reason(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how obstore fails on settings that it does not understand
            raise
        raise OSError(errno.EIO, "obstore fails on the settings in the environment; check them") from None


def _reason(error: Exception) -> str:
    """Return what a store answered, or obstore's message without queries and users in URLs, which may be secret."""
    text = str(error).partition("\n\nDebug source")[0]
    answer = [re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("Code", "Message")]
    if answer[0]:
        text = ": ".join(found[1] for found in answer if found)
    if re.search("/latest/(api|meta-data)/|/computeMetadata/|/metadata/identity/", text):
        text = f"no credentials in the environment, and none from this machine's metadata service: {text}"
    without = re.sub(r"://\S*@", "://", re.sub(r"\?[^\s\"')]*", "", text))
    return textwrap.shorten(printable(without), _MAX_TEXT, placeholder=" ...")
