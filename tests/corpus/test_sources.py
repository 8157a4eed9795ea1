"""A corpus on the hub, through the real client; nothing leaves this machine."""

import io
import json
import time

import pyarrow as pa
import pytest
from pyarrow import parquet

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.corpus import sources
from preflexor_pl.corpus.reader import read_folder
from preflexor_pl.corpus.sources import require_corpus
from tests.corpus.dataset_server import DatasetServer

TEXT = "Nacre is the iridescent inner layer of many mollusc shells. " * 3


def table(*texts):
    made = io.BytesIO()
    parquet.write_table(pa.table({"text": list(texts)}), made)
    return made.getvalue()


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """``serve(path=content, ...)``: a hub with the data set someone/notes, and an empty cache."""
    from huggingface_hub import close_session, constants

    servers = []

    def start(files):
        server = DatasetServer("someone/notes", **files)
        servers.append(server.__enter__())
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        return server

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    close_session()
    yield start
    for server in servers:
        server.__exit__()
    close_session()


def test_a_data_set_is_read_and_then_found_in_the_cache(serve):
    files = {
        "README.md": f"The card. {TEXT}".encode(),
        "data/train.parquet": table(f"{TEXT} 1.", f"{TEXT} 2."),
        "more.jsonl": json.dumps({"text": f"{TEXT} 3."}).encode(),
        "loader.py": b"raise SystemExit",
    }
    server = serve(files)
    require_corpus("someone/notes")
    found = read_folder("someone/notes")
    ids = ["more.jsonl#1", "data/train.parquet#1", "data/train.parquet#2"]
    assert [d.id for d in found.documents] == ids
    assert found.skipped == []
    assert not [path for path in server.requests if "loader" in path]
    server.requests.clear()
    require_corpus("someone/notes")
    assert read_folder("someone/notes").documents == found.documents
    assert server.requests == []


def test_what_the_hub_made_of_other_formats(serve):
    server = serve({"data.xml": b"<text/>", "dataset_infos.json": b"{}"})
    server.files["refs/convert/parquet"] = {"default/train/0000.parquet": table(TEXT)}
    assert [d.id for d in read_folder("someone/notes").documents] == [
        "default/train/0000.parquet#1"
    ]


def test_a_data_set_without_texts(serve):
    serve({"data.xml": b"<text/>", "dataset_infos.json": b"{}"})
    with pytest.raises(ConfigError, match=r"someone/notes has no file that can be read \(\.md"):
        read_folder("someone/notes")


def test_a_data_set_that_is_too_large(serve, monkeypatch):
    server = serve({"a.parquet": table(TEXT)})
    monkeypatch.setattr(sources, "MAX_DOWNLOAD_BYTES", 100)
    with pytest.raises(ConfigError, match="download a part of it"):
        read_folder("someone/notes")
    assert not [request for request in server.requests if request.startswith("GET /datasets")]


def test_no_such_data_set(serve):
    serve({})
    with pytest.raises(ConfigError, match=r"data\.corpus: .*the hub has no such public dataset"):
        require_corpus("someone/else")


def test_a_hub_that_is_not_there_costs_seconds(serve, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    with pytest.raises(ConfigError, match=r"no folder 'someone/notes' here.*cannot be reached"):
        require_corpus("someone/notes")
    assert time.perf_counter() - start < 6


@pytest.mark.parametrize("name", ["", "notes", "./notes/new", "/none", "a/b/c", "../x"])
def test_what_is_no_hub_id_is_not_looked_for_on_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "require_dataset", lambda *args: pytest.fail("asked the hub"))
    with pytest.raises(ConfigError, match="there is no folder"):
        require_corpus(name)
