"""The parts of a page: icons, states, times, sizes, things to copy. A page never spells out their markup."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from apps.reconcile.conditions import State

register = template.Library()

WORDS: dict[State, str] = {
    "ok": "As wanted",
    "work": "Working",
    "wait": "Waiting",
    "ask": "Asks you",
    "warn": "Attention",
    "bad": "Failed",
    "off": "Not there",
    "idle": "Not started",
    "unknown": "Unknown",
}
"""What a state is called where the object has no better word."""


@cache
def _sprite() -> SafeString:
    text = (Path(settings.ROOT) / "static" / "ui" / "icons.svg").read_text()
    drawing = text[text.index("<svg") :].replace("<svg", '<svg class="vh" aria-hidden="true"', 1)
    return mark_safe(drawing)  # noqa: S308  our own file


@register.simple_tag
def sprite() -> SafeString:
    """All icons, once a page."""
    return _sprite()


@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """One icon beside a word; `size` may be "s"."""
    return format_html('<svg class="i{}" aria-hidden="true"><use href="#{}"/></svg>', f" {size}" if size else "", name)


@register.simple_tag
def status(shape: State, word: str = "", sentence: str = "") -> SafeString:
    """A state: shape and word, with its sentence on pointing."""
    return format_html(
        '<span class="st {}" title="{}"><svg class="i" aria-hidden="true"><use href="#st-{}"/></svg>{}</span>',
        shape, sentence, shape, word or WORDS[shape],
    )  # fmt: skip


@register.simple_tag
def shown(state: Any) -> SafeString:
    """A `Shown` of some app's `states.py`."""
    return status(state.shape, state.word, state.sentence)


@register.filter
def since(value: datetime | str | None) -> SafeString | str:
    """How long something has lasted, kept up to date by the browser."""
    moment = _moment(value)
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}" data-since>{}</time>',
        local.isoformat(), local.strftime("%-d %b %Y %H:%M:%S %Z"), span(timezone.now() - moment),
    )  # fmt: skip


@register.filter
def at(value: datetime | str | None) -> SafeString | str:
    """A point in time: today the hour, this week the day, else the date."""
    moment = _moment(value)
    if moment is None:
        return ""
    local, now = timezone.localtime(moment), timezone.localtime()
    if local.date() == now.date():
        text = local.strftime("%H:%M")
    elif abs(now - local) < timedelta(days=6):
        text = local.strftime("%a %H:%M")
    else:
        text = local.strftime("%-d %b %Y" if local.year != now.year else "%-d %b")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(), local.strftime("%-d %b %Y %H:%M:%S %Z"), text
    )


@register.filter
def clock(value: datetime | str | None) -> SafeString | str:
    """A point in time to the second, for steps and logs."""
    moment = _moment(value)
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    return format_html('<time datetime="{}">{}</time>', local.isoformat(), local.strftime("%H:%M:%S"))


def _moment(value: datetime | str | None) -> datetime | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value) if value else None
    return value


def span(length: timedelta) -> str:
    """A length of time in the words of the interface: `50 s`, `6 min`, `1 h 40`, `3 d`."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 86400:
        hours, minutes = divmod(seconds // 60, 60)
        return f"{hours} h {minutes:02d}" if hours < 10 and minutes else f"{hours} h"
    return f"{seconds // 86400} d"


@register.filter
def size(value: int | None) -> str:
    """Bytes in decimal units, at most three digits that matter."""
    amount, units = float(value or 0), ["B", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    digits = 0 if units[0] == "B" or amount >= 100 else 1 if amount >= 10 else 2
    text = f"{amount:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {units[0]}"


@register.filter
def gibibytes(mebibytes: int | None) -> str:
    """Memory, given in MiB, in whole GB as it is sold."""
    value = (mebibytes or 0) / 1024
    return f"{value:.0f}" if value >= 1 or not value else f"{value:.1f}"


@register.filter
def count(value: int | None) -> str:
    """A number with thousands separators."""
    return f"{value or 0:,}"


@register.filter
def short(value: str | None) -> str:
    """The first part of an id, as long as people compare."""
    return (value or "")[:8]


@register.filter
def version(value: str | None) -> str:
    """A version without its leading v."""
    return (value or "").removeprefix("v")


@register.inclusion_tag("includes/code.html")
def code(text: str, title: str = "", secret: str = "", wrap: bool = False, label: str = "Copy") -> dict[str, Any]:
    """Something to copy. With `secret` the text shown is masked and `secret` is the URL that gives the real one."""
    return {"text": text, "title": title, "secret": secret, "wrap": wrap, "label": label}
