"""Object stores beyond the contract: lost answers, refused requests, large files, secrets."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from four_cells import BASE, GRID
from object_server import FAULTS, SECRET, Proxy, environment, proxy, request
from sweeping import compute_here, run_cli

from analysis import load_tasks
from lop_sweep.errors import StoreError
from lop_sweep.pack import Pack
from lop_sweep.storage.filesystem import filesystem_of, object_store, reading, sweep_path, writing
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.parquet import read_table, verify_checksum, write_table
from lop_sweep.storage.schema import TASKS
from lop_sweep.storage.store import Store
from lop_sweep.tune.trainable import LopTrainable, StopRequest


@pytest.fixture
def server(bucket: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Put a proxy before the server of `bucket`."""
    with proxy(s3) as made:
        for name, value in environment(made.endpoint).items():
            monkeypatch.setenv(name, value)
        yield made


class Once(dict[str, float]):
    """Shares of faults with which the first requests meet with this fault, and no other does."""

    def __init__(self, fault: str, times: int) -> None:
        super().__init__({fault: 1.0})
        self.left = times

    def items(self):  # type: ignore[no-untyped-def]
        self.left -= 1
        return [] if self.left < 0 else list(super().items())


@pytest.mark.parametrize("fault", ["slow", "busy", "refused", "lost"])
@pytest.mark.parametrize("times", [1, 3])
def test_requests_are_repeated_until_they_succeed(bucket: Path, server: Proxy, fault: str, times: int) -> None:
    """`create` too says that it made the file, although a repeated request finds it there."""
    files = filesystem_of(bucket)

    def trouble() -> None:
        server.shares = Once(fault, times)

    trouble()
    assert files.create(bucket / "a", b"mine")
    trouble()
    assert not files.create(bucket / "a", b"another's")
    trouble()
    files.write(bucket / "b", b"content")
    trouble()
    assert files.read(bucket / "b") == b"content"
    trouble()
    assert files.exists(bucket / "b")
    trouble()
    assert sorted(files.list_names(bucket)) == ["a", "b"]
    trouble()
    files.move(bucket / "b", bucket / "c")
    trouble()
    files.delete(bucket / "c")
    assert files.list_names(bucket) == ["a"]
    assert files.read(bucket / "a") == b"mine"
    assert server.faults[fault] >= 8 * (1 if fault == "slow" else times)


def test_requests_are_repeated_for_as_long_as_it_says(
    bucket: Path, server: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often that is, and for less time if the bucket has never answered."""
    monkeypatch.setattr(object_store, "MAX_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(object_store, "FIRST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(object_store, "_answered", set())
    files = filesystem_of(bucket)
    server.shares = {"busy": 1.0}
    with pytest.raises(OSError, match="SlowDown"):
        files.read(bucket / "a")
    server.shares = {}
    files.write(bucket / "a", b"content")
    server.shares = Once("busy", 60)
    assert files.read(bucket / "a") == b"content"


def test_connections_are_used_again_after_a_refused_request(
    bucket: Path, server: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of HEAD requests, whose answers have no body."""
    monkeypatch.setattr(object_store, "MAX_BACKOFF_SECONDS", 0.001)
    files = filesystem_of(bucket)
    files.write(bucket / "a", b"content")
    for fault in FAULTS[1:]:
        server.shares = {fault: 0.3}
        assert all(files.exists(bucket / "a") for _ in range(100))
        assert server.faults[fault] > 10


def test_missing_credentials_are_called_so(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only by the address of the machine's metadata service, which does not answer here."""
    monkeypatch.setattr(object_store, "FIRST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(object_store, "_answered", set())
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match="no credentials in the environment, and none from this machine's metadata"):
        Store(bucket).check()


def test_a_store_that_stays_down_is_reported_without_secrets(
    bucket: Path, server: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "RETRY_SECONDS", 0.5)
    files = filesystem_of(bucket)
    server.shares = {"busy": 1.0}
    refused = r"\[Errno 5\] SlowDown: Slow down"
    with pytest.raises(StoreError, match=f"a: cannot be read: {refused}") as read, reading(bucket / "a"):
        files.read(bucket / "a")
    with pytest.raises(StoreError, match=f"a: cannot be written: {refused}") as written, writing(bucket / "a"):
        files.write(bucket / "a", b"")
    assert SECRET not in str(read.value) + str(written.value)


@pytest.mark.parametrize("user", ["", "me:word@", "AKIA:wJal/rXUt/secret@"])
def test_messages_hold_no_secrets(user: str) -> None:
    error = OSError(f"Error performing GET https://{user}host/a?sig=secret&x=1 in 3ms: HTTP error\n\nDebug source:\n?")
    assert object_store._reason(error) == "Error performing GET https://host/a in 3ms: HTTP error"
    with pytest.raises(StoreError, match="'s4://bucket/x' cannot hold a sweep" if user else "'s4://bucket/x'"):
        Store(f"s4://{user}bucket/x")


@pytest.mark.parametrize(
    "endpoint", ["", "minio:9000", "http://", "htp://user:secret@host:9000", "https://user:secret@h"]
)
def test_a_wrong_endpoint_is_refused_in_one_line(endpoint: str, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(
        StoreError, match="AWS_ENDPOINT_URL in the environment is not an address; write https://"
    ) as raised:
        Store(bucket).check()
    assert "secret" not in str(raised.value)


def test_a_mark_of_a_folder_is_no_file(bucket: Path, s3: str) -> None:
    """Consoles and other tools make empty objects whose keys end with a slash."""
    compute_here(GRID, bucket)
    for folder in ("", "tasks/", "shards/"):
        assert request(s3, "PUT", f"/sweeps/{bucket.name}/{folder}") == 200
    assert audit(Store(bucket)).findings == []
    assert len(load_tasks(str(bucket))) == 20


def test_an_object_that_is_replaced_while_it_is_read_is_missing(bucket: Path) -> None:
    path, files = bucket / "a", filesystem_of(bucket)
    files.write(path, bytes(3 * object_store.SMALL_BYTES))
    with files.open_file(path) as file:
        assert file.read(10) == bytes(10)
        files.write(path, b"1" * 3 * object_store.SMALL_BYTES)
        file.seek(2 * object_store.SMALL_BYTES)
        with pytest.raises(FileNotFoundError, match="replaced while it was read"):
            file.read(10)


def test_large_files_are_read_in_ranges(bucket: Path, server: Proxy) -> None:
    """Of a file of some megabytes, one column takes a few requests, and not all of its bytes."""
    rng, rows = np.random.default_rng(0), 300_000
    path, files = bucket / "tasks" / "large.parquet", filesystem_of(bucket)
    table = pa.table(
        {"cell": pa.array(np.repeat(["a", "b"], rows // 2)), "task": pa.array(np.arange(rows), pa.int64())}
    )
    for name in ("loss", "mean_ce"):
        table = table.append_column(name, pa.array(rng.random(rows)))
    write_table(path, table.replace_schema_metadata(TASKS.metadata), ["a"])
    assert files.sizes(path.parent)["large.parquet"] > 4 * object_store.SMALL_BYTES
    verify_checksum(path)
    server.counts.clear()
    with files.open_file(path) as file:
        content = files.read(path)
        for position, length in ((0, 10), (len(content) - 5, 100), (2_000_000, 3_000_000), (17, 0)):
            file.seek(position)
            assert file.read(length) == content[position : position + length]
        with pytest.raises(OSError, match="before the beginning"):
            file.seek(-len(content) - 1, os.SEEK_END)
    server.counts.clear()
    schema = pa.schema([table.schema.field(name) for name in ("cell", "task")], TASKS.metadata)
    assert read_table(path, schema).equals(table.select(["cell", "task"]).cast(schema))
    assert server.counts["GET"] <= 8


def test_very_large_files_are_written_whole(bucket: Path) -> None:
    content = np.random.default_rng(0).bytes(20 * 2**20)
    filesystem_of(bucket).write(bucket / "a.state", content)
    assert filesystem_of(bucket).read(bucket / "a.state") == content


def test_moving_to_another_bucket_is_refused(bucket: Path) -> None:
    filesystem_of(bucket).write(bucket / "a", b"content")
    with pytest.raises(OSError, match="cannot be moved to another bucket"):
        filesystem_of(bucket).move(bucket / "a", sweep_path("s3://another/a"))


def test_without_the_package_there_is_one_line(monkeypatch: pytest.MonkeyPatch, bucket: Path) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StoreError, match=r"not installed; pip install 'lop-sweep\[cloud\]'"):
        Store(bucket).check()
    with pytest.raises(StoreError, match=r"not installed; pip install 'lop-sweep\[cloud\]'"):
        Store(bucket).segments()


def test_requests_per_pack(bucket: Path, server: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/clusters.md says a pack costs: it is the same for the tenth pack as for the first."""
    monkeypatch.setattr("lop_sweep.storage.lock.BEAT_SECONDS", 1000.0)  # its requests are not the worker's
    store = Store(bucket)
    store.create()

    def requests(seed: int, keep: bool) -> Counter[str]:
        server.keys.clear()
        run = {"store": str(bucket), "driver": lock.token, "origin": "0" * 16, "keep_state": keep}
        worker = LopTrainable({"pack": Pack((BASE.replace(seed=seed),)).to_config(), "run": run})
        while not worker.train().get("done"):
            pass
        return Counter("LIST" if "list-type" in path else method for method, path in server.keys)

    with hold_lock(store.driver, dict) as lock:
        costs = [requests(seed, keep=False) for seed in range(10)]
        kept = requests(99, keep=True)
    assert costs[0] == costs[9] == {"PUT": 3, "LIST": 3, "GET": 7, "HEAD": 2, "POST": 2}
    assert kept - costs[0] == {"PUT": 1, "LIST": 1, "GET": 1}


def test_a_request_to_stop_is_asked_for_now_and_then(bucket: Path, server: Proxy) -> None:
    store = Store(bucket)
    asked = StopRequest(store, Path("driver"), "token")
    server.counts.clear()
    assert not any(asked() for _ in range(1000))
    assert server.counts == {"HEAD": 1}
    filesystem_of(bucket).write(store.driver / "token.stop", b"")
    assert StopRequest(store, Path("driver"), "token")()


def test_credentials_are_nowhere(bucket: Path, server: Proxy, tmp_path: Path) -> None:
    """Neither in any object, nor in what the commands print, also when they fail; and nothing there is a pickle."""
    space = tmp_path / "space.py"
    space.write_text("param_space = {'width': 8, 'samples': 8, 'steps': 5, 'tasks': 3, 'fresh_baseline': 2}\n")
    results = [
        run_cli("sweep", space, "--out", bucket, "--no-progress"),
        run_cli("status", bucket, "--json"),
        run_cli("audit", bucket),
        run_cli("status", "s3://no-such-bucket/sweep"),
    ]
    assert [result.returncode for result in results] == [0, 0, 0, 2]
    assert "NoSuchBucket" in results[3].stderr
    assert results[3].stderr.count("\n") == 1
    assert json.loads(results[1].stdout)["finished"] == 1
    store, files = Store(bucket), filesystem_of(bucket)
    objects = [folder / name for folder in (store.root, *store.folders) for name in files.sizes(folder)]
    assert len(objects) >= 5
    for path in objects:
        content = files.read(path)
        assert SECRET.encode() not in content
        assert b"AKIAEXAMPLE" not in content
        with pytest.raises((pickle.UnpicklingError, ValueError, EOFError, KeyError, IndexError)):
            pickle.loads(content)
    assert not any(re.search(f"{SECRET}|AKIAEXAMPLE", result.stdout + result.stderr) for result in results)
    assert audit(store).findings == []
