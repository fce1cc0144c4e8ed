"""The first owner's way in: a link that only somebody with access to the data folder can know.

It is worth something only while the installation has no organisation, so making the first one uses it up.
"""

import hashlib
import hmac


def first_run_token(secret: str) -> str:
    """The token of an installation, from its `DATA/secret`."""
    return hmac.new(secret.encode(), b"omni first run", hashlib.sha256).hexdigest()


def first_run_path(secret: str) -> str:
    """The path of the first-run page with its token."""
    return f"/first-run/{first_run_token(secret)}"


def is_first_run_token(token: str, secret: str) -> bool:
    """Whether `token` is the installation's; takes the same time whatever is given."""
    return hmac.compare_digest(token.encode(), first_run_token(secret).encode())
