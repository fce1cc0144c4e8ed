"""The states of members and API tokens: for each a shape of the interface, a word, and a sentence."""

from datetime import datetime, timedelta

from apps.accounts.models import AccessKey, ApiToken, Membership, User
from apps.reconcile.conditions import Shown

ENDS_SOON = timedelta(days=7)
"""How long before its end a token is shown as ending."""


def claimed(user: User) -> bool:
    """Whether the person of an account has ever signed in, or can by a password."""
    return user.last_login is not None or user.has_usable_password()


def member_state(member: Membership, invited_until: datetime | None, now: datetime) -> Shown:
    """Whether a member can act here. `invited_until` is the end of their unused link, if there is one."""
    if not member.user.is_active:
        return Shown("off", "Blocked", "This account may not sign in.")
    if member.accepted_at is not None and claimed(member.user):
        return Shown("ok", "Active", "They have signed in and act with this role.")
    if invited_until is not None and invited_until > now:
        return Shown("ask", "Invited", "They did not open their link yet, and may do nothing here before.")
    return Shown("warn", "Link over", "They did not come, and their link works no more. Make a new one.")


def access_key_state(key: AccessKey, now: datetime) -> Shown:
    """Whether a key for talosctl or kubectl can be used. One with `direct` is an account in a cluster itself."""
    direct = getattr(key, "direct", None)
    if key.expires_at <= now:
        return Shown("off", "Expired", "Its time is over.")
    if key.revoked_at is not None and direct is not None and direct.removed_at is None:
        return Shown("warn", "Revoked, still there", "Revoked, still valid in the cluster until it is reached.")
    if key.revoked_at is not None:
        return Shown("off", "Revoked", "It opens nothing any more.")
    if direct is not None:
        return Shown("ok", "In the cluster", "It goes past this server, which does not see its use.")
    if key.last_used_at is None:
        return Shown("idle", "Not used yet", "Nothing has come in with it so far.")
    return Shown("ok", "Active", "It was used and works.")


def api_token_state(token: ApiToken, now: datetime) -> Shown:
    """Whether a token can be used."""
    if token.revoked_at is not None:
        return Shown("off", "Revoked", "It opens nothing any more.")
    if token.expires_at is not None and token.expires_at <= now:
        return Shown("off", "Expired", "Its time is over.")
    if token.expires_at is not None and token.expires_at - now < ENDS_SOON:
        return Shown("warn", "Ends soon", "It expires within seven days. Make a new one before.")
    if token.last_used_at is None:
        return Shown("idle", "Not used yet", "Nothing has signed in with it so far.")
    return Shown("ok", "Active", "It was used and works.")
