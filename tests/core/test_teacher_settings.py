import pytest

from preflexor_pl.core.teacher_settings import (
    JudgeSettings,
    ServerSettings,
    TeacherSettings,
    ThinkingSettings,
)

KEY = "gsk_0123456789abcdef"


@pytest.mark.parametrize(("name", "value"), [("categories", {}), ("min_tokens", -1)])
def test_thinking_of_no_blocks_or_of_less_than_nothing_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"^data\.thinking\.{name}: got .*, must be "):
        ThinkingSettings(**{name: value})
    ThinkingSettings(min_tokens=0)


def test_settings_do_not_share_their_categories():
    first, second = ThinkingSettings(), ThinkingSettings()
    first.categories["More"] = "something else"
    assert "More" not in second.categories


def server(**values):
    return ServerSettings(**{"base_url": "http://localhost:8000/v1", "model": "m"} | values)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"base_url": ""}, "base_url"),
        ({"base_url": "localhost:8000/v1"}, "base_url"),
        ({"base_url": "ftp://localhost/v1"}, "base_url"),
        ({"base_url": "file:///etc/passwd"}, "base_url"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://host:port/v1"}, "base_url"),
        ({"base_url": "http://host/v1 \nX: y"}, "base_url"),
        ({"model": " "}, "model"),
        ({"in_flight": 0}, "in_flight"),
        ({"tries": 0}, "tries"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": float("inf")}, "timeout_seconds"),
        ({"max_calls": 0}, "max_calls"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_minutes": float("nan")}, "max_minutes"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"extra_body": {"stream": True}}, "extra_body"),
        ({"extra_body": {"messages": []}}, "extra_body"),
        ({"extra_body": {"temperature": 1}}, "extra_body"),
        ({"drop_fields": ["model"]}, "drop_fields"),
    ],
)
def test_what_cannot_work_is_refused_by_name(values, key):
    with pytest.raises(ValueError, match=rf"^data\.teacher\.server\.{key}: got .*, must be "):
        server(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": f"https://{KEY}@host/v1"},
        {"base_url": f"https://user:{KEY}@host/v1"},
        {"base_url": f"https://host/v1?key={KEY}"},
        {"base_url": f"https://host/v1#{KEY}"},
        {"api_key_env": KEY},
        {"api_key_env": ""},
    ],
)
def test_a_key_in_the_settings_is_refused_and_not_shown(values):
    with pytest.raises(
        ValueError, match=r"^data\.teacher\.server\.(base_url|api_key_env)"
    ) as error:
        server(**values)
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost:8000/v1", "localhost"),
        ("https://api.example.org/openai/v1/", "api.example.org"),
        ("http://10.0.0.7", "10.0.0.7"),
        ("http://[::1]:80/v1", "[::1]"),
    ],
)
def test_the_host_of_a_server(url, host):
    assert server(base_url=url).host == host


@pytest.mark.parametrize("other", [{"model_name": "some/model"}, {"quantization": "4bit"}])
def test_a_teacher_is_here_or_behind_a_server(other):
    TeacherSettings(**other)
    with pytest.raises(ValueError, match=r"null where data\.teacher\.server is given"):
        TeacherSettings(server=server(), **other)


def test_a_plan_does_not_depend_on_the_server():
    assert repr(TeacherSettings(server=server())) == repr(TeacherSettings())


@pytest.mark.parametrize("tag", ["", "<a>", "two three four", "a\nb"])
@pytest.mark.parametrize("settings", [TeacherSettings, JudgeSettings])
def test_a_tag_is_a_name_or_a_pair(settings, tag):
    settings(thinking_tags=["notes", "<<a>> <</a>>"])
    with pytest.raises(
        ValueError, match=r"^data\.(teacher|judge)\.thinking_tags: got .*, must be "
    ):
        settings(thinking_tags=[tag])


def test_a_server_is_told_by_its_own_key_how_to_fill_its_template():
    told = {"enable_thinking": False}
    TeacherSettings(chat_template_kwargs=told)
    with pytest.raises(ValueError, match=r"put it into its extra_body"):
        TeacherSettings(chat_template_kwargs=told, server=server())
