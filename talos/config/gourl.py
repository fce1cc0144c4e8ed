"""URLs with the reading and writing rules of Go's `net/url`, which decide what Talos stores and how patches merge."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_HOST_SAFE = "!$&'()*+,;=:[]<>\"-_.~"
_PATH_SAFE = "$&+,/:;=@-_.~"
_USER_SAFE = "$&+,;=-_.~"
_RAW_PATH = re.compile(r"(?:[A-Za-z0-9\-_.~$&+,/:;=@!'()*\[\]]|%[0-9A-Fa-f]{2})*")
_RAW_FRAGMENT = re.compile(r"(?:[A-Za-z0-9\-_.~$&+,/:;=@?!'()*\[\]]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL. `path` and `fragment` are unescaped; `raw_*` keep a spelling that escaping would not give."""

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    password: str | None = None
    host: str = ""
    path: str = ""
    raw_path: str = ""
    query: str = ""
    fragment: str = ""
    raw_fragment: str = ""
    force_query: bool = False
    omit_host: bool = False

    @property
    def hostname(self) -> str:
        """The host without port and brackets."""
        host = self.host
        if host.startswith("["):
            return host[1 : host.rfind("]")]
        return host.rpartition(":")[0] if ":" in host else host

    @property
    def port(self) -> str:
        """The digits after the host's colon, or an empty text."""
        tail = self.host[self.host.rfind("]") + 1 :]
        return tail.rpartition(":")[2] if ":" in tail else ""

    def __str__(self) -> str:
        text = f"{self.scheme}:" if self.scheme else ""
        if self.opaque:
            text += self.opaque
        else:
            text += self._authority()
            path = self._spelled(self.path, self.raw_path, _RAW_PATH, _PATH_SAFE) if self.path != "*" else "*"
            if path and not path.startswith("/") and self.host:
                text += "/"
            if not text and ":" in path.partition("/")[0]:
                text = "./"
            text += path
        if self.force_query or self.query:
            text += f"?{self.query}"
        if self.fragment:
            text += "#" + self._spelled(self.fragment, self.raw_fragment, _RAW_FRAGMENT, _PATH_SAFE + "?!()*")
        return text

    def _authority(self) -> str:
        if not (self.scheme or self.host or self.user is not None):
            return ""
        if self.omit_host and not self.host and self.user is None:
            return ""
        text = "//" if self.host or self.path or self.user is not None else ""
        if self.user is not None:
            text += escape(self.user, _USER_SAFE)
            text += "" if self.password is None else ":" + escape(self.password, _USER_SAFE)
            text += "@"
        return text + escape(self.host, _HOST_SAFE)

    @staticmethod
    def _spelled(value: str, raw: str, allowed: re.Pattern[str], safe: str) -> str:
        if raw and allowed.fullmatch(raw) and unquote(raw, errors="surrogateescape") == value:
            return raw
        return escape(value, safe)


def escape(text: str, safe: str) -> str:
    """Percent-encode what is neither a letter, a digit nor `safe`."""
    result = []
    for byte in text.encode("utf-8", "surrogateescape"):
        char = chr(byte)
        result.append(char if byte < 128 and (char.isalnum() or char in safe) else f"%{byte:02X}")
    return "".join(result)


def unescape(text: str, host: bool = False) -> str:
    """Decode percent-encoding. Raises ValueError for a broken escape and for characters a host cannot have."""
    if match := _BAD_ESCAPE.search(text):
        raise ValueError(f'invalid URL escape "{match.group()}"')
    if host:
        if match := re.search(r"%(?!25)[0-7][0-9A-Fa-f]", text):
            raise ValueError(f'invalid URL escape "{match.group()}"')
        if match := re.search(r"[^A-Za-z0-9%\x80-\U0010ffff" + re.escape(_HOST_SAFE) + "]", text):
            raise ValueError(f'invalid character "{match.group()}" in host name')
    return unquote(text, errors="surrogateescape")


def parse(text: str) -> Url:
    """The parts of a URL or URL reference. Raises ValueError."""
    try:
        body, _, fragment = text.partition("#")
        url = _parse(body)
        if not fragment:
            return url
        value = unescape(fragment)
        raw = "" if fragment == escape(value, _PATH_SAFE + "?!()*") else fragment
        return replace(url, fragment=value, raw_fragment=raw)
    except ValueError as error:
        raise ValueError(f'parse "{text}": {error}') from None


def _parse(text: str) -> Url:
    if _CONTROL.search(text):
        raise ValueError("net/url: invalid control character in URL")
    if text == "*":
        return Url(path="*")
    if text.startswith(":"):
        raise ValueError("missing protocol scheme")
    match = _SCHEME.match(text)
    scheme = match.group(1).lower() if match else ""
    rest = text[match.end() :] if match else text
    force_query = rest.endswith("?") and rest.count("?") == 1
    rest, _, query = rest.partition("?")
    url = Url(scheme=scheme, query=query, force_query=force_query)
    if not rest.startswith("/"):
        if scheme:
            return replace(url, opaque=rest)
        if ":" in rest.partition("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        url = _with_authority(url, authority)
        rest = slash + path
    elif scheme and rest.startswith("/"):
        url = replace(url, omit_host=True)
    path = unescape(rest)
    return replace(url, path=path, raw_path="" if rest == escape(path, _PATH_SAFE) else rest)


def _with_authority(url: Url, authority: str) -> Url:
    userinfo, at, host = authority.rpartition("@")
    url = replace(url, host=_host(host))
    if not at:
        return url
    if not _USERINFO.fullmatch(userinfo):
        raise ValueError("net/url: invalid userinfo")
    user, colon, password = userinfo.partition(":")
    return replace(url, user=unescape(user), password=unescape(password) if colon else None)


def _host(host: str) -> str:
    if "[" in host:
        end = host.rfind("]")
        if end < 0:
            raise ValueError("missing ']' in host")
        port = host[end + 1 :]
    else:
        port = host[host.rindex(":") :] if ":" in host else ""
    if not _PORT.fullmatch(port):
        raise ValueError(f'invalid port "{port}" after host')
    if not host.startswith("["):
        return unescape(host, host=True)
    end = host.rfind("]")
    zone = host.find("%25", 0, end)
    address = host[1 : end if zone < 0 else zone]
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError(f'invalid host: ParseAddr("{address}"): unable to parse IP') from None
    return host if zone < 0 else f"[{address}{unescape(host[zone:end])}{host[end:]}"


def canonical(text: str) -> str:
    """The URL as Go writes it back. Raises ValueError."""
    return str(parse(text))


def merge(left: str, right: str) -> str:
    """`left` with the parts that `right` has (Talos' patch rule for URLs)."""
    old, new = parse(left), parse(right)
    return str(
        Url(
            scheme=new.scheme or old.scheme,
            opaque=new.opaque or old.opaque,
            user=new.user if new.user is not None else old.user,
            password=new.password if new.user is not None else old.password,
            host=new.host or old.host,
            path=new.path or old.path,
            raw_path=new.raw_path or old.raw_path,
            query=new.query or old.query,
            fragment=new.fragment or old.fragment,
            raw_fragment=new.raw_fragment or old.raw_fragment,
            force_query=new.force_query,
            omit_host=new.omit_host,
        )
    )
