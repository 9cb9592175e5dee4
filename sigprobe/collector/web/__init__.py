"""Shared parts of the collector's web application: settings, state, errors, templates, styles."""
