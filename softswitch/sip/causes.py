"""One table between SIP status, Q.850 cause and plain words, and the Reason headers made of it."""

from __future__ import annotations

from typing import Final

# Q.850 cause: (SIP status that stands for it, words). Statuses after RFC 3398 7.2.4.1 and 8.2.6.1.
Q850_CAUSES: Final[dict[int, tuple[int, str]]] = {
    1: (404, "Unallocated number"),
    2: (404, "No route to transit network"),
    3: (404, "No route to destination"),
    16: (200, "Normal call clearing"),
    17: (486, "User busy"),
    18: (408, "No user responding"),
    19: (480, "No answer from the user"),
    20: (480, "Subscriber absent"),
    21: (603, "Call rejected"),
    22: (410, "Number changed"),
    23: (410, "Redirection to new destination"),
    25: (483, "Exchange routing error"),
    26: (404, "Non-selected user clearing"),
    27: (502, "Destination out of order"),
    28: (484, "Address incomplete"),
    29: (501, "Facility rejected"),
    31: (480, "Normal, unspecified"),
    34: (503, "No circuit available"),
    38: (503, "Network out of order"),
    41: (503, "Temporary failure"),
    42: (503, "Switching equipment congestion"),
    44: (503, "Requested circuit not available"),
    47: (503, "Resource unavailable"),
    55: (403, "Incoming calls barred within CUG"),
    57: (403, "Bearer capability not authorized"),
    58: (503, "Bearer capability not presently available"),
    63: (503, "Service or option not available"),
    65: (488, "Bearer capability not implemented"),
    70: (488, "Only restricted digital information available"),
    79: (501, "Service or option not implemented"),
    81: (481, "Invalid call reference"),
    87: (403, "User not member of CUG"),
    88: (503, "Incompatible destination"),
    95: (400, "Invalid message"),
    97: (501, "Message type not implemented"),
    102: (504, "Recovery on timer expiry"),
    111: (500, "Protocol error"),
    127: (500, "Interworking, unspecified"),
}

_CAUSE_OF_STATUS: Final[dict[int, int]] = {
    200: 16,
    400: 41,
    401: 21,
    402: 21,
    403: 21,
    404: 1,
    405: 63,
    406: 79,
    407: 21,
    408: 102,
    410: 22,
    413: 127,
    414: 127,
    415: 79,
    416: 127,
    420: 127,
    421: 127,
    423: 127,
    480: 18,
    481: 41,
    482: 25,
    483: 25,
    484: 28,
    485: 1,
    486: 17,
    487: 16,
    488: 65,
    500: 41,
    501: 79,
    502: 38,
    503: 41,
    504: 102,
    505: 127,
    513: 127,
    600: 17,
    603: 21,
    604: 1,
    606: 65,
}


def q850_of_status(status: int) -> int:
    """The Q.850 cause for a final SIP status (RFC 3398 8.2.6.1); 31 where the table is silent."""
    return _CAUSE_OF_STATUS.get(status, 31 if status < 500 else 41)


def status_of_q850(cause: int) -> int:
    """The SIP status for a Q.850 cause (RFC 3398 7.2.4.1); 500 where the table is silent."""
    found = Q850_CAUSES.get(cause)
    return found[0] if found is not None else 500


def cause_text(cause: int) -> str:
    """Q.850 cause in words."""
    found = Q850_CAUSES.get(cause)
    return found[1] if found is not None else f"Cause {cause}"
