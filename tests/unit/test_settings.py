"""Arguments before the environment, the environment before the file, and no tracebacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.errors import SettingsError
from farm.settings import Settings, environment, load, replaced


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"REELFARM_{name.upper()}", raising=False)
    return tmp_path


def test_arguments_then_environment_then_file(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / "reelfarm.toml").write_text('port = 1\nslots = 2\ns3_bucket = "films"\n')
    monkeypatch.setenv("REELFARM_PORT", "3")
    monkeypatch.setenv("REELFARM_SLOTS", "4")
    found = load(port=5, slots=None)
    assert (found.port, found.slots, found.s3_bucket) == (5, 4, "films")


def test_a_child_has_exactly_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELFARM_SLOTS", "4")
    parent = load(s3_secret_key="geheim", redis_url="redis://x", data_dir=Path("a b"), s3_aws=True)
    variables = environment(parent)
    assert variables["PATH"], "what is not ours is inherited"
    for name in [name for name in variables if name.startswith("REELFARM_")]:
        monkeypatch.setenv(name, variables[name])
    assert load() == parent


def test_a_variable_that_no_longer_holds_does_not_reach_a_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load()
    monkeypatch.setenv("REELFARM_SOMETHING", "1")
    assert "REELFARM_SOMETHING" not in environment(settings)


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELFARM_S3_ENDPIONT", "geheim")
    monkeypatch.setenv("REELFARM_X", "geheim")
    with pytest.raises(SettingsError) as raised:
        load()
    assert "S3_ENDPIONT: there is no such setting; did you mean REELFARM_S3_ENDPOINT?" in str(
        raised.value
    )
    assert "REELFARM_X: there is no such setting" in str(raised.value)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["TEST_MEDIA", "SERVICE_HOST", "API_SERVICE_PORT_HTTP", "API_PORT_8000_TCP_ADDR"]
)
def test_what_tests_and_kubernetes_set_is_let_be(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"REELFARM_{name}", "x")
    load()


def test_what_is_taken_back_stays_so_in_a_child_whatever_the_file_says(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone / "reelfarm.toml").write_text('redis_url = "redis://production"\n')
    assert load().redis_url == "redis://production"
    own = replaced(load(), redis_url=None)
    assert own.redis_url is None
    for name, value in environment(own).items():
        monkeypatch.setenv(name, value)
    assert load() == own


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("port = 'x'", "port (REELFARM_PORT or reelfarm.toml): "),
        ("prot = 1", "prot (REELFARM_PROT or reelfarm.toml): there is no such setting"),
        ("port = ", "reelfarm.toml cannot be read"),
        ("s3_endpoint = 'geheim.example'", "it has to begin with http:// or https://"),
        ("redis_url = 'http://:geheim@x'", "it has to begin with redis:// or rediss://"),
    ],
)
def test_what_will_not_do_is_explained(alone: Path, file: str, said: str) -> None:
    (alone / "reelfarm.toml").write_text(file)
    with pytest.raises(SettingsError) as raised:
        load()
    assert said in str(raised.value)
    assert "geheim" not in str(raised.value)


def test_an_empty_key_or_token_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("s3_access_key", "s3_secret_key", "api_token", "metrics_token")
    for name in names:
        monkeypatch.setenv(f"REELFARM_{name.upper()}", "")
    assert [getattr(load(), name) for name in names] == [None] * len(names)
    assert load(s3_endpoint="https://KEY:SECRET@s3.example.com").s3_access_key == "KEY"


def test_secrets_are_not_shown() -> None:
    assert "geheim" not in repr(load(s3_secret_key="geheim", api_token="geheim"))


@pytest.mark.parametrize(
    ("host", "token", "exposed"),
    [
        ("127.0.0.1", None, False),
        ("0.0.0.0", None, True),
        ("0.0.0.0", "", True),
        ("0.0.0.0", "t", False),
    ],
)
def test_only_loopback_is_served_without_a_token(
    host: str, token: str | None, exposed: bool
) -> None:
    assert load(host=host, api_token=token).is_exposed is exposed


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
    ],
)
def test_the_address_is_one_that_can_be_reached(host: str, address: str) -> None:
    assert load(host=host, port=80, api_token="t").address == address


def test_the_example_file_is_valid(alone: Path) -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "reelfarm.toml"
    (alone / "reelfarm.toml").write_text(example.read_text())
    assert load().s3_bucket == "films"
