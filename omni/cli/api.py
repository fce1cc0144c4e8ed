"""The REST API as client commands use it: one connection, errors in words, pages joined."""

import ssl
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote

import click
import httpx

TIMEOUT = 60.0


class Away(click.ClickException):
    """The server does not answer now; it may in a moment."""


class Api:
    """Calls below `/api/v1`. Every failure is a ClickException with the server's own words."""

    def __init__(self, url: str, token: str, ca: str = "", organisation: str = "", timeout: float = TIMEOUT) -> None:
        self.url, self.organisation, self.ca = url.rstrip("/"), organisation, ca
        try:
            verify: ssl.SSLContext | bool = ssl.create_default_context(cadata=ca) if ca else True
        except (ssl.SSLError, ValueError):
            raise click.ClickException("the file of the server's authority holds no certificate in PEM") from None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, verify=verify, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One call; the JSON of the answer, or its text when it is something else."""
        response = self._answer(method, path, **options)
        if response.headers.get("content-type", "").startswith("application/json"):
            return response.json()
        return response.text

    def log(self, path: str, query: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """Lines of a log, and the number of its newest line, wanted or not: where to go on."""
        response = self._answer("GET", path, params=_given(query))
        return response.json(), int(response.headers["Omni-Last-Line"])

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.ConnectError as error:
            raise Away(f"{self.url} cannot be reached: {error}{_help(str(error))}") from None
        except httpx.HTTPError as error:
            raise Away(f"{self.url} did not answer: {error or type(error).__name__}") from None
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise Away(_words(response))
        if response.is_error:
            raise click.ClickException(_words(response))
        return response

    def at(self, *parts: str) -> str:
        """A path inside the organisation. Raises ClickException when none is chosen."""
        if not self.organisation:
            raise click.ClickException(
                "no organisation is chosen; give --organisation, or `omni context organisation SLUG`"
            )
        return "/".join(["/organisations", *(quote(part, safe="") for part in (self.organisation, *parts))])

    def get(self, *parts: str, **query: Any) -> Any:
        """Read one thing of the organisation."""
        return self.call("GET", self.at(*parts), params=_given(query))

    def read(self, *parts: str, **query: Any) -> Iterator[bytes]:
        """A file of the organisation, some of it at a time."""
        try:
            with self._client.stream("GET", self.at(*parts), params=_given(query)) as response:
                if response.is_error:
                    response.read()
                    raise click.ClickException(_words(response))
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise Away(f"{self.url} did not answer: {error or type(error).__name__}") from None

    def post(self, *parts: str, json: Any = None, **query: Any) -> Any:
        """Act on one thing of the organisation."""
        return self.call("POST", self.at(*parts), json=json if json is not None else {}, params=_given(query))

    def put(self, *parts: str, json: Any) -> Any:
        """Replace one thing of the organisation."""
        return self.call("PUT", self.at(*parts), json=json)

    def patch(self, *parts: str, json: Any) -> Any:
        """Change one thing of the organisation."""
        return self.call("PATCH", self.at(*parts), json=json)

    def delete(self, *parts: str) -> Any:
        """Remove one thing of the organisation."""
        return self.call("DELETE", self.at(*parts))

    def list(self, *parts: str, limit: int | None = None, **query: Any) -> list[dict[str, Any]]:
        """All rows of a list, or the first `limit`."""
        rows: list[dict[str, Any]] = []
        for row in self._rows(parts, query):
            rows.append(row)
            if limit is not None and len(rows) >= limit:
                break
        return rows

    def _rows(self, parts: tuple[str, ...], query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            page = self.call("GET", self.at(*parts), params=_given({**query, "cursor": cursor, "limit": 200}))
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return


def _help(text: str) -> str:
    """What to do about a failure that people can do something about."""
    if "CERTIFICATE_VERIFY_FAILED" not in text:
        return ""
    return ". If the installation has an authority of its own, give its ca.crt (it is in the data folder): --ca FILE"


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in query.items() if value not in (None, "")}


def _words(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        return f"the server answered {response.status_code}: {response.text[:200]}"
    lines = [item.get("message", "") for item in problem.get("errors", []) if isinstance(item, dict)]
    text = "\n".join(line for line in lines if line) or problem.get("detail") or problem.get("title", "")
    return f"{text} (request {problem['request_id']})" if response.status_code >= 500 else str(text)
