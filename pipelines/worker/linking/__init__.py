"""What a worker sends to the linker besides fingerprints."""
