"""Commands for the person on call: state, checks, settings, rejected requests."""
