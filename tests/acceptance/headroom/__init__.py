"""The real Headroom between the relay's image and the imitation of the API."""
