"""Bundles: a case and its documents in one file that anybody can verify offline."""
