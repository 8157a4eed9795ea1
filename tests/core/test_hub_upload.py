"""A folder goes to a stand-in of the hub by the real client, or one line says why not."""

import time
from traceback import format_exception

import pytest

from preflexor_pl.core import hub_upload
from preflexor_pl.core.hub_upload import PublishError, publish
from tests.hub_server import OWNER, SECRET


@pytest.fixture
def run(tmp_path):
    """A folder with a file in a folder of its own, and one beside it."""
    (tmp_path / "run/rounds").mkdir(parents=True)
    (tmp_path / "run/rounds/pairs.jsonl").write_text("{}\n")
    (tmp_path / "run/config.yaml").write_text("trainer:\n  max_epochs: 2\n")
    return tmp_path / "run"


def test_a_folder_arrives_byte_by_byte_in_one_commit_of_a_private_repository(hub, tmp_path):
    files = {"a.txt": b"caf\xc3\xa9\r\n", "deep/er/b.bin": bytes(range(256)) * 64, "empty": b""}
    files |= {f"many/{number}": b"%d" % number for number in range(300)}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    url = publish(tmp_path, "owner/name", "first", endpoint=hub.url)
    assert url == f"{hub.url}/owner/name"
    assert list(hub.repositories) == [("model", "owner/name")]
    assert hub.model("owner/name").private
    assert hub.model("owner/name").commits == [("first", files)]
    assert set(hub.authorizations) == {f"Bearer {SECRET}"}


def test_public_datasets_and_names_without_an_owner(hub, run):
    url = publish(run, "pairs", "all", private=False, kind="dataset", endpoint=hub.url)
    assert url == f"{hub.url}/datasets/{OWNER}/pairs"
    assert not hub.dataset(f"{OWNER}/pairs").private


def test_what_shall_be_private_is_not_pushed_to_a_public_repository(hub, run):
    publish(run, "owner/name", "open", private=False, endpoint=hub.url)
    (run / "new").write_text("private")
    with pytest.raises(PublishError, match="is public there"):
        publish(run, "owner/name", "closed", endpoint=hub.url)
    assert hub.model("owner/name").messages == ["open"]


def test_a_folder_without_files_makes_no_repository(hub, tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(PublishError, match=r"^cannot push the model .*: .* holds no files$"):
            publish(folder, "owner/name", "first", endpoint=hub.url)
    assert not hub.requests


@pytest.mark.parametrize("token", [None, "", "hf_two\x00parts", "hf_tw\u00f6"])
def test_a_token_that_cannot_be_sent(hub, run, monkeypatch, tmp_path, token):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    if token:
        (tmp_path / "token").write_text(token)
    with pytest.raises(PublishError, match=r"no token that can be sent: .*hf auth login.*HF_TOKEN"):
        publish(run, "owner/name", "first", endpoint=hub.url)
    assert not hub.requests


@pytest.mark.parametrize(
    ("failing", "repo_id", "said"),
    [
        ({"": 401}, "owner/name", "HTTP 401, the token may not write there: log in with `hf auth"),
        ({"": 403}, "owner/name", "HTTP 403"),
        ({"": 500}, "owner/name", r"HTTP 500: told to fail: was sent Bearer \*\*\*: try again"),
        ({"/commit": 409}, "owner/name", "HTTP 409"),
        ({"/preupload": 429}, "owner/name", "HTTP 429"),
        ({"": "drop"}, "owner/name", "RemoteProtocolError .*: check the network and the endpoint"),
        ({}, "own er/name", "Repo id must use"),
    ],
)
def test_a_failure_is_one_line_without_the_token(hub, run, failing, repo_id, said):
    hub.failing = failing
    with pytest.raises(PublishError, match=said) as error:
        publish(run, repo_id, "first", endpoint=hub.url)
    assert error.value.exit_code == 6
    line = str(error.value)
    assert line.startswith(f"cannot push the model {repo_id} to {hub.url}: ")
    assert "\n" not in line
    assert SECRET not in "".join(format_exception(error.value))
    assert len(set(hub.requests)) == len(hub.requests)  # nothing was asked for again
    assert not any(repository.commits for repository in hub.repositories.values())


@pytest.mark.parametrize("failure", ["drop", "hang"])
def test_a_hub_that_stops_to_answer_costs_seconds(hub, run, monkeypatch, failure):
    monkeypatch.setattr(hub_upload, "SILENCE", 0.3)
    monkeypatch.setattr(hub_upload, "TRIES", 1)
    hub.failing = {"/preupload": failure}
    start = time.perf_counter()
    with pytest.raises(PublishError, match="no answer to 1 requests"):
        publish(run, "owner/name", "first", endpoint=hub.url)
    assert time.perf_counter() - start < 5
    assert sum("/preupload" in path for path in hub.requests) == 1


def test_the_client_is_left_as_it_was(hub, run):
    from huggingface_hub import get_session

    session = get_session()
    before = session.timeout, {name: list(hooks) for name, hooks in session.event_hooks.items()}
    publish(run, "owner/name", "first", endpoint=hub.url)
    assert get_session() is session
    assert (session.timeout, session.event_hooks) == before
