"""What else reads the topic: one file a contender, one process each, ended by its meter."""
