"""The rules of the wire as an executable specification, over raw sockets.

Each table says what is sent, byte for byte, what comes back, and what the upstream may have
seen. ``strict`` reads both sides with a parser of its own, which shares nothing with the
relay's; ``fuzz`` asks the same of mutated requests and answers.
"""

import pytest

pytest.register_assert_rewrite("tests.wire.answer", "tests.wire.ends", "tests.wire.playing")
