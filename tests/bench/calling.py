"""What is asked and answered: a call of Claude Code's, as wide as those are.

Whoever calls presents TOKEN and must get the answer of an upstream that takes nothing but
KEY: a peer that does not do the work gives wrong answers.
"""

from __future__ import annotations

import json
from typing import Final

PATH: Final = "/v1/messages"
TOKEN: Final = "relay-b7Kq2Xw9Tn4Vc6Ym1Zr8Hd3Js5Lf0Gp"
KEY: Final = "sk-ant-api03-x4Bn7Qv1Mz9Lk2Wt6Yc8Rd3Hs5Jf0Gp-pA3eTw"
REQUEST_BYTES: Final = 2048
ANSWER_BYTES: Final = 1024
MODEL: Final = "claude-opus-4-5-20251101"
HEADERS: Final = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "*",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,"
    "fine-grained-tool-streaming-2025-05-14",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "sec-fetch-mode": "cors",
    "user-agent": "claude-cli/2.0.76 (external, cli)",
    "x-app": "cli",
    "x-stainless-arch": "x64",
    "x-stainless-lang": "js",
    "x-stainless-os": "Linux",
    "x-stainless-package-version": "0.70.0",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "node",
    "x-stainless-runtime-version": "v24.3.0",
    "x-stainless-timeout": "600",
}
ANSWER_HEADERS: Final = {
    "request-id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    "anthropic-organization-id": "1f0c5d0e-1f6d-4b62-9f6a-6f1f5b8f8d0c",
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "3999",
    "anthropic-ratelimit-requests-reset": "2030-01-01T00:00:00Z",
    "anthropic-ratelimit-input-tokens-limit": "2000000",
    "anthropic-ratelimit-input-tokens-remaining": "1999000",
    "anthropic-ratelimit-input-tokens-reset": "2030-01-01T00:00:00Z",
    "anthropic-ratelimit-output-tokens-limit": "400000",
    "anthropic-ratelimit-output-tokens-remaining": "400000",
    "anthropic-ratelimit-output-tokens-reset": "2030-01-01T00:00:00Z",
}


def request_body() -> str:
    """Return a request of REQUEST_BYTES."""
    return _filled(
        {
            "model": MODEL,
            "max_tokens": 32000,
            "metadata": {"user_id": "user_5f2b_account__session_0c1e4a52"},
            "messages": [{"role": "user", "content": "@"}],
        },
        REQUEST_BYTES,
    )


def answer_body() -> str:
    """Return an answer of ANSWER_BYTES."""
    return _filled(
        {
            "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [{"type": "text", "text": "@"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 612,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 18432,
                "output_tokens": 148,
                "service_tier": "standard",
            },
        },
        ANSWER_BYTES,
    )


def _filled(document: dict[str, object], size: int) -> str:
    """Return the document as JSON with words in the place of its ``@``."""
    text = json.dumps(document, separators=(",", ":"))
    words = "Every event that the upstream sends is written to the agent as it is read. " * 40
    return text.replace("@", words[: size - len(text) + 1])
