"""The parts of a page: icons, states, times, sizes, things to copy. A page never spells out their markup."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django import template
from django.conf import settings
from django.forms import BoundField
from django.utils import timezone
from django.utils.html import format_html, format_html_join
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
    drawing = text[text.index("<svg xmlns") :].replace("<svg", '<svg class="vh" aria-hidden="true"', 1)
    return mark_safe(drawing)  # noqa: S308  our own file


@register.simple_tag
def sprite() -> SafeString:
    """All icons, once a page."""
    return _sprite()


@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """One icon beside a word; `size` may be "s" or "big"."""
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


@register.simple_tag
def querystring_of(**parameters: str) -> str:
    """Parameters of an address, escaped."""
    return urlencode(parameters)


@register.filter
def clock_of_day(value: datetime | None) -> SafeString | str:
    """A point in time to the second, with its date unless it is of today, for lists that go back."""
    if value is None:
        return ""
    local = timezone.localtime(value)
    text = local.strftime("%H:%M:%S" if local.date() == timezone.localtime().date() else "%-d %b %H:%M:%S")
    full = local.strftime("%-d %b %Y %H:%M:%S %Z")
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), full, text)


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


@register.inclusion_tag("includes/field.html")
def field(bound: BoundField, label: str) -> dict[str, Any]:
    """A field of a form with its label, hint and errors."""
    widget = bound.field.widget
    widget.attrs["class"] = "in"
    widget.attrs.pop("placeholder", None)
    if bound.errors:
        widget.attrs["aria-describedby"] = f"{bound.id_for_label}_error"
    return {"field": bound, "label": label}


@register.simple_tag
def bar(parts: list[tuple[State, int]], size: str = "thin", whole: int = 0) -> SafeString:
    """Parts of a whole (of their sum when it is 0), each with its state; says its numbers to whom it is read out.

    `size` is "thin" or "big".
    """
    total = whole or sum(number for _, number in parts) or 1
    words = ", ".join(f"{number} {WORDS[state].lower()}" for state, number in parts) or "none"
    cells = format_html_join("", '<i class="{}" style="--v:{}"></i>', ((s, 100 * n / total) for s, n in parts))
    return format_html('<span class="bar {}" role="img" aria-label="{}">{}</span>', size, words, cells)


@register.simple_tag
def pips(there: int, wanted: int) -> SafeString:
    """One mark for each etcd member, dashed for those that are missing; a number stands beside it."""
    cells = format_html_join("", '<i class="{}"></i>', (("" if i < there else "out",) for i in range(wanted)))
    return format_html('<span class="pips" aria-hidden="true">{}</span>', cells)


@register.filter
def parts(text: str) -> tuple[str, str]:
    """A message as its first sentence and the rest, so that the first can stand out."""
    first, dot, rest = text.partition(". ")
    return (f"{first}." if dot else first), rest


@register.filter
def difference(text: str) -> list[tuple[str, str, str]]:
    """Lines of a unified difference: class, sign, text."""
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    return [(kinds.get(line[:1], ""), line[:1] if line[:1] in "+- " else " ", line[1:] if line[:1] in "+- " else line)
            for line in text.splitlines()]  # fmt: skip
