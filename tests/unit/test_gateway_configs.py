"""Configurations of gateways that do not run here: names, types and limits as documented.

APISIX: https://apisix.apache.org/docs/apisix/plugins/forward-auth/, …/file-logger/,
…/proxy-rewrite/. Kong: https://developer.konghq.com/gateway/entities/plugin/.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from monitor.requests.decoder import Decoder

GATEWAYS = Path(__file__).parents[2] / "deploy/gateways"
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
APISIX_PLUGINS: dict[str, dict[str, Any]] = {
    "forward-auth": {
        "type": "object",
        "properties": {
            "uri": {"type": "string", "pattern": "^https?://"},
            "ssl_verify": {"type": "boolean"},
            "request_method": {"enum": ["GET", "POST"]},
            "request_headers": TEXTS,
            "upstream_headers": TEXTS,
            "client_headers": TEXTS,
            "extra_headers": {"type": "object", "additionalProperties": TEXT},
            "timeout": {"type": "integer", "minimum": 1, "maximum": 60_000},
            "keepalive": {"type": "boolean"},
            "keepalive_timeout": {"type": "integer", "minimum": 1_000},
            "keepalive_pool": {"type": "integer", "minimum": 1},
            "allow_degradation": {"type": "boolean"},
            "status_on_error": {"type": "integer", "minimum": 200, "maximum": 599},
        },
        "required": ["uri"],
        "additionalProperties": False,
    },
    "proxy-rewrite": {
        "type": "object",
        "properties": {
            "headers": {
                "type": "object",
                "properties": {"remove": TEXTS},
                "additionalProperties": False,
            }
        },
        "additionalProperties": False,
    },
    "file-logger": {
        "type": "object",
        "properties": {
            "path": TEXT,
            "log_format": {"type": "object", "additionalProperties": TEXT},
        },
        "required": ["path"],
        "additionalProperties": False,
    },
}


def apisix() -> dict[str, Any]:
    text = (GATEWAYS / "apisix/apisix.yaml").read_text()
    assert text.endswith("\n#END\n")  # else APISIX does not load the file
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_apisix_plugins_have_documented_attributes() -> None:
    config = apisix()
    (route,) = config["routes"]
    assert route["upstream_id"] in {each["id"] for each in config["upstreams"]}
    assert route["plugins"].keys() == APISIX_PLUGINS.keys()
    for name, attributes in route["plugins"].items():
        jsonschema.validate(attributes, APISIX_PLUGINS[name])


def test_apisix_log_is_read_with_the_preset_for_nginx() -> None:
    (route,) = apisix()["routes"]
    values = {
        "$msec": "1772013600.5",
        "$http_authorization": "Bearer sk-1",
        "$status": "200",
        "$request_body": '{"messages": [{"role": "user", "content": "Hello"}]}',
    }
    log_format = route["plugins"]["file-logger"]["log_format"]
    line = {name: values.get(variable, "") for name, variable in log_format.items()}
    decoded = Decoder("nginx").decode([json.dumps(line).encode()], 2e9)
    (event,) = decoded.events
    assert (event.api_key, event.prompt, event.ts) == ("sk-1", "Hello", 1_772_013_600.5)


def test_kong_configuration_has_documented_entities() -> None:
    config = yaml.safe_load((GATEWAYS / "kong/kong.yaml").read_text())
    assert config["_format_version"] == "3.0"
    (service,) = config["services"]
    assert service.keys() <= {"name", "url", "routes", "read_timeout"}
    plugins = {each["name"]: each["config"] for each in config["plugins"]}
    assert list(plugins) == ["key-auth", "extraction-monitor", "file-log"]
    schema = (GATEWAYS / "kong/extraction-monitor/schema.lua").read_text()
    assert set(re.findall(r"^ +\{ (\w+) = ", schema, re.MULTILINE)) - {"protocols", "config"} == (
        plugins["extraction-monitor"].keys()
    )


@pytest.mark.parametrize("folder", ["envoy", "haproxy", "kong", "apisix", "nginx", "redis-lua"])
def test_every_gateway_has_a_readme_that_names_its_files(folder: str) -> None:
    readme = (GATEWAYS / folder / "README.md").read_text()
    for file in (GATEWAYS / folder).iterdir():
        assert file.name == "README.md" or file.name in readme
