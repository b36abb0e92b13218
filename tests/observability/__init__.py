"""Checks of what surrounds the metrics: rules, alerts, dashboard and their documentation."""
