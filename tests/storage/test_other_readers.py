"""pandas, polars and DuckDB read a sweep's files as docs/results.md says, in a directory and in a bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import duckdb_extension_aws
import duckdb_extension_httpfs
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from four_cells import BASE, GRID
from sweeping import compute_here

from analysis import load_tasks
from lop_sweep.storage.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text()


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, whole: Store) -> Store:
    return whole if request.param == "local" else compute_here(GRID, request.getfixturevalue("bucket"))


def on_page(text: str) -> str:
    """Return a text that is on the page, word for word."""
    assert text in PAGE
    return text


def connect() -> duckdb.DuckDBPyConnection:
    """Load the extensions, which DuckDB would download, and let it find the credentials of the test's server."""
    connection = duckdb.connect()
    for package, name in ((duckdb_extension_httpfs, "httpfs"), (duckdb_extension_aws, "aws")):
        (extension,) = Path(package.__path__[0]).glob(f"extensions/*/{name}.duckdb_extension")
        connection.load_extension(str(extension))
    if "AWS_ENDPOINT_URL" in os.environ:
        secret = on_page("CREATE SECRET (TYPE s3, PROVIDER credential_chain);").removesuffix(");")
        endpoint = on_page("ENDPOINT 'minio:9000', URL_STYLE 'path'")
        server = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
        connection.sql(f"{secret}, {endpoint.replace('minio:9000', server)}, {on_page('USE_SSL false')})")
    return connection


def with_pandas(folder: str) -> pa.Table:
    return pa.Table.from_pandas(pd.read_parquet(folder))


def with_polars(folder: str) -> pa.Table:
    return pl.scan_parquet(f"{folder}/*.parquet").collect().to_arrow()


def with_duckdb(folder: str) -> pa.Table:
    return connect().sql(f"FROM read_parquet('{folder}/*.parquet')").to_arrow_table()


def with_duckdb_and_pyarrow(folder: str) -> pa.Table:
    tasks = pyarrow.dataset.dataset(folder)  # noqa: F841  the query finds it by its name
    return duckdb.sql("FROM tasks").to_arrow_table()


def rows(table: pa.Table, schema: pa.Schema) -> pd.DataFrame:
    table = table.select(schema.names).cast(schema)
    return table.sort_by([(name, "ascending") for name in ("cell", "task") if name in schema.names]).to_pandas()


@pytest.mark.parametrize("read", [with_pandas, with_polars, with_duckdb, with_duckdb_and_pyarrow])
def test_every_reader_finds_every_row(store: Store, whole: Store, read: Callable[[str], pa.Table]) -> None:
    expected = whole.read_tasks()
    found = rows(read(f"{store.root}/tasks"), expected.schema)
    pd.testing.assert_frame_equal(found, rows(expected, expected.schema), check_exact=True)
    assert len(found) == len(load_tasks(str(store.root))) == 20
    assert read(f"{store.root}/cells").num_rows == 4


def test_tasks_are_joined_to_cells(store: Store, whole: Store) -> None:
    tasks, cells = whole.read_tasks().to_pandas(), whole.read_cells().to_pandas()
    both = tasks.merge(cells[["cell", "fresh_mean_ce"]], on="cell")
    expected = (both["final_ce"] - both["fresh_mean_ce"]).groupby(both["lr"]).mean()
    lazy = [pl.scan_parquet(f"{store.root}/{folder}/*.parquet") for folder in ("tasks", "cells")]
    excess = pl.col("final_ce") - pl.col("fresh_mean_ce")
    joined = lazy[0].join(lazy[1].select("cell", "fresh_mean_ce"), on="cell").group_by("lr").agg(excess.mean())
    query = f"""
        SELECT t.lr, avg(t.final_ce - c.fresh_mean_ce)
        FROM read_parquet('{store.root}/tasks/*.parquet') t JOIN read_parquet('{store.root}/cells/*.parquet') c
        USING (cell) GROUP BY ALL
    """
    for found in (joined.collect().rows(), connect().sql(query).fetchall()):
        assert dict(found) == pytest.approx(dict(expected))


def test_columns_that_some_files_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the page's table of expressions that get all columns."""
    compute_here([BASE, BASE.replace(seed=1, metrics=["logit_scale"])], tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    code = dict(re.findall(r"^\| (DuckDB|polars|pandas) \| `(.*)` \|$", PAGE, flags=re.MULTILINE))
    names = {"pd": pd, "pl": pl, "Path": Path}
    frames = [
        duckdb.sql(f"FROM {code['DuckDB']}").df(),
        eval(code["pandas"], names),
        eval(code["polars"], names).collect().to_pandas(),
    ]
    for frame in frames:
        assert len(frame) == 10
        assert frame["logit_scale"].notna().sum() == 5
    with pytest.raises(pl.exceptions.SchemaError):
        pl.scan_parquet("results/tasks/*.parquet").collect()
