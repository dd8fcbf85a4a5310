"""Reports: documents about cases, as Markdown, HTML and PDF."""
