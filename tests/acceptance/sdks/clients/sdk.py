"""An SDK for Python makes the calls of `cases.json`: what came of each, as a line of JSON.

Runs in an environment of its own: `python sdk.py API BASE_URL KEY CASE...`, with - for both where
the environment has them. `sdk.mjs` does the same with an SDK for TypeScript.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

Facts = dict[str, Any]


def main() -> None:
    """Run the cases and print what came of each."""
    api, base_url, key, *names = sys.argv[1:]
    cases = json.loads(Path(__file__).with_name("cases.json").read_text())[api]
    sdk, calls = import_module(api), import_module(f"{api}_sdk")
    say({"case": "version", "version": sdk.__version__})
    # What is not given is looked for in the environment.
    given = {} if base_url == "-" else {"base_url": base_url, "api_key": key}
    with calls.Client(**given, max_retries=0) as client:
        for name in names:
            say({"case": name, **facts_of(sdk, calls, client, cases[name])})


def facts_of(sdk: Any, calls: Any, client: Any, case: Facts) -> Facts:  # noqa: ANN401  # of either API
    """Return what came of a case."""
    options = {"max_retries": case.get("retries", 0), "timeout": case.get("seconds", 20)}
    call = getattr(calls, case["call"])
    given = [case["text"]] if "text" in case else []
    try:
        facts: Facts = call(client.with_options(**options), *given)
    except Exception as error:
        if not case.get("raises"):
            raise
        return {
            "raised": type(error).__name__,
            "api_error": isinstance(error, sdk.APIError),
            "status": getattr(error, "status_code", None),
            "message": str(error),
        }
    return {"returned": facts} if case.get("raises") else facts


def say(facts: Facts) -> None:
    """Print a line."""
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
