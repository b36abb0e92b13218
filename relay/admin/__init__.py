"""The admin listener: /metrics, /healthz, /readyz, /calls, and the page with its /events."""
