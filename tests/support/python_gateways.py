"""Gateways in Python: FastAPI with our middleware, and the LiteLLM proxy with our callback."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.gateways import SHIPPED, Gateway

ROOT = Path(__file__).parents[2]


class PythonGateway(Gateway):
    """Settings in the environment.

    Args:
        api: port of the model server.
        monitor: port of the decision service; `None` runs without ours, to compare.
        chosen: more environment variables.
    """

    def __init__(self, folder: Path, api: int, monitor: int | None, **chosen: str) -> None:
        super().__init__(folder, api, monitor or 0)
        self.environment = {
            "PYTHONPATH": str(ROOT),
            "MODEL_SERVER": f"http://127.0.0.1:{api}",
            **chosen,
        }
        if monitor is not None:
            self.environment["XM_GATEWAY__URL"] = f"http://127.0.0.1:{monitor}"
            self.environment["XM_GATEWAY__TIMEOUT_SECONDS"] = "10"  # for a busy machine

    def program(self) -> list[str]:
        raise NotImplementedError

    def command(self) -> list[str]:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *variables, *self.program()]


class Asgi(PythonGateway):
    """FastAPI on uvicorn."""

    def configure(self) -> None:
        pass

    def program(self) -> list[str]:
        app = "tests.support.asgi_gateway:app"
        return [sys.executable, "-m", "uvicorn", app, "--port", str(self.port)]


class LiteLLM(PythonGateway):
    """The LiteLLM proxy, from the environment that XM_TEST_LITELLM names."""

    def configure(self) -> None:
        config: dict[str, Any] = yaml.safe_load((SHIPPED / "litellm/config.yaml").read_text())
        [model] = config["model_list"]
        model["model_name"] = "m"  # of `gateways.chat`
        model["litellm_params"]["api_base"] = f"http://127.0.0.1:{self.api}/v1"
        if not self.monitor:
            del config["litellm_settings"]["callbacks"]
        config["general_settings"] = {"custom_auth": "tests.support.litellm_auth.authenticate"}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        self.environment |= {
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(24)}",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # asks no server on the internet for prices
            "MODEL_API_KEY": "none",
        }

    def program(self) -> list[str]:
        config = str(self.folder / "config.yaml")
        listen = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [litellm(), "--config", config, *listen]


def litellm() -> str:
    """The program `litellm`, whose environment has our extra `litellm`."""
    path = os.environ.get("XM_TEST_LITELLM") or shutil.which("litellm")
    if path is None and os.environ.get("XM_TEST_REQUIRE"):
        pytest.fail("XM_TEST_LITELLM does not name the program litellm, and XM_TEST_REQUIRE is set")
    if path is None:
        pytest.skip("XM_TEST_LITELLM does not name the program litellm")
    return path
