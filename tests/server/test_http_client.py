"""Proxies and certificates of the environment: used where they serve, named where they cannot."""

import sys

import pytest

from preflexor_pl.core.errors import ConfigError, TeacherError
from preflexor_pl.core.generator import Request
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.server.generator import RemoteGenerator, named_server
from preflexor_pl.server.http_client import CERTIFICATES, proxy_variable
from tests.server.bad_server import GOOD, BadServer, ask

PASSWORD = "hunter2hunter2"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment without any of these variables."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in CERTIFICATES:
        monkeypatch.delenv(name, raising=False)


def server(url="https://api.example.org/v1"):
    return RemoteGenerator(ServerSettings(url, "m"))


def refused(generator):
    with pytest.raises(ConfigError) as raised:
        generator.require_ready()
    with pytest.raises(ConfigError):
        generator.complete([Request("Why?")])
    line = str(raised.value)
    assert line.startswith("data.teacher.server: the environment variable ")
    assert PASSWORD not in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
def test_a_socks_proxy_without_its_package_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, f"socks5://user:{PASSWORD}@localhost:1080")
    line = refused(server())
    assert f" {name} names a SOCKS proxy" in line
    assert "pip install" in line
    assert "api.example.org in NO_PROXY" in line


@pytest.mark.parametrize("value", [f"ftp://u:{PASSWORD}@h:1", f"http://u:{PASSWORD}@h:port"])
def test_a_proxy_that_cannot_be_used_is_named(value, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", value)
    assert " HTTPS_PROXY names a proxy that cannot be used" in refused(server())


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates_that_are_not_there_are_named(name, monkeypatch, tmp_path):
    monkeypatch.setenv(name, str(tmp_path / "none.pem"))
    line = refused(server())
    assert f" {name} names {tmp_path / 'none.pem'}" in line
    assert "No such file" in line


def test_a_file_that_holds_no_certificates_is_named(monkeypatch, tmp_path):
    (tmp_path / "empty.pem").write_text("none")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    assert "SSL_CERT_FILE" in refused(server())
    monkeypatch.delenv("SSL_CERT_FILE")
    server().require_ready()


def test_a_server_on_this_machine_needs_none_of_them(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("ALL_PROXY", "socks5://localhost:1")
    monkeypatch.setenv("HTTP_PROXY", "http://localhost:1")
    with BadServer() as here:
        generator, requests = ask(here)
        assert generator.complete(requests) == [GOOD]


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("http://localhost:8000/v1", ""),
        ("http://127.0.0.2:8000/v1", ""),
        ("http://[::1]:8000/v1", ""),
        ("http://box.localhost/v1", ""),
        ("http://inside.example.com/v1", ""),
        ("http://api.example.org/v1", "HTTP_PROXY"),
        ("https://api.example.org/v1", "ALL_PROXY"),
    ],
)
def test_which_proxy_is_used(url, variable, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://localhost:1")
    monkeypatch.setenv("ALL_PROXY", "http://localhost:1")
    monkeypatch.setenv("NO_PROXY", "inside.example.com")
    assert proxy_variable(ServerSettings(url, "m")) == variable


def test_a_proxy_that_does_not_answer_is_named_beside_the_failure(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://u:{PASSWORD}@127.0.0.1:1")
    generator = RemoteGenerator(ServerSettings("http://api.example.org/v1", "m", tries=1))
    with pytest.raises(
        TeacherError, match="cannot be reached through the proxy of HTTP_PROXY"
    ) as error:
        generator.complete([Request("Why?")])
    assert PASSWORD not in str(error.value)


def test_a_critic_behind_a_server_is_looked_at_before_the_work_too(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="--critic: the environment variable SSL_CERT_FILE"):
        named_server("m@https://api.example.org/v1", "--critic")
