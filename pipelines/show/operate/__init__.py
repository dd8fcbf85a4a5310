"""Tables of the commands for the person on call."""
