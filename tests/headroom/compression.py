"""What Headroom makes of a prompt: less of it.

The real one drops what it finds redundant. The stand-in puts one space for each run of
whitespace in the text of messages: it is deterministic, says the same, and saves a little.
"""

import json
import re
from dataclasses import dataclass

_RUN = re.compile(r"\s{2,}")
# Members that hold what is said, in Anthropic's API and in both of OpenAI's.
_PROMPTS = ("messages", "system", "input", "instructions")
_TEXTS = ("text", "content")
# Rule of thumb of both providers.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Tokens:
    """What Headroom says it has saved."""

    before: int
    after: int

    @property
    def saved(self) -> int:
        """Return how many tokens fewer went on."""
        return self.before - self.after


def tokens_of(before: bytes, after: bytes) -> Tokens:
    """Estimate the tokens of a request body before and after its compression."""
    return Tokens(len(before) // _BYTES_PER_TOKEN, len(after) // _BYTES_PER_TOKEN)


def compressed(body: bytes) -> bytes:
    """Return a request body with less whitespace in its prompt; what is no JSON object as it is."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    if not isinstance(document, dict):
        return body
    shorter = {key: _short(each) if key in _PROMPTS else each for key, each in document.items()}
    return body if shorter == document else json.dumps(shorter, separators=(",", ":")).encode()


def _short(part: object) -> object:
    match part:
        case str():
            return _RUN.sub(" ", part)
        case list():
            return [_short(each) for each in part]
        case dict():
            return {key: _short(each) if key in _TEXTS else each for key, each in part.items()}
    return part
