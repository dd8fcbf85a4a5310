"""Data and drawings of charts."""
