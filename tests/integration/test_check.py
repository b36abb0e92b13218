"""``relay check`` where a command prints the credential."""

from pathlib import Path

from relay.commands.check import describe
from tests.harness.agent_yaml import settings_of

API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"


async def test_check_runs_commands_once(tmp_path: Path) -> None:
    """To say whether they work, without what they print."""
    source = f"{{command: [/bin/echo, {API_KEY}]}}"
    text = f"grants: [{{name: anthropic, source: {source}}}]\nclaude: {{base_url: http://h}}\n"
    shown = "\n".join(await describe(settings_of(tmp_path, text)))
    assert "anthropic, is there, from the command echo" in shown
    assert API_KEY not in shown
