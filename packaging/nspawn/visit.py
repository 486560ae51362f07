"""A player of a game signs in: run in the container's network by the test.

    python -m nspawn.visit HOST PORT API_KEY SECRET

Once over WebSocket and once over TLS, from one device and so as one player. Prints a JSON object: `users`, the player's
id at each time, and `name`, as it is remembered.
"""

from __future__ import annotations

import json
import sys

from tests.platform.client import PlatformClient

DEVICE = "the-one-device"


def main() -> None:
    host, port, api_key, secret = sys.argv[1:]
    users = []
    name = ""
    for tls in (False, True):
        with PlatformClient(host, int(port), api_key, secret, tls=tls, device_id=DEVICE) as client:
            answer = client.request("DeviceAuthenticationRequest", deviceId=DEVICE, deviceOS="LINUX", displayName="Dot")
            users.append(answer["userId"])
            name = client.request("AccountDetailsRequest")["displayName"]
    print(json.dumps({"users": users, "name": name}))


if __name__ == "__main__":
    main()
