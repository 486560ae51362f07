"""The JS SDK in a browser: wss only."""

from __future__ import annotations

from tests.doubles import dialect as reading
from tests.doubles.legs import browser_context
from tests.doubles.websockets import WebSocketDouble
from tests.doubles.writers import javascript_packet


class JavaScriptDouble(WebSocketDouble):
    """Reads every packet of a message; what it cannot read throws out of onmessage, and the session goes on."""

    sdk = "JS"
    writer = staticmethod(javascript_packet)
    dialect = reading.JAVASCRIPT_MESSAGE
    make_context = staticmethod(browser_context)

    def upgrade_headers(self) -> tuple[str, ...]:
        """What browsers send; compression is offered and must be declined."""
        return (
            "Origin: https://game.example",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0",
            "Pragma: no-cache",
            "Cache-Control: no-cache",
            "Accept-Encoding: gzip, deflate, br",
            "Accept-Language: en-GB,en;q=0.9",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        )
