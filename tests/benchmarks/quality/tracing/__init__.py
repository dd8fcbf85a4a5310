"""Tracing: power to find a mark in a trained model, false claims, and what defeats it."""
