"""The process: it says its port, then takes rounds as lines of JSON and answers each with one."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping
from typing import Final

from tests.bench.load.loop import Loop, Problem
from tests.bench.load.paced import paced
from tests.bench.load.streams import Asked, Ends
from tests.bench.load.unpaced import unpaced
from tests.bench.load.uploads import uploads
from tests.bench.load.upstream import Upstream

_ROUNDS: Final[dict[str, Callable[[Ends, Asked], dict[str, float]]]] = {
    "paced": paced,
    "unpaced": unpaced,
    "uploads": uploads,
}


def main() -> None:
    """Serve until there is no more input."""
    loop = Loop()
    ends = Ends(loop, Upstream(loop))
    # Nothing here makes cycles; a collection would be mistaken for a peer's delay.
    gc.disable()
    _say({"port": ends.upstream.port})
    for line in sys.stdin:
        asked = Asked(**json.loads(line))
        try:
            _say(_ROUNDS[asked.kind](ends, asked))
        except (Problem, OSError) as problem:
            _say({"problem": f"{type(problem).__name__}: {problem}"})


def _say(document: Mapping[str, float | str]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
