"""State for the person on call: the running processes."""
