"""Attaches each line of `producer export --format json` to its film in Orthanc, as metadata number 1024.

producer export --format json | python3 to_orthanc.py http://127.0.0.1:8042
"""

import json
import sys
from urllib.request import Request, urlopen


def request(method: str, address: str, body: str) -> bytes:
    """Send one request, and give the answer's body."""
    with urlopen(Request(address, body.encode(), method=method), timeout=60) as answer:
        content: bytes = answer.read()
        return content


def main(orthanc: str) -> None:
    """Attach the lines of stdin; lines of films that Orthanc no longer has are counted."""
    unknown = 0
    for line in sys.stdin:
        uid = json.loads(line)["sop_instance_uid"]
        found = json.loads(request("POST", f"{orthanc}/tools/lookup", uid)) if uid else []
        films = [one["Path"] for one in found if one["Type"] == "Instance"]
        for film in films:
            request("PUT", f"{orthanc}{film}/metadata/1024", line)
        unknown += not films
    print(f"scans that this Orthanc does not have: {unknown}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
