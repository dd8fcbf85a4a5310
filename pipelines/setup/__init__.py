"""The first configuration: questions, and the files that `xm init` writes."""
