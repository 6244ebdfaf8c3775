"""Everybody who may use the API: users of the database, agents of the office file, tokens of programs.

All are kept in memory (there are few), so that a request costs no look-up; changes go through here.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from softswitch.api.access import Identity
from softswitch.api.attempts import Attempts
from softswitch.api.problem import Refused
from softswitch.api.sessions import ENDED_MAX, Session, Sessions
from softswitch.config.derived import FromOffice
from softswitch.store.ledger import Conflict
from softswitch.store.tokens import Token, hash_of, split_token
from softswitch.store.users import User

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from softswitch.clock import Clock
    from softswitch.config import Agent, Office
    from softswitch.config.derived import HasOffice
    from softswitch.store import Store
    from softswitch.store.ledger import AuditLine

T = TypeVar("T")

PASSWORD_MAX = 128
HASHING_MAX = 8
"""Passwords being checked at once; each takes a core for a twentieth of a second, and 64 MiB."""
_DEVICE = "device"
FIRST_ADMIN = "admin"
LOCAL_S = 300.0
LOCAL_MAX = 64


class Accounts:
    """Parameters: `holder` has the office of now; `executor` runs the hashing; `hasher` other costs than
    argon2's defaults."""

    def __init__(
        self,
        holder: HasOffice,
        store: Store,
        clock: Clock,
        sessions: Sessions,
        executor: ThreadPoolExecutor,
        hasher: PasswordHasher | None = None,
    ) -> None:
        from argon2 import PasswordHasher

        self._agents = FromOffice(holder, _agents_of)
        self._store = store
        self._clock = clock
        self._sessions = sessions
        self._executor = executor
        self._hasher = hasher if hasher is not None else PasswordHasher()
        self._users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}
        self._local: dict[str, tuple[str, float]] = {}
        self._hashing = 0
        # What unknown names are checked against, so that they take as long as known ones.
        self._nobody_hash = ""
        self.attempts = Attempts()

    async def load(self) -> None:
        """Read users and tokens. Raises `StoreError`."""
        self._users = {user.name: user for user in await self._store.users.all()}
        self._tokens = {token.id: token for token in await self._store.tokens.all()}
        self._nobody_hash = await self._run(self._hasher.hash, secrets.token_hex(16))
        await self._load_ended()

    async def _load_ended(self) -> None:
        """Sessions that were logged out of before this start, from the audit log."""
        since_s = self._clock.wall_s() - self._sessions.lasts_s
        found: list[AuditLine] = []
        while len(found) < ENDED_MAX:
            page = await self._store.ledger.lines(
                limit=1_000,
                action="logged-out",
                since_s=since_s,
                before=found[-1].id if found else None,
            )
            found += page
            if len(page) < 1_000:
                break
        for line in reversed(found):
            if nonce := line.details.get("session"):
                self._sessions.end(str(nonce), line.at_s)

    def log_out(self, session: Session) -> None:
        """End a session."""
        self._sessions.end(session.nonce, self._clock.wall_s())

    async def first_admin(self) -> str | None:
        """Where there is nobody who may administrate, make one with a password good for choosing
        another; that password, to be shown once. None where somebody is."""
        if any(user.role == "admin" and user.active for user in self._users.values()):
            return None
        if any(agent.role == "admin" for agent in self._agents().values()):
            return None
        password = secrets.token_urlsafe(12)
        known = self._users.get(FIRST_ADMIN)
        values = {"role": "admin", "must_change": True, "password_hash": await self.hash(password)}
        if known is None:
            await self.add_user("switch:first start", name=FIRST_ADMIN, **values)
        else:
            await self.change_user("switch:first start", known.id, {**values, "active": True})
        return password

    def has(self, name: str) -> bool:
        """Whether somebody of this name may log in."""
        user = self._users.get(name)
        return name in self._agents() or (user is not None and user.active)

    # -- who is it ------------------------------------------------------------------------------

    def of_cookie(self, cookie: str) -> Identity | None:
        """Whoever began the session of a cookie, if it is still good."""
        session = self._sessions.read(cookie, self._clock.wall_s())
        if session is None:
            return None
        identity = self._identity(session.name, session)
        if identity is None or not hmac.compare_digest(
            self._epoch(session.name).encode(), session.epoch.encode()
        ):
            return None
        return identity

    def local_token(self, who: str) -> str:
        """A token for whoever may open the admin socket, kept nowhere and good for `LOCAL_S` only, or until
        `LOCAL_MAX` younger ones are given out: a script may ask as often as it likes."""
        now_s = self._clock.monotonic_s()
        young = [(t, held) for t, held in self._local.items() if held[1] > now_s]
        self._local = dict(young[-(LOCAL_MAX - 1) :])
        token = f"ssl_{secrets.token_hex(24)}"
        self._local[hash_of(token)] = who, now_s + LOCAL_S
        return token

    def of_token(self, text: str) -> Identity | None:
        """The program that a token belongs to."""
        who, until_s = self._local.get(hash_of(text), ("", 0.0)) if self._local else ("", 0.0)
        if until_s > self._clock.monotonic_s():
            return Identity(who, "admin", "local", frozenset({"*"}))
        parts = split_token(text) if text.isascii() and len(text) < 256 else None
        token = self._tokens.get(parts[0]) if parts is not None else None
        # The same work for a token that does not exist.
        known_hash = token.secret_hash if token is not None else hash_of("")
        good = hmac.compare_digest(known_hash, hash_of(parts[1] if parts is not None else ""))
        if token is None or not good:
            return None
        if token.expires_at_s is not None and self._clock.wall_s() >= token.expires_at_s:
            return None
        return Identity(token.id, token.role, "token", frozenset(token.scopes))

    def _identity(self, name: str, session: Session | None) -> Identity | None:
        agent = self._agents().get(name)
        if agent is not None:
            return Identity(name, agent.role, "agent", session=session, agent_id=name)
        user = self._users.get(name)
        if user is None or not user.active:
            return None
        return Identity(name, user.role, "user", session=session, must_change=user.must_change)

    def _epoch(self, name: str) -> str:
        agent = self._agents().get(name)
        if agent is not None:
            return self._sessions.epoch_of_password(agent.password)
        user = self._users.get(name)
        return str(user.epoch) if user is not None else ""

    # -- passwords ------------------------------------------------------------------------------

    async def log_in(
        self, source: str, name: str, password: str, device_cookie: str = ""
    ) -> tuple[Identity, str]:
        """Check a password; who it is and his session's cookie. `device_cookie`: what `device_cookie` gave the
        browser when it last did so. Raises `Refused`: 401 with the same words for an unknown name and a wrong
        password, 429 for too many tries."""
        now_s = self._clock.monotonic_s()
        device = self._device_of(name, device_cookie)
        wait_s = self.attempts.wait_s(source, name, now_s, device)
        # Those who have proven to be known find room where strangers keep it busy.
        if wait_s > 0 or self._hashing >= (2 * HASHING_MAX if device else HASHING_MAX):
            retry = {"Retry-After": str(int(max(1.0, wait_s)) + 1)}
            raise Refused(429, "too many attempts", retry)
        self.attempts.begin(source, name, now_s, device)
        if not await self._password_fits(name, password):
            raise Refused(401, "name or password is wrong")
        self.attempts.succeeded(source, name, device)
        session, cookie = self._sessions.begin(name, self._epoch(name), self._clock.wall_s())
        identity = self._identity(name, session)
        if identity is None:
            raise Refused(401, "name or password is wrong")
        return identity, cookie

    def device_cookie(self, name: str) -> str:
        """For a browser that has logged in: it is not held up by what others try."""
        return self._sessions.sign(_DEVICE, {"name": name, "nonce": secrets.token_hex(8)})

    def _device_of(self, name: str, cookie: str) -> str:
        """Which browser has logged in to an account before; "" for none that can prove it."""
        found = self._sessions.open_signed(_DEVICE, cookie)
        if found is None or found["name"] != name:
            return ""
        return f"{name} {found['nonce']}"

    def require_tries(self, source: str) -> None:
        """Count one try of a source that brings no password. Raises `Refused` (429)."""
        now_s = self._clock.monotonic_s()
        wait_s = self.attempts.wait_s(source, "", now_s)
        if wait_s > 0:
            raise Refused(429, "too many attempts", {"Retry-After": str(int(wait_s) + 1)})
        self.attempts.begin(source, "", now_s)

    async def log_in_as(self, name: str, full_name: str, role: str | None) -> tuple[Identity, str]:
        """A session for somebody whom an issuer has vouched for; who is unknown becomes a user if he has a
        role. Raises `Refused` (403)."""
        if name not in self._agents() and name not in self._users:
            if role is None:
                raise Refused(403, f"{name} is no user here, and in no group that may be one")
            await self.add_user(
                "switch:oidc",
                name=name,
                full_name=full_name,
                role=role,
                password_hash="!",
                must_change=False,
            )
        session, cookie = self._sessions.begin(name, self._epoch(name), self._clock.wall_s())
        identity = self._identity(name, session)
        if identity is None:
            raise Refused(403, f"{name} is not active")
        return identity, cookie

    async def _password_fits(self, name: str, password: str) -> bool:
        agent, user = self._agents().get(name), self._users.get(name)
        known_hash = user.password_hash if user is not None else self._nobody_hash
        fits = await self._run(self._verify, known_hash, password)
        if agent is not None:
            return hmac.compare_digest(agent.password.encode(), password.encode())
        return fits and user is not None and user.active

    def _verify(self, known_hash: str, password: str) -> bool:
        from argon2.exceptions import Argon2Error, InvalidHash

        try:
            return self._hasher.verify(known_hash, password)
        except (Argon2Error, InvalidHash):
            return False

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await self._run(self._hasher.hash, password)

    async def _run(self, function: Callable[..., T], *arguments: str) -> T:
        self._hashing += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, function, *arguments)
        finally:
            self._hashing -= 1

    async def choose_password(self, identity: Identity, old: str, new: str) -> None:
        """Another password for oneself. Raises `Refused` for agents of the office file, `Conflict`."""
        user = self._users.get(identity.name)
        if identity.kind != "user" or user is None:
            raise Refused(409, "this password is in the office file")
        if not await self._run(self._verify, user.password_hash, old):
            raise Refused(403, "the old password is wrong")
        if old == new:
            raise Conflict("the new password is the old one")
        values = {"password_hash": await self.hash(new), "must_change": False}
        await self.change_user(identity.actor, user.id, values)

    # -- changes --------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """By id."""
        return sorted(self._users.values(), key=lambda user: user.id)

    def user(self, user_id: int) -> User | None:
        return next((user for user in self._users.values() if user.id == user_id), None)

    async def add_user(self, actor: str, **values: Any) -> User:
        """As `Users.add`; also `Conflict` for the name of an agent of the office file."""
        if values["name"] in self._agents():
            raise Conflict(f"the office file has an agent {values['name']}")
        user = await self._store.users.add(actor, **values)
        self._users[user.name] = user
        return user

    async def change_user(
        self, actor: str, user_id: int, values: dict[str, Any], version: int | None = None
    ) -> User:
        """As `Users.change`; `Conflict` if nobody could administrate afterwards."""
        before = self.user(user_id)
        loses = values.get("role", "admin") != "admin" or values.get("active", True) is False
        if before is not None and loses:
            self._require_other_admin(before)
        user = await self._store.users.change(actor, user_id, values, version)
        self._users[user.name] = user
        return user

    async def remove_user(self, actor: str, user_id: int, version: int | None = None) -> None:
        """As `Users.remove`; `Conflict` for the last who may administrate."""
        user = self.user(user_id)
        if user is not None:
            self._require_other_admin(user)
        await self._store.users.remove(actor, user_id, version)
        if user is not None:
            self._users.pop(user.name, None)

    def _require_other_admin(self, user: User) -> None:
        if user.role != "admin" or not user.active:
            return
        others = [
            u for u in self._users.values() if u.role == "admin" and u.active and u is not user
        ]
        if not others and not any(a.role == "admin" for a in self._agents().values()):
            raise Conflict(f"{user.name} is the only one who may administrate")

    def tokens(self) -> list[Token]:
        """By time."""
        return list(self._tokens.values())

    async def add_token(
        self,
        actor: str,
        *,
        name: str,
        role: str,
        scopes: Iterable[str],
        expires_at_s: float | None,
    ) -> tuple[Token, str]:
        """As `Tokens.add`."""
        token, text = await self._store.tokens.add(
            actor, name=name, role=role, scopes=scopes, expires_at_s=expires_at_s
        )
        self._tokens[token.id] = token
        return token, text

    async def remove_token(self, actor: str, token_id: str) -> None:
        """As `Tokens.remove`."""
        await self._store.tokens.remove(actor, token_id)
        self._tokens.pop(token_id, None)


def _agents_of(office: Office) -> dict[str, Agent]:
    return {agent.id: agent for agent in office.agents}
