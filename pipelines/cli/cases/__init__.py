"""Commands on cases, reports, sharing and tracing."""
