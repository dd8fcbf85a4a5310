"""Alerts that are one incident to the person on call."""
