"""The project's own compose.yaml, brought up and used from inside an agent's container."""
