"""The environment variables that settings have."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from monitor.config import Settings


def setting_defaults(model: type[BaseModel] = Settings, prefix: str = "XM_") -> dict[str, Any]:
    """Default by environment variable, of all settings."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= setting_defaults(field.annotation, f"{variable}__")
        else:
            found[variable] = field.default
    return found
