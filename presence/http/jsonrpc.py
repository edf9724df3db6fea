"""Calls and answers of JSON-RPC 2.0 (jsonrpc.org/specification), single and in batches."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from presence.http.procedures import Argument, BadArguments, Fault

BATCH_MAX = 100

PARSE_ERROR = Fault(-32700, "Parse error")
INVALID_REQUEST = Fault(-32600, "Invalid Request")
METHOD_NOT_FOUND = Fault(-32601, "Method not found")
INVALID_PARAMS = Fault(-32602, "Invalid params")

Run = Callable[[str, Sequence[Argument] | Mapping[str, Argument]], str]
"""Calls a procedure; raises `Fault`, and KeyError when there is none of that name."""


def serve(body: bytes, run: Run) -> bytes | None:
    """Make the calls of a request; return the answer, None when nobody wants one."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return _write(_failed(None, PARSE_ERROR))
    if not isinstance(request, list):
        answer = _serve(request, run)
        return None if answer is None else _write(answer)
    if not 0 < len(request) <= BATCH_MAX:
        return _write(_failed(None, INVALID_REQUEST))
    answers = [answer for entry in request if (answer := _serve(entry, run)) is not None]
    return _write(answers) if answers else None


def _serve(request: Any, run: Run) -> dict[str, Any] | None:
    if not isinstance(request, dict):
        return _failed(None, INVALID_REQUEST)
    number, method, arguments = request.get("id"), request.get("method"), request.get("params", [])
    if isinstance(number, bool | list | dict):
        return _failed(None, INVALID_REQUEST)
    if request.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(arguments, list | dict):
        return _failed(number, INVALID_REQUEST)
    try:
        result = run(method, arguments)
    except KeyError:
        answer = _failed(number, METHOD_NOT_FOUND)
    except BadArguments:
        answer = _failed(number, INVALID_PARAMS)
    except Fault as fault:
        answer = _failed(number, fault)
    else:
        answer = {"jsonrpc": "2.0", "result": result, "id": number}
    # Without an id it is a notification: whatever becomes of it, nobody is told.
    return answer if "id" in request else None


def _failed(number: Any, fault: Fault) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": fault.code, "message": fault.message}, "id": number}


def _write(answer: Any) -> bytes:
    return json.dumps(answer).encode()
