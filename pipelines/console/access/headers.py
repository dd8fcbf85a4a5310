"""Security headers of every response, also of errors and files.

The content security policy permits own files only: no inline script or style, no other host, no
frame. Pages are kept in no cache, so nobody finds them in a browser after the sign-out. The
referrer stays on this site, and is sent there, because browsers otherwise send forms with an
unknown origin.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_FEATURES = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")

HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "permissions-policy": ", ".join(f"{name}=()" for name in _FEATURES),
    "x-robots-tag": "none",
}
_HSTS = "max-age=31536000"


def add_headers(headers: MutableHeaders, *, tls: bool, cache: str = "no-store") -> None:
    """Add the headers to a response, in place of its own.

    Args:
        tls: whether browsers reach the console over TLS.
        cache: who may keep it, and for how long; by default nobody.
    """
    headers.update(HEADERS)
    headers["cache-control"] = cache
    if tls:
        headers["strict-transport-security"] = _HSTS
