"""What state the running system is in, and what is wrong with it."""
