"""Everyone else's clients through the relay: the SDKs of Anthropic and OpenAI, and Codex."""
