"""The farm's settings: the only reader of the environment.

Each has a default that works on one machine. ``REELFARM_…`` variables override
``reelfarm.toml`` in the working directory, which overrides the defaults.
"""

from __future__ import annotations

import os
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from farm import room
from farm.errors import SettingsError

PREFIX = "REELFARM_"
FILE = "reelfarm.toml"
#: What a variable holds to say that a setting is not set, whatever the file says.
NONE = "null"
#: Variables of that prefix which are no settings of ours: those of the tests, and those that
#: Kubernetes adds where a service is called ``reelfarm``.
_FOREIGN = re.compile(rf"{PREFIX}(TEST_\w+|(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+))")
_BOUNDS = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_VALUE = re.compile(r"[\x21-\x7e][\x20-\x7e]*")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _begins_with(*schemes: str) -> AfterValidator:
    """The rule that a URL is one of these; its value, which may hold a password, is not told."""

    def check(url: str) -> str:
        if not url.startswith(schemes):
            raise ValueError(f"it has to begin with {' or '.join(schemes)}")
        return url

    return AfterValidator(check)


def bounds_of(text: str) -> tuple[int, int]:
    """Least and most of ``least-most``. Raises ValueError."""
    found = _BOUNDS.fullmatch(text)
    least, most = map(int, found.groups()) if found else (1, 0)
    if least > most:
        raise ValueError("it has to be LEAST-MOST, such as 0-10")
    return least, most


def _check_bounds(text: str) -> str:
    bounds_of(text)
    return text


_Bounds = Annotated[str, AfterValidator(_check_bounds)]
_HttpUrl = Annotated[str, _begins_with("http://", "https://")]
_RedisUrl = Annotated[str, _begins_with("redis://", "rediss://", "unix://")]
#: An empty one, as templates of secrets have it, is none.
_Unless = BeforeValidator(lambda value: value or None)
_Key = Annotated[str | None, _Unless]
_Secret = Annotated[SecretStr | None, _Unless]


def _without_keys(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, where the endpoint has the keys in it (``https://KEY:SECRET@host``) apart.

    As in a Redis URL, they are percent-encoded. Keys that are named on their own stand.
    """
    scheme, separator, rest = str(values.get("s3_endpoint") or "").partition("://")
    keys, at, host = rest.rpartition("@")
    if not at or "/" in keys:
        return values
    access, _, secret = keys.partition(":")
    found = {"s3_access_key": unquote(access), "s3_secret_key": unquote(secret)}
    given = {name: values[name] for name in found if values.get(name)}
    return {**values, **found, **given, "s3_endpoint": f"{scheme}{separator}{host}"}


def headers_of(text: str) -> dict[str, str]:
    """Headers by name, from ``name=value,name=value``. Raises ValueError, which tells no value."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    known = {name.strip(): value.strip() for name, _, value in pairs}
    if not all(_HEADER.fullmatch(name) and _VALUE.fullmatch(known[name]) for name in known):
        raise ValueError("it has to be name=value,name=value")
    return known


def _check_headers(headers: SecretStr) -> SecretStr:
    headers_of(headers.get_secret_value())
    return headers


class Settings(BaseSettings):
    """Every setting. ``None`` for an endpoint or URL means: start the embedded part."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_parse_none_str=NONE,
        toml_file=FILE,
        extra="forbid",
        frozen=True,
    )

    #: Everything a run leaves on this machine.
    data_dir: Path = Path(".reelfarm")

    s3_endpoint: _HttpUrl | None = None
    s3_region: str = "us-east-1"
    s3_bucket: str = "reelfarm"
    s3_prefix: str = ""
    s3_access_key: _Key = None
    s3_secret_key: _Secret = None
    #: PEM file to check the endpoint's certificate with; None for the system's.
    s3_ca_file: Path | None = None
    #: True where ``s3_endpoint`` is left out on purpose because the storage is AWS itself.
    s3_aws: bool = False

    redis_url: _RedisUrl | None = None
    namespace: str = "reelfarm"

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    #: What playback URLs begin with; None for what the request was sent to.
    public_url: _HttpUrl | None = None
    #: Where the commands that talk to a farm find it; None for the one running here.
    url: str | None = None
    #: Without one, only loopback addresses are served.
    api_token: _Secret = None
    #: A further one that is good for ``GET /metrics`` and for nothing else.
    metrics_token: _Secret = None

    #: Bytes; uploads over it end as 413.
    max_upload: int = 64 * 1024**3
    #: Seconds of film, and pixels of a picture, over which a source is refused.
    max_duration: float = 12 * 3600.0
    max_pixels: int = 8192 * 4352

    #: Encode slots on this host; 0 for one per core, and no more than there is memory for.
    slots: int = Field(default=0, ge=0)
    head_slots: int = Field(default=1, ge=0)
    #: Encode slots that stand by while nothing is to be done; with 0, head slots go, too.
    min_slots: int = Field(default=1, ge=0)
    #: Seconds without need after which slots go. Until then one costs its memory; to start it anew
    #: costs a second of a core, just when an upload is to become playable.
    slot_cooldown: float = Field(default=60.0, ge=0)
    #: Whom ``reelfarm autoscale`` tells how many workers the farm is to have: whoever reads the
    #: metrics (``report``), a program of the operator's, or CloudWatch.
    autoscale_target: Literal["report", "command", "cloudwatch"] = "report"
    #: Least and most workers of each pool of the whole farm; a pool with 0-0 is left alone.
    autoscale_head: _Bounds = "0-0"
    autoscale_cpu: _Bounds = "0-10"
    autoscale_gpu: _Bounds = "0-0"
    #: Seconds from a decision to a worker's first part, and between two decisions.
    autoscale_start: float = Field(default=60.0, ge=0)
    autoscale_every: float = Field(default=10.0, ge=0.1)
    #: Seconds within which what waits is to be done, and without need after which workers go;
    #: None for what suits workers that take so long to start.
    autoscale_drain: float | None = Field(default=None, ge=0)
    autoscale_cooldown: float | None = Field(default=None, ge=0)
    #: Most workers added, and taken away, by one decision; None for any number.
    autoscale_step_up: int | None = Field(default=None, ge=1)
    autoscale_step_down: int | None = Field(default=None, ge=1)
    #: The program and its arguments, split as a shell would but run by none; and its seconds.
    autoscale_command: str | None = None
    autoscale_timeout: float = Field(default=60.0, gt=0)
    #: CloudWatch: the namespace of the metrics, its region, and another address than Amazon's.
    cloudwatch_namespace: str = "Reelfarm"
    cloudwatch_region: str | None = None
    cloudwatch_endpoint: _HttpUrl | None = None

    #: What encodes pictures: ``auto`` takes a graphics processor where one of the farm works.
    encoder: Literal["auto", "software", "nvenc", "vaapi", "qsv", "videotoolbox"] = "software"
    #: Slots of the GPU pool on this host; the device, by index or render node, None for the first;
    #: and the sessions its driver grants at once, 0 for as many as one likes.
    gpu_slots: int = Field(default=0, ge=0)
    gpu_device: Annotated[str, Field(pattern=r"^(\d{1,3}|/dev/dri/renderD\d{1,3})$")] | None = None
    gpu_sessions: int = Field(default=0, ge=0)
    #: Seconds a drained worker may take to finish its part before it gives it back.
    drain_timeout: float = 600.0

    #: Bytes of sources that this host keeps on its disk while they are worked on, 0 for none; None
    #: for 4 GiB or a tenth of the free disk. The folder is below ``data_dir`` unless it is named.
    source_cache: int | None = Field(default=None, ge=0)
    source_cache_dir: Path | None = None

    #: A profile file of your own, in place of the package's default.
    profile: Path | None = None
    ffmpeg: Path | None = None
    ffprobe: Path | None = None

    log_format: Literal["auto", "json", "text"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Bytes that the log files below ``data_dir`` take at the most; 0 for none.
    log_files: int = Field(default=128 * 1024**2, ge=0)

    #: Where an OpenTelemetry collector takes OTLP by HTTP; None for no traces.
    otlp_endpoint: _HttpUrl | None = None
    #: Headers it wants, as ``name=value,name=value``.
    otlp_headers: Annotated[SecretStr, AfterValidator(_check_headers)] | None = None
    #: Share of the uploads that are traced, unless their caller decided.
    trace_sample: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _take_keys(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _without_keys(values)

    @property
    def encode_slots(self) -> int:
        """Encode slots with the default worked out."""
        return self.slots or room.slots(room.cores(), room.memory())

    @property
    def address(self) -> str:
        """Where the API is reached from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_exposed(self) -> bool:
        """Whether anybody who reaches this machine could use the API."""
        return self.api_token is None and self.host not in LOOPBACK

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(**options: Any) -> Settings:
    """The settings, ``options`` that are not None first. Raises :class:`SettingsError`."""
    return _settings({key: value for key, value in options.items() if value is not None})


def replaced(settings: Settings, **changes: Any) -> Settings:
    """The same settings but for ``changes``. Raises :class:`SettingsError`."""
    return _settings({**settings.model_dump(), **changes})


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which a child process has exactly these settings."""
    own = {PREFIX + key.upper(): _text(value) for key, value in settings.model_dump().items()}
    return foreign_environment() | own


def foreign_environment() -> dict[str, str]:
    """The environment without anything of the farm's, for programs that are none of its own."""
    return {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}


def _settings(values: dict[str, Any]) -> Settings:
    _check_environment()
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise SettingsError(f"{FILE} cannot be read: {error}") from error


def _check_environment() -> None:
    """Refuse what is no setting: a misspelt one would be ignored without a word."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    names = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
    wrong = [name for name in names if name.upper() not in known and not _FOREIGN.fullmatch(name)]
    if wrong:
        said = "\n  ".join(f"{name}: there is no such setting{_meant(name)}" for name in wrong)
        raise SettingsError(f"The environment will not do.\n  {said}")


def _meant(name: str) -> str:
    known = [PREFIX + each.upper() for each in Settings.model_fields]
    close = get_close_matches(name.upper(), known, 1, 0.8)
    return f"; did you mean {close[0]}?" if close else ""


def _text(value: Any) -> str:
    if value is None:
        return NONE
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        said = "there is no such setting" if unknown else problem["msg"]
        said = said.removeprefix("Value error, ")
        lines.append(f"{name} ({PREFIX}{name.upper()} or {FILE}): {said}")
    return "The settings will not do.\n  " + "\n  ".join(lines)
