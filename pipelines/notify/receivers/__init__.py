"""Receivers of alerts: one file each."""
