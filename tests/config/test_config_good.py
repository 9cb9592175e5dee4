"""The configuration that is right: where it is found, what the environment changes, where each value came from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sigprobe.config import Config, ConfigError, load
from sigprobe.config.fields import field_of
from sigprobe.config.schema import config_schema
from sigprobe.config.show import origins, to_yaml, values
from sigprobe.files import locations
from sigprobe.measure import KINDS
from sigprobe.measure.schema import result_schema

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "config.example.yaml"


# --- the example file -----------------------------------------------------------------------------------------


def test_the_example_loads() -> None:
    """The file that people copy is right as it stands."""
    loaded = load(EXAMPLE, {})
    assert {target.kind for target in loaded.config.targets} == {k.name for k in KINDS.values() if k.configurable}


def test_the_example_shows_every_key() -> None:
    """Every key of the model and of every kind stands in the example, in use or behind a #."""
    shown = set(re.findall(r"^[ #-]*([a-z_]+):", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    missing = {name for model in _models(Config) for name in model.model_fields} - shown
    assert not missing


def test_the_example_comments_every_value() -> None:
    """No value is left unexplained: a comment stands behind it or in the line above its group."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    required = ("kind", "name", "per_run_mb", "per_day_mb", "per_month_mb", "url")
    bare = [
        line
        for line in lines
        if re.match(r"^[ -]*[a-z_]+: +[^#\s]", line)
        and "#" not in line
        and re.match(r"[ -]*([a-z_]+)", line)[1] not in required  # type: ignore[index]
    ]
    assert not bare


def test_the_example_shows_the_defaults() -> None:
    """A value that is not the default says so with the word `example` in its line."""
    loaded = load(EXAMPLE, {})
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    seen = 0
    for key, value, default in _defaults(loaded.config, ""):
        seen += 1
        origin = loaded.origin(key)
        if value != default:
            assert "example" in lines[(origin.line or 0) - 1], key
    assert seen > 30


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model and every one inside it, through lists, groups by name and unions."""
    found = {model}
    waiting: list[Any] = [member for info in model.model_fields.values() for member in field_of(info).members]
    while waiting:
        member = waiting.pop()
        if isinstance(member, type) and issubclass(member, BaseModel):
            found |= _models(member)
        else:
            waiting.extend(get_args(member))
    return found


def _defaults(model: BaseModel, under: str) -> list[tuple[str, object, object]]:
    """Every value that has a default, with it, by dotted key."""
    found: list[tuple[str, object, object]] = []
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        key = f"{under}.{name}" if under else name
        if isinstance(value, BaseModel):
            found += _defaults(value, key)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for index, item in enumerate(value):
                found += _defaults(item, f"{key}[{index}]")
        elif isinstance(value, dict):
            for inner, item in value.items():
                found += _defaults(item, f"{key}.{inner}")
        else:
            default = info.get_default(call_default_factory=True, validated_data={})
            if default is not PydanticUndefined and name != "kind":
                found.append((key, value, default))
    return found


# --- where it is found ----------------------------------------------------------------------------------------


def _write(path: Path, site: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"probe: {{site: {site}}}\ntargets: [{{kind: ping, name: a, address: default-gateway}}]\n")
    return path


def test_the_first_file_found_is_used_whole(tmp_path: Path) -> None:
    """--config before $SIGPROBE_CONFIG before the user's before the system's; nothing is merged."""
    root = tmp_path / "etc"
    with pytest.raises(ConfigError) as caught:
        load(None, {}, root)
    assert caught.value.missing

    system = _write(root / "sigprobe" / "config.yaml", "system")
    system.write_text(system.read_text() + "profile: other\n")
    assert load(None, {}, root).config.probe.site == "system"
    assert load(None, {}, root).config.profile == "other"

    _write(locations.user_file(), "user")
    assert load(None, {}, root).config.probe.site == "user"
    assert load(None, {}, root).config.profile == "sirekap-need"

    named = {"SIGPROBE_CONFIG": str(_write(tmp_path / "named.yaml", "named"))}
    assert load(None, named, root).config.probe.site == "named"
    assert load(_write(tmp_path / "flag.yaml", "flag"), named, root).config.probe.site == "flag"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Whoever names a file gets that one or an error, never quietly another one."""
    _write(locations.user_file(), "user")
    with pytest.raises(ConfigError, match=r"gone\.yaml: this file does not exist\."):
        load(None, {"SIGPROBE_CONFIG": str(tmp_path / "gone.yaml")}, tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path, good: Path) -> None:
    """Editors on Windows write one; the file is as good with it, and so are the columns."""
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + good.read_bytes())
    assert load(path, {}).origin("probe.tps_id").column == 9


def test_dots_and_spaces_in_a_tps_number_are_dropped(tmp_path: Path, good: Path) -> None:
    """The number may be written as on paper; 13 digits come out."""
    good.write_text(good.read_text().replace("3273011001005", "32.73.01 1001.005"))
    assert load(good, {}).config.probe.tps_id == "3273011001005"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8470/", "http://[::1]:8470/", "http://localhost/", "https://a.example/x/"]
)
def test_collector_addresses_that_are_fine(url: str, good: Path) -> None:
    """Plain http is allowed to this device alone; https to any."""
    good.write_text(good.read_text() + f"upload: {{collectors: [{{url: '{url}'}}]}}\n")
    assert load(good, {}).config.upload.collectors[0].url == url


@pytest.mark.parametrize("url", ["http://127.0.0.1.example/", "http://localhost.example/", "http://128.0.0.1/"])
def test_addresses_that_only_look_like_this_device(url: str, good: Path) -> None:
    """A host name that begins like loopback is still another device."""
    good.write_text(good.read_text() + f"upload: {{collectors: [{{url: '{url}'}}]}}\n")
    with pytest.raises(ConfigError, match="http is not safe"):
        load(good, {})


# --- the environment ------------------------------------------------------------------------------------------


def test_the_environment_overrides(good: Path) -> None:
    """Text stays text, numbers and lists are read as YAML, groups that the file lacks are made."""
    environ = {
        "SIGPROBE_PROBE__TPS_ID": "3101011001001",
        "SIGPROBE_LANGUAGE": "id",
        "SIGPROBE_SCHEDULE__EVERY_MIN": "5",
        "SIGPROBE_LOCATION__FIXED__LAT": "-6.9",
        "SIGPROBE_LOCATION__FIXED__LON": "107",
        "SIGPROBE_VERDICT__REFERENCES": '["9.9.9.9"]',
        "SIGPROBE_UPLOAD__COLLECTORS": "[{url: https://c.example/}]",
        "SIGPROBE_DATA_BUDGET__PER_DAY_MB": "null",
        "SIGPROBE_DATA_BUDGET__INTERFACES": "{wwan0: {per_day_mb: 200}}",
        "SIGPROBE_TOKEN": "secret",
        "SIGPROBE_LANG": "en",
        "SIGPROBE_DATABASE": "sqlite://",
        "SIGPROBE_BUFFER__PATH": "",
    }
    loaded = load(good, environ)
    config = loaded.config
    assert config.probe.tps_id == "3101011001001"
    assert config.schedule.every_min == 5
    assert config.location.fixed is not None
    assert (config.location.fixed.lat, config.location.fixed.lon) == (-6.9, 107)
    assert config.verdict.references == ("9.9.9.9",)
    assert config.upload.collectors[0].url == "https://c.example/"
    assert config.data_budget.per_day_mb is None
    assert config.data_budget.interfaces["wwan0"].per_day_mb == 200
    assert str(loaded.origin("probe.tps_id")) == "env SIGPROBE_PROBE__TPS_ID"
    assert str(loaded.origin("upload.collectors[0].url")) == "env SIGPROBE_UPLOAD__COLLECTORS"
    assert str(loaded.origin("targets[0].name")) == f"{good}:3"
    assert str(loaded.origin("buffer.path")) == "default"
    assert loaded.warnings == ()


def test_a_place_of_the_environment_replaces_the_other_kind_of_place(good: Path) -> None:
    """tps_id and site exclude each other, so an override takes the place of both."""
    config = load(good, {"SIGPROBE_PROBE__SITE": "0123"}).config
    assert (config.probe.tps_id, config.probe.site) == (None, "0123")


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"SIGPROBE_PROBE__TSP_ID": "1"},
            "SIGPROBE_PROBE__TSP_ID: no key of the settings has this name. Did you mean SIGPROBE_PROBE__TPS_ID?",
        ),
        (
            {"SIGPROBE_PROBE__TPS_ID": "12"},
            'SIGPROBE_PROBE__TPS_ID: probe.tps_id: "12" is not a TPS number: a TPS number has 13 digits.'
            ' For example: tps_id: "3273011001005"',
        ),
        (
            {"SIGPROBE_SCHEDULE__EVERY_MIN": "often"},
            "SIGPROBE_SCHEDULE__EVERY_MIN: schedule.every_min: must be a whole number from 1 to 1440,"
            ' not "often". For example: every_min: 15',
        ),
        (
            {"SIGPROBE_UPLOAD__COLLECTORS": "[{url: 5}]"},
            "SIGPROBE_UPLOAD__COLLECTORS: upload.collectors[0].url: must be text, not 5."
            ' For example: url: "https://collector.example/"',
        ),
    ],
)
def test_mistakes_of_the_environment(environ: dict[str, str], line: str, good: Path) -> None:
    """A mistake names the variable, as a mistake of the file names its line."""
    with pytest.raises(ConfigError) as caught:
        load(good, environ)
    assert caught.value.render() == line


def test_variables_of_others_are_left_alone(good: Path) -> None:
    """Kubernetes sets SIGPROBE_PORT for a service of that name; only a near miss of ours is worth a warning."""
    assert load(good, {"SIGPROBE_PORT": "tcp://10.0.0.1:80"}).warnings == ()
    (warning,) = load(good, {"SIGPROBE_LANGAUGE": "id"}).warnings
    assert warning == "SIGPROBE_LANGAUGE is set, but sigprobe does not know it. Did you mean SIGPROBE_LANGUAGE?"


# --- what is shown --------------------------------------------------------------------------------------------


def test_what_is_shown_loads_back(tmp_path: Path) -> None:
    """`config show` prints a file that means the same."""
    loaded = load(EXAMPLE, {"SIGPROBE_PROBE__OPERATOR": "no"})
    path = tmp_path / "shown.yaml"
    path.write_text(to_yaml(loaded, with_origin=True), encoding="utf-8")
    assert load(path, {}).config == loaded.config
    assert yaml.safe_load(to_yaml(loaded)) == values(loaded)


def test_every_value_has_an_origin(good: Path) -> None:
    """File with its line, variable with its name, or default: no value is of unknown origin."""
    found = origins(load(good, {"SIGPROBE_SCHEDULE__EVERY_MIN": "5"}))
    assert found["probe.tps_id"] == f"{good}:1"
    assert found["targets[0].address"] == f"{good}:3"
    assert found["targets[0].count"] == "default"
    assert found["schedule.every_min"] == "env SIGPROBE_SCHEDULE__EVERY_MIN"
    assert found["upload.collectors"] == "default"


# --- the published schemas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config", "result"])
def test_the_published_schemas_are_in_step(name: str) -> None:
    """The files under docs/schema are what `config schema` prints now."""
    document = config_schema() if name == "config" else result_schema()
    published = (ROOT / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8")
    command = f"sigprobe config schema {name} > docs/schema/{name}.json"
    assert json.loads(published) == json.loads(json.dumps(document)), f"run: {command}"


def test_definitions_are_named_after_the_kind() -> None:
    """The names of the schema's definitions follow the kinds, never the place of a module."""
    schema = config_schema()
    kinds = [name for name, kind in KINDS.items() if kind.configurable]
    assert {f"{name.title()}Options" for name in kinds} <= set(schema["$defs"])
    assert not [name for name in schema["$defs"] if "__" in name]
    named = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
    assert named <= set(schema["$defs"])


def test_the_config_schema_takes_the_example() -> None:
    """The schema is of use in an editor: it takes the example and refuses an unknown key."""
    import jsonschema

    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "profil": "x"}, schema)
