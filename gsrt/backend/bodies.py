"""Values of JSON as they are kept: as text, within a size."""

from __future__ import annotations

from gsrt.backend.call import Failure

INVALID = "INVALID"  # nothing that JSON can say: NaN, half a character, nested without end
TOO_LARGE = "TOO_LARGE"


def encode(body: object, field: str, bytes_max: int) -> str:
    """BODY as JSON of BYTES_MAX bytes at most. Raises Failure that names FIELD."""
    import json

    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        raise Failure({field: INVALID}) from None
    if size > bytes_max:
        raise Failure({field: f"{TOO_LARGE}: it has {size:,} bytes of at most {bytes_max:,}"})
    return text
