"""Receive, store and show the results of many probes: the open monitoring centre."""
