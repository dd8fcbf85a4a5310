"""Authentication for LiteLLM without a database: every API key is valid and has a user."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException
from litellm.proxy._types import UserAPIKeyAuth


async def authenticate(request: Any, api_key: str) -> UserAPIKeyAuth:
    if not api_key:
        raise HTTPException(401, "Send an API key.")
    return UserAPIKeyAuth(api_key=api_key, user_id=f"user of {api_key[-9:]}")
