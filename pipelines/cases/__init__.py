"""Cases: collecting, recording, reviewing and reporting what was found."""
