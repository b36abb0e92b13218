"""A page that is not quite as expected."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.commands.top.figures import compute, to_json
from relay.commands.top.page import Call, NotThePageError, read_snapshot
from tests.unit.commands.top.pages import NO_TOKENS, NOW, finished, page, picture, running


class TestReading:
    """A page that is not quite as expected."""

    @pytest.mark.parametrize("text", ["", "ready", "[]", "null", "[" * 100_000])
    def test_what_is_no_object_is_refused(self, text: str) -> None:
        """Something else answers there."""
        with pytest.raises(NotThePageError):
            read_snapshot(text)

    def test_missing_keys_are_unknown(self) -> None:
        """An empty object is an empty page."""
        snapshot = read_snapshot("{}")
        assert (snapshot.time, snapshot.in_flight, snapshot.recent) == (None, (), ())
        assert read_snapshot('{"in_flight": [{}]}').in_flight == (Call(),)

    @pytest.mark.parametrize("value", ['"7"', "true", "-1", "NaN", "Infinity", "1e300", "null"])
    def test_no_number_is_unknown(self, value: str) -> None:
        """Only a number that can be meant is one."""
        assert read_snapshot(f'{{"in_flight": [{{"age": {value}}}]}}').in_flight[0].age is None
        assert read_snapshot(f'{{"time": {value}}}').time is None

    def test_types_of_tokens_that_are_missing_are_none(self) -> None:
        """No tokens at all are unknown; some are all that there were."""
        calls = read_snapshot(page(in_flight=[running(1), running(1, tokens={"output": 3})]))
        assert [call.tokens for call in calls.in_flight] == [None, NO_TOKENS | {"output": 3}]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
CALLS = st.lists(
    st.dictionaries(
        st.sampled_from([*finished(0), "age", "first_token", "model", "tokens"]), VALUES
    )
)
STATES = st.dictionaries(
    st.text(max_size=9),
    st.fixed_dictionaries(
        {
            "upstream": VALUES,
            "credential": VALUES,
            "refused": VALUES,
            "quotas": st.lists(st.fixed_dictionaries({"window": VALUES, "utilization": VALUES})),
            "limits": st.lists(st.fixed_dictionaries({"kind": VALUES, "reset": VALUES})) | VALUES,
        }
    ),
    max_size=3,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)  # each draws a picture
@given(time=VALUES, in_flight=CALLS | VALUES, recent=CALLS | VALUES, relays=STATES | VALUES)
def test_no_page_breaks_the_view(
    time: object, in_flight: object, recent: object, relays: object
) -> None:
    """Whatever the values are, there are figures, JSON and a picture that only prints."""
    text = page(time=time, in_flight=in_flight, recent=recent, relays=relays)
    snapshot = read_snapshot(text)
    json.dumps(to_json(compute(snapshot, snapshot.time or NOW)), allow_nan=False)
    assert all(letter.isprintable() or letter == "\n" for letter in picture(text))
