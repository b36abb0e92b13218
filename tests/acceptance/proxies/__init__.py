"""Proxies that companies run, on the way out: Squid, which tunnels, and mitmproxy, which reads."""
